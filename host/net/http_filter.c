/* SPDX-License-Identifier: MIT */
#include "net/http_filter.h"

#include <arpa/inet.h>
#include <endian.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the networks ----
 * Those of the registries
 *   https://www.iana.org/assignments/iana-ipv4-special-registry
 *   https://www.iana.org/assignments/iana-ipv6-special-registry
 *   https://www.iana.org/assignments/ipv4-address-space
 *   https://www.iana.org/assignments/ipv6-address-space
 * of 2025, where "Globally Reachable" is false is not public, and so is IPv6
 * outside of 2000::/3, which is all that is assigned. Of several that have an
 * address the most specific one counts. */

enum {
  PUBLIC = 0,
  LOOPBACK = HTTP_FILTER_LOOPBACK,
  PRIVATE = HTTP_FILTER_PRIVATE,
  LINK_LOCAL = HTTP_FILTER_LINK_LOCAL,
  METADATA = HTTP_FILTER_METADATA,
  /* that no word allows */
  UNSPECIFIED = 16,
  MULTICAST = 32,
  BROADCAST = 64,
  RESERVED = 128,
};

#define V4(a, b, c, d)                                                         \
  {                                                                            \
    0, UINT64_C(0xffff) << 32 | UINT64_C(a) << 24 | (b) << 16 | (c) << 8 | (d) \
  }
#define HALF(a, b, c, d)                                                       \
  (UINT64_C(a) << 48 | UINT64_C(b) << 32 | UINT64_C(c) << 16 | (d))
#define V6(a, b, c, d, e, f, g, h)                                             \
  {                                                                            \
    HALF(a, b, c, d), HALF(e, f, g, h)                                         \
  }
#define V4_BITS 96 /* of the mapped form's prefix */

static const struct network {
  struct http_filter_range range;
  unsigned class;
  /* Offset in bytes of an IPv4 address inside, and of one whose bits are
   * inverted; 0: none. `class` counts when they are public. */
  unsigned inner, inverted;
} networks[] = {
    {{V4(0, 0, 0, 0), 96}, PUBLIC, 0, 0},
    {{V4(0, 0, 0, 0), 104}, UNSPECIFIED, 0, 0},       /* RFC 791 */
    {{V4(10, 0, 0, 0), 104}, PRIVATE, 0, 0},          /* RFC 1918 */
    {{V4(100, 64, 0, 0), 106}, PRIVATE, 0, 0},        /* RFC 6598 */
    {{V4(127, 0, 0, 0), 104}, LOOPBACK, 0, 0},        /* RFC 1122 */
    {{V4(169, 254, 0, 0), 112}, LINK_LOCAL, 0, 0},    /* RFC 3927 */
    {{V4(172, 16, 0, 0), 108}, PRIVATE, 0, 0},        /* RFC 1918 */
    {{V4(192, 0, 0, 0), 120}, RESERVED, 0, 0},        /* RFC 6890 */
    {{V4(192, 0, 0, 9), 128}, PUBLIC, 0, 0},          /* RFC 7723 */
    {{V4(192, 0, 0, 10), 128}, PUBLIC, 0, 0},         /* RFC 8155 */
    {{V4(192, 0, 2, 0), 120}, RESERVED, 0, 0},        /* RFC 5737 */
    {{V4(192, 88, 99, 0), 120}, RESERVED, 0, 0},      /* RFC 7526 */
    {{V4(192, 168, 0, 0), 112}, PRIVATE, 0, 0},       /* RFC 1918 */
    {{V4(198, 18, 0, 0), 111}, PRIVATE, 0, 0},        /* RFC 2544 */
    {{V4(198, 51, 100, 0), 120}, RESERVED, 0, 0},     /* RFC 5737 */
    {{V4(203, 0, 113, 0), 120}, RESERVED, 0, 0},      /* RFC 5737 */
    {{V4(224, 0, 0, 0), 100}, MULTICAST, 0, 0},       /* RFC 5771 */
    {{V4(240, 0, 0, 0), 100}, RESERVED, 0, 0},        /* RFC 1112 */
    {{V4(255, 255, 255, 255), 128}, BROADCAST, 0, 0}, /* RFC 8190 */

    {{V6(0, 0, 0, 0, 0, 0, 0, 0), 0}, RESERVED, 0, 0},
    {{V6(0, 0, 0, 0, 0, 0, 0, 0), 96}, RESERVED, 12, 0},         /* RFC 4291 */
    {{V6(0, 0, 0, 0, 0, 0, 0, 0), 128}, UNSPECIFIED, 0, 0},      /* RFC 4291 */
    {{V6(0, 0, 0, 0, 0, 0, 0, 1), 128}, LOOPBACK, 0, 0},         /* RFC 4291 */
    {{V6(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96}, PUBLIC, 12, 0},   /* RFC 6052 */
    {{V6(0x2000, 0, 0, 0, 0, 0, 0, 0), 3}, PUBLIC, 0, 0},        /* RFC 4291 */
    {{V6(0x2001, 0, 0, 0, 0, 0, 0, 0), 23}, RESERVED, 0, 0},     /* RFC 2928 */
    {{V6(0x2001, 0, 0, 0, 0, 0, 0, 0), 32}, PUBLIC, 4, 12},      /* RFC 4380 */
    {{V6(0x2001, 1, 0, 0, 0, 0, 0, 1), 128}, PUBLIC, 0, 0},      /* RFC 7723 */
    {{V6(0x2001, 1, 0, 0, 0, 0, 0, 2), 128}, PUBLIC, 0, 0},      /* RFC 8155 */
    {{V6(0x2001, 1, 0, 0, 0, 0, 0, 3), 128}, PUBLIC, 0, 0},      /* RFC 9665 */
    {{V6(0x2001, 3, 0, 0, 0, 0, 0, 0), 32}, PUBLIC, 0, 0},       /* RFC 7450 */
    {{V6(0x2001, 4, 0x112, 0, 0, 0, 0, 0), 48}, PUBLIC, 0, 0},   /* RFC 7535 */
    {{V6(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28}, PUBLIC, 0, 0},    /* RFC 7343 */
    {{V6(0x2001, 0x30, 0, 0, 0, 0, 0, 0), 28}, PUBLIC, 0, 0},    /* RFC 9374 */
    {{V6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32}, RESERVED, 0, 0}, /* RFC 3849 */
    {{V6(0x2002, 0, 0, 0, 0, 0, 0, 0), 16}, PUBLIC, 2, 0},       /* RFC 3056 */
    {{V6(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20}, RESERVED, 0, 0},     /* RFC 9637 */
    {{V6(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7}, PRIVATE, 0, 0},       /* RFC 4193 */
    {{V6(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10}, LINK_LOCAL, 0, 0},   /* RFC 4291 */
    {{V6(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10}, PRIVATE, 0, 0},      /* RFC 3879 */
    {{V6(0xff00, 0, 0, 0, 0, 0, 0, 0), 8}, MULTICAST, 0, 0},     /* RFC 4291 */

    /* EC2, and most other clouds; ECS; EKS */
    {{V4(169, 254, 169, 254), 128}, METADATA, 0, 0},
    {{V4(169, 254, 170, 2), 128}, METADATA, 0, 0},
    {{V4(169, 254, 170, 23), 128}, METADATA, 0, 0},
    {{V6(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32}, METADATA, 0, 0},
    /* Google; Azure's wire server; Alibaba; Oracle; Tencent; Scaleway */
    {{V6(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128}, METADATA, 0, 0},
    {{V4(168, 63, 129, 16), 128}, METADATA, 0, 0},
    {{V4(100, 100, 100, 200), 128}, METADATA, 0, 0},
    {{V4(192, 0, 0, 192), 128}, METADATA, 0, 0},
    {{V4(169, 254, 0, 23), 128}, METADATA, 0, 0},
    {{V4(169, 254, 42, 42), 128}, METADATA, 0, 0},
    {{V6(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128}, METADATA, 0, 0},
};
enum { NETWORKS = sizeof(networks) / sizeof(*networks) };

/* What people call a class; `is_word` if a list may have it. */
static const struct class_name {
  unsigned class;
  const char *name;
  bool is_word;
} names[] = {
    {LOOPBACK, "loopback", true},        {PRIVATE, "private", true},
    {LINK_LOCAL, "link-local", true},    {METADATA, "metadata", true},
    {UNSPECIFIED, "unspecified", false}, {MULTICAST, "multicast", false},
    {BROADCAST, "broadcast", false},     {RESERVED, "reserved", false},
};
enum { NAMES = sizeof(names) / sizeof(*names) };

/* The first bits of 64. */
static uint64_t mask(unsigned bits)
{
  return bits == 0 ? 0 : bits < 64 ? UINT64_MAX << (64 - bits) : UINT64_MAX;
}

static struct http_filter_address prefix_of(struct http_filter_address a,
                                            unsigned bits)
{
  a.high &= mask(bits);
  a.low &= mask(bits > 64 ? bits - 64 : 0);
  return a;
}

static bool are_equal(struct http_filter_address a,
                      struct http_filter_address b)
{
  return a.high == b.high && a.low == b.low;
}

static bool has(const struct http_filter_range *r, struct http_filter_address a)
{
  return are_equal(r->address, prefix_of(a, r->bits));
}

/* The most specific network that has `a`, of those that have at most so many
 * bits. One of no bits has every address. */
static const struct network *find(struct http_filter_address a, unsigned bits)
{
  const struct network *best = NULL;
  for (const struct network *n = networks; n < networks + NETWORKS; n++)
    if (n->range.bits <= bits && has(&n->range, a) &&
        (!best || n->range.bits > best->range.bits))
      best = n;
  return best;
}

static struct http_filter_address map_v4(uint32_t v4)
{
  return (struct http_filter_address){0, UINT64_C(0xffff) << 32 | v4};
}

static uint32_t inner_v4(struct http_filter_address a, unsigned offset)
{
  uint64_t half = offset < 8 ? a.high : a.low;
  return (uint32_t)(half >> (32 - 8 * (offset % 8)));
}

static unsigned class_of_v4(uint32_t v4)
{
  return find(map_v4(v4), 128)->class;
}

static unsigned class_in(const struct network *n, struct http_filter_address a)
{
  unsigned class = PUBLIC;
  if (n->inner) class = class_of_v4(inner_v4(a, n->inner));
  if (class == PUBLIC && n->inverted)
    class = class_of_v4(~inner_v4(a, n->inverted));
  return class == PUBLIC ? n->class : class;
}

static const char *name_of(unsigned class)
{
  size_t i = 0;
  while (names[i].class != class) i++;
  return names[i].name;
}

/* ---- addresses ---- */

static struct http_filter_address from_bytes(const uint8_t bytes[16])
{
  uint64_t half[2];
  memcpy(half, bytes, sizeof(half));
  return (struct http_filter_address){be64toh(half[0]), be64toh(half[1])};
}

static bool read_sockaddr(const struct sockaddr *addr,
                          struct http_filter_address *a)
{
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  if (addr->sa_family == AF_INET) {
    memcpy(&v4, addr, sizeof(v4));
    *a = map_v4(ntohl(v4.sin_addr.s_addr));
  } else if (addr->sa_family == AF_INET6) {
    memcpy(&v6, addr, sizeof(v6));
    *a = from_bytes(v6.sin6_addr.s6_addr);
  } else {
    return false;
  }
  return true;
}

const char *http_filter_refuses(const struct http_filter *filter, unsigned also,
                                const struct sockaddr *addr)
{
  struct http_filter_address a;
  if (!read_sockaddr(addr, &a)) return "of an unknown family";
  const struct network *n = find(a, 128);
  unsigned class = class_in(n, a);
  bool by_word = !n->inner && (filter->classes | also) & class;
  if (class == PUBLIC || filter->all || by_word) return NULL;
  for (size_t i = 0; i < filter->count; i++)
    if (filter->ranges[i].bits >= n->range.bits && has(&filter->ranges[i], a))
      return NULL;
  return name_of(class);
}

/* ---- lists ---- */

/* The longest text of a network, with its NUL. */
enum { RANGE_TEXT = INET6_ADDRSTRLEN + 4 };

static void show(const struct http_filter_range *r, char text[RANGE_TEXT])
{
  char address[INET6_ADDRSTRLEN];
  uint64_t half[2] = {htobe64(r->address.high), htobe64(r->address.low)};
  const uint8_t *bytes = (const void *)half;
  bool v4 = r->bits >= V4_BITS && has(&networks[0].range, r->address);
  inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? bytes + 12 : bytes, address,
            sizeof(address));
  snprintf(text, RANGE_TEXT, "%s/%u", address, r->bits - (v4 ? V4_BITS : 0));
}

static int bad_entry(const char *entry, struct err *e)
{
  return err_set(e, "usage",
                 "--allow-hosts takes addresses, networks such as 10.0.0.0/8, "
                 "and the words loopback, private, link-local, metadata, all "
                 "and none, got '%.60s'",
                 entry);
}

/* Reads "10.0.0.0/8", or an address without bits. */
static int read_range(const char *entry, struct http_filter_range *r,
                      struct err *e)
{
  char address[INET6_ADDRSTRLEN];
  struct in_addr v4;
  uint8_t v6[16];
  size_t len = strcspn(entry, "/");
  const char *digits = entry[len] ? entry + len + 1 : NULL;
  if (len >= sizeof(address)) return bad_entry(entry, e);
  snprintf(address, sizeof(address), "%.*s", (int)len, entry);
  unsigned base = 0;
  if (inet_pton(AF_INET, address, &v4) == 1) {
    r->address = map_v4(ntohl(v4.s_addr));
    base = V4_BITS;
  } else if (inet_pton(AF_INET6, address, v6) == 1) {
    r->address = from_bytes(v6);
  } else {
    return bad_entry(entry, e);
  }
  size_t count = digits ? strspn(digits, "0123456789") : 0;
  if (digits && (count < 1 || count > 3 || digits[count]))
    return bad_entry(entry, e);
  unsigned long bits = digits ? strtoul(digits, NULL, 10) : 128 - base;
  if (bits > 128 - base) return bad_entry(entry, e);
  r->bits = base + (unsigned)bits;
  return 0;
}

/* Refuses a network whose address has bits behind the prefix. */
static int check_bits(const char *entry, const struct http_filter_range *r,
                      struct err *e)
{
  struct http_filter_range masked = *r;
  masked.address = prefix_of(r->address, r->bits);
  if (are_equal(masked.address, r->address)) return 0;
  char text[RANGE_TEXT];
  show(&masked, text);
  return err_set(e, "usage",
                 "--allow-hosts: '%s' is an address inside of a network; the "
                 "network is %s",
                 entry, text);
}

/* Refuses a network that allows less than it seems to. */
static int check_effect(const char *entry, const struct http_filter_range *r,
                        struct err *e)
{
  for (const struct network *n = networks; n < networks + NETWORKS; n++) {
    char text[RANGE_TEXT];
    if (n->class == PUBLIC || n->class == METADATA || n->class == BROADCAST ||
        n->range.bits <= r->bits || !has(r, n->range.address))
      continue;
    show(&n->range, text);
    return err_set(e, "usage",
                   "--allow-hosts: '%s' is too wide to allow %s (%s); name the "
                   "networks that jobs need, or all",
                   entry, text, name_of(n->class));
  }
  const struct network *n = find(r->address, r->bits);
  if (n->class != PUBLIC || n->inner) return 0;
  return err_set(e, "usage",
                 "--allow-hosts: '%s' is public, and jobs may reach all public "
                 "addresses anyway; omit it (a firewall can restrict them)",
                 entry);
}

static int add_entry(struct http_filter *f, const char *entry, struct err *e)
{
  if (!strcmp(entry, "none")) return 0;
  if (!strcmp(entry, "all")) {
    f->all = true;
    return 0;
  }
  for (size_t i = 0; i < NAMES; i++)
    if (names[i].is_word && !strcmp(entry, names[i].name)) {
      f->classes |= names[i].class;
      return 0;
    }
  if (f->count == HTTP_FILTER_RANGES)
    return err_set(e, "usage", "--allow-hosts takes at most %d networks",
                   HTTP_FILTER_RANGES);
  struct http_filter_range *r = &f->ranges[f->count];
  if (read_range(entry, r, e) < 0 || check_bits(entry, r, e) < 0 ||
      check_effect(entry, r, e) < 0)
    return -1;
  f->count++;
  return 0;
}

int http_filter_parse(const char *list, struct http_filter *filter,
                      struct err *e)
{
  memset(filter, 0, sizeof(*filter));
  for (const char *at = list; at; at++) {
    char entry[64]; /* longer than any network */
    size_t len = strcspn(at, ",");
    snprintf(entry, sizeof(entry), "%.*s", (int)len, at);
    if (len >= sizeof(entry)) return bad_entry(entry, e);
    if (add_entry(filter, entry, e) < 0) return -1;
    at += len;
    if (!*at) break;
  }
  return 0;
}
