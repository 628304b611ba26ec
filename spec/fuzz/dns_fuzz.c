/* SPDX-License-Identifier: MIT */
/* libFuzzer: any bytes as the response of a name server, read for each type of
 * question. All of the answer is checked. */
#include "net/dns_answer.h"

#include <stdlib.h>
#include <string.h>
#include <arpa/nameser.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
  if (!ok) abort();
}

static void read_as(const uint8_t *data, size_t size, int type)
{
  struct dns_answer answer;
  memset(&answer, 0, sizeof(answer));
  buf_init(&answer.addresses, SIZE_MAX);
  buf_init(&answer.services, SIZE_MAX);
  enum dns_reason result = dns_answer_read(data, size, type, &answer);
  size_t addresses = answer.addresses.len / sizeof(struct dns_address);
  size_t services = answer.services.len / sizeof(struct dns_service);
  const struct dns_address *a = (const void *)answer.addresses.data;
  const struct dns_service *s = (const void *)answer.services.data;
  bool found = result == DNS_FOUND;
  check(found == ((type == ns_t_srv ? services : addresses) > 0));
  for (size_t i = 0; i < addresses; i++) {
    check(memchr(a[i].text, 0, sizeof(a[i].text)) && *a[i].text);
    check(type == ns_t_srv ? a[i].service < services : a[i].service == 0);
    check(a[i].ttl <= INT32_MAX);
  }
  for (size_t i = 0; i < services; i++)
    check(memchr(s[i].target, 0, sizeof(s[i].target)) && *s[i].target);
  buf_free(&answer.addresses);
  buf_free(&answer.services);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  read_as(data, size, ns_t_a);
  read_as(data, size, ns_t_aaaa);
  read_as(data, size, ns_t_srv);
  return 0;
}
