/* SPDX-License-Identifier: MIT */
/* Responses that no name server of the specs can send. */
#include "../test.h"
#include "net/dns_answer.h"

#include <arpa/nameser.h>
#include <string.h>

extern const struct test dns_answer_tests[];

/* A response about the root: `services` services, all at "a", and `addresses`
 * addresses of "a" in the additional section. */
static size_t write_answer(unsigned char *to, int services, int addresses)
{
  static const unsigned char service[] = {
      0, 0, ns_t_srv, 0, 1, 0, 0, 0, 5, 0, 9, 0, 0, 0, 0, 0, 1, 1, 'a', 0};
  static const unsigned char address[] = {1, 'a', 0, 0, ns_t_a, 0, 1, 0, 0,
                                          0, 5,   0, 4, 10,     0, 0, 1};
  unsigned char *at = to;
  memset(at, 0, NS_HFIXEDSZ);
  at[7] = (unsigned char)services;
  at[11] = (unsigned char)addresses;
  at += NS_HFIXEDSZ;
  for (int i = 0; i < services; i++, at += sizeof(service))
    memcpy(at, service, sizeof(service));
  for (int i = 0; i < addresses; i++, at += sizeof(address))
    memcpy(at, address, sizeof(address));
  return (size_t)(at - to);
}

static void test_additional(struct test_run *t)
{
  static const struct {
    int services, addresses;
    size_t want;
  } cases[] = {{2, 3, 6}, {64, 64, 4096}, {64, 65, 0}, {255, 255, 0}};
  unsigned char bytes[16 * 1024];
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct dns_answer answer = {0};
    size_t len = write_answer(bytes, cases[i].services, cases[i].addresses);
    buf_init(&answer.addresses, SIZE_MAX);
    buf_init(&answer.services, SIZE_MAX);
    CHECK_INT(t, dns_answer_read(bytes, len, ns_t_srv, &answer), DNS_FOUND);
    CHECK_INT(t, answer.services.len / sizeof(struct dns_service),
              cases[i].services);
    CHECK_INT(t, answer.addresses.len / sizeof(struct dns_address),
              cases[i].want);
    buf_free(&answer.addresses);
    buf_free(&answer.services);
  }
}

const struct test dns_answer_tests[] = {
    {"dns_answer: leaves out addresses when there are too many",
     test_additional},
    {NULL, NULL},
};
