/* SPDX-License-Identifier: MIT */
#include "net/http_filter.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static const char *filter4(const uint8_t a[4], unsigned allow)
{
  if (a[0] == 0) return "unspecified";
  if (a[0] == 127) return allow & HTTP_FILTER_LOOPBACK ? NULL : "loopback";
  if (a[0] == 169 && a[1] == 254)
    return allow & HTTP_FILTER_INSTANCE ? NULL : "link-local";
  if (a[0] >= 240) return "reserved";
  if (a[0] >= 224) return "multicast";
  return NULL;
}

static const char *filter6(const uint8_t a[16], unsigned allow)
{
  static const uint8_t zero[15];
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
  static const uint8_t ec2[4] = {0xfd, 0x00, 0x0e, 0xc2};
  if (!memcmp(a, zero, 15) && a[15] <= 1) {
    if (a[15] == 0) return "unspecified";
    return allow & HTTP_FILTER_LOOPBACK ? NULL : "loopback";
  }
  if (!memcmp(a, zero, 12) || !memcmp(a, mapped, 12) || !memcmp(a, nat64, 12))
    return filter4(a + 12, allow);
  if (a[0] == 0x20 && a[1] == 0x02) return filter4(a + 2, allow);
  if (a[0] == 0xfe && (a[1] & 0xc0) == 0x80)
    return allow & HTTP_FILTER_INSTANCE ? NULL : "link-local";
  if (a[0] == 0xff) return "multicast";
  if (!memcmp(a, ec2, sizeof(ec2)))
    return allow & HTTP_FILTER_INSTANCE ? NULL : "instance service";
  return NULL;
}

const char *http_filter(const struct sockaddr *addr, unsigned allow)
{
  const uint8_t *bytes = (const void *)addr;
  if (addr->sa_family == AF_INET)
    return filter4(bytes + offsetof(struct sockaddr_in, sin_addr), allow);
  if (addr->sa_family == AF_INET6)
    return filter6(bytes + offsetof(struct sockaddr_in6, sin6_addr), allow);
  return "of an unknown family";
}
