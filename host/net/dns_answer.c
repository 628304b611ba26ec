/* SPDX-License-Identifier: MIT */
#include "net/dns_answer.h"

#include <string.h>
#include <strings.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <resolv.h>

enum {
  SRV_FIXED = 6, /* priority, weight and port, before the target */
  /* Addresses in the additional section. Each counts once for every service of
   * its target, of which a small response can make millions. */
  MAX_ADDITIONAL = 4096,
};

void dns_answer_add(struct dns_answer *answer, int family, const void *bytes,
                    uint32_t ttl, size_t service)
{
  struct dns_address a;
  memset(&a, 0, sizeof(a));
  a.ttl = ttl;
  a.service = service;
  if (inet_ntop(family, bytes, a.text, sizeof(a.text)))
    buf_add(&answer->addresses, &a, sizeof(a));
}

/* RFC 2181, 8: a time to live with the highest bit set counts as 0. */
static uint32_t ttl_of(const ns_rr *rr)
{
  return ns_rr_ttl(*rr) > INT32_MAX ? 0 : ns_rr_ttl(*rr);
}

/* AF_INET or AF_INET6 for a well-formed address, else 0 */
static int family_of(const ns_rr *rr)
{
  if (ns_rr_class(*rr) != ns_c_in) return 0;
  if (ns_rr_type(*rr) == ns_t_a && ns_rr_rdlen(*rr) == 4) return AF_INET;
  if (ns_rr_type(*rr) == ns_t_aaaa && ns_rr_rdlen(*rr) == 16) return AF_INET6;
  return 0;
}

/* 0, or -1 when it is malformed. The root as target means that there is no such
 * service (RFC 2782). */
static int read_service(ns_msg *msg, const ns_rr *rr, struct buf *to)
{
  struct dns_service s;
  const unsigned char *data = ns_rr_rdata(*rr);
  memset(&s, 0, sizeof(s));
  if (ns_rr_rdlen(*rr) <= SRV_FIXED ||
      dn_expand(ns_msg_base(*msg), ns_msg_end(*msg), data + SRV_FIXED, s.target,
                sizeof(s.target)) < 0)
    return -1;
  s.priority = (uint16_t)ns_get16(data);
  s.weight = (uint16_t)ns_get16(data + 2);
  s.port = (uint16_t)ns_get16(data + 4);
  s.ttl = ttl_of(rr);
  if (*s.target) buf_add(to, &s, sizeof(s));
  return 0;
}

/* The additional section is optional: what is malformed there is left out, and
 * all of it when it is too much. */
static void add_additional(ns_msg *msg, struct dns_answer *answer)
{
  ns_rr rr;
  size_t before = answer->addresses.len;
  size_t max = before + MAX_ADDITIONAL * sizeof(struct dns_address);
  size_t n = answer->services.len / sizeof(struct dns_service);
  const struct dns_service *s = (const void *)answer->services.data;
  for (int i = 0; i < ns_msg_count(*msg, ns_s_ar); i++) {
    if (ns_parserr(msg, ns_s_ar, i, &rr) < 0) return;
    int family = family_of(&rr);
    for (size_t k = 0; family && k < n; k++)
      if (!strcasecmp(s[k].target, ns_rr_name(rr)))
        dns_answer_add(answer, family, ns_rr_rdata(rr), ttl_of(&rr), k);
    if (answer->addresses.len <= max) continue;
    answer->addresses.len = before;
    return;
  }
}

static int add_records(ns_msg *msg, int type, struct dns_answer *answer)
{
  ns_rr rr;
  uint32_t alias_ttl = INT32_MAX; /* an alias may expire before its target */
  for (int i = 0; i < ns_msg_count(*msg, ns_s_an); i++) {
    if (ns_parserr(msg, ns_s_an, i, &rr) < 0) return -1;
    if (ns_rr_type(rr) == ns_t_cname && ttl_of(&rr) < alias_ttl)
      alias_ttl = ttl_of(&rr);
  }
  for (int i = 0; i < ns_msg_count(*msg, ns_s_an); i++) {
    if (ns_parserr(msg, ns_s_an, i, &rr) < 0) return -1;
    if ((int)ns_rr_type(rr) != type || ns_rr_class(rr) != ns_c_in) continue;
    int family = family_of(&rr);
    if (type == ns_t_srv) {
      if (read_service(msg, &rr, &answer->services) < 0) return -1;
    } else if (!family) {
      return -1;
    } else {
      uint32_t ttl = ttl_of(&rr) < alias_ttl ? ttl_of(&rr) : alias_ttl;
      dns_answer_add(answer, family, ns_rr_rdata(rr), ttl, 0);
    }
  }
  return 0;
}

enum dns_reason dns_answer_read(const unsigned char *bytes, size_t len,
                                int type, struct dns_answer *answer)
{
  ns_msg msg;
  size_t addresses = answer->addresses.len, services = answer->services.len;
  if (len > NS_MAXMSG || ns_initparse(bytes, (int)len, &msg) < 0)
    return DNS_FAILED;
  if (ns_msg_getflag(msg, ns_f_rcode) == ns_r_nxdomain) return DNS_NO_NAME;
  int rc = add_records(&msg, type, answer);
  if (rc == 0 && type == ns_t_srv) add_additional(&msg, answer);
  if (answer->addresses.failed || answer->services.failed) return DNS_OTHER;
  if (rc < 0) {
    answer->addresses.len = addresses;
    answer->services.len = services;
    return DNS_FAILED;
  }
  bool found = type == ns_t_srv ? answer->services.len > services
                                : answer->addresses.len > addresses;
  return found ? DNS_FOUND : DNS_NO_DATA;
}
