/* SPDX-License-Identifier: MIT */
/* What the HTTP client may connect to, as a function of address and list. */
#include "../test.h"
#include "net/http_filter.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

extern const struct test http_filter_tests[];

static struct sockaddr_storage address_of(const char *text)
{
  struct sockaddr_storage to = {.ss_family = AF_INET};
  struct sockaddr_in *v4 = (void *)&to;
  struct sockaddr_in6 *v6 = (void *)&to;
  if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) return to;
  to.ss_family = AF_INET6;
  if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1) to.ss_family = AF_UNIX;
  return to;
}

/* The class, or "" when the list allows the address. */
static const char *judge(const char *list, unsigned also, const char *text)
{
  struct http_filter filter;
  struct err e;
  struct sockaddr_storage to = address_of(text);
  if (http_filter_parse(list, &filter, &e) < 0) return "(bad list)";
  const char *class = http_filter_refuses(&filter, also, (void *)&to);
  return class ? class : "";
}

static void check(struct test_run *t, const char *list, const char *text,
                  const char *want)
{
  const char *got = judge(list, 0, text);
  if (strcmp(got, want)) CHECK_STR(t, text, list); /* says which */
  CHECK_STR(t, got, want);
}

/* Each network by its first and last address, and those below and above it. */
static const struct edge {
  const char *below, *first, *last, *above;
  const char *class;
  const char *beside[2]; /* classes of below and above */
} edges[] = {
    {NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0", "unspecified", {"", ""}},
    {"9.255.255.255",
     "10.0.0.0",
     "10.255.255.255",
     "11.0.0.0",
     "private",
     {"", ""}},
    {"100.63.255.255",
     "100.64.0.0",
     "100.127.255.255",
     "100.128.0.0",
     "private",
     {"", ""}},
    {"126.255.255.255",
     "127.0.0.0",
     "127.255.255.255",
     "128.0.0.0",
     "loopback",
     {"", ""}},
    {"169.253.255.255",
     "169.254.0.0",
     "169.254.255.255",
     "169.255.0.0",
     "link-local",
     {"", ""}},
    {"172.15.255.255",
     "172.16.0.0",
     "172.31.255.255",
     "172.32.0.0",
     "private",
     {"", ""}},
    {"191.255.255.255",
     "192.0.0.0",
     "192.0.0.255",
     "192.0.1.0",
     "reserved",
     {"", ""}},
    {"192.0.1.255",
     "192.0.2.0",
     "192.0.2.255",
     "192.0.3.0",
     "reserved",
     {"", ""}},
    {"192.88.98.255",
     "192.88.99.0",
     "192.88.99.255",
     "192.88.100.0",
     "reserved",
     {"", ""}},
    {"192.167.255.255",
     "192.168.0.0",
     "192.168.255.255",
     "192.169.0.0",
     "private",
     {"", ""}},
    {"198.17.255.255",
     "198.18.0.0",
     "198.19.255.255",
     "198.20.0.0",
     "private",
     {"", ""}},
    {"198.51.99.255",
     "198.51.100.0",
     "198.51.100.255",
     "198.51.101.0",
     "reserved",
     {"", ""}},
    {"203.0.112.255",
     "203.0.113.0",
     "203.0.113.255",
     "203.0.114.0",
     "reserved",
     {"", ""}},
    {"223.255.255.255",
     "224.0.0.0",
     "239.255.255.255",
     "240.0.0.0",
     "multicast",
     {"", "reserved"}},
    {"239.255.255.255",
     "240.0.0.0",
     "255.255.255.254",
     "255.255.255.255",
     "reserved",
     {"multicast", "broadcast"}},
    {"255.255.255.254",
     "255.255.255.255",
     "255.255.255.255",
     NULL,
     "broadcast",
     {"reserved", ""}},
    /* metadata services */
    {"169.254.169.253",
     "169.254.169.254",
     "169.254.169.254",
     "169.254.169.255",
     "metadata",
     {"link-local", "link-local"}},
    {"169.254.170.1",
     "169.254.170.2",
     "169.254.170.2",
     "169.254.170.3",
     "metadata",
     {"link-local", "link-local"}},
    {"169.254.170.22",
     "169.254.170.23",
     "169.254.170.23",
     "169.254.170.24",
     "metadata",
     {"link-local", "link-local"}},
    {"169.254.0.22",
     "169.254.0.23",
     "169.254.0.23",
     "169.254.0.24",
     "metadata",
     {"link-local", "link-local"}},
    {"169.254.42.41",
     "169.254.42.42",
     "169.254.42.42",
     "169.254.42.43",
     "metadata",
     {"link-local", "link-local"}},
    {"168.63.129.15",
     "168.63.129.16",
     "168.63.129.16",
     "168.63.129.17",
     "metadata",
     {"", ""}},
    {"100.100.100.199",
     "100.100.100.200",
     "100.100.100.200",
     "100.100.100.201",
     "metadata",
     {"private", "private"}},
    {"192.0.0.191",
     "192.0.0.192",
     "192.0.0.192",
     "192.0.0.193",
     "metadata",
     {"reserved", "reserved"}},
    {"fd00:ec1:ffff:ffff:ffff:ffff:ffff:ffff",
     "fd00:ec2::",
     "fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff",
     "fd00:ec3::",
     "metadata",
     {"private", "private"}},
    {"fd20:ce::253",
     "fd20:ce::254",
     "fd20:ce::254",
     "fd20:ce::255",
     "metadata",
     {"private", "private"}},
    {"fd00:42::41",
     "fd00:42::42",
     "fd00:42::42",
     "fd00:42::43",
     "metadata",
     {"private", "private"}},
    /* anycast of the protocols themselves */
    {"192.0.0.8",
     "192.0.0.9",
     "192.0.0.10",
     "192.0.0.11",
     "",
     {"reserved", "reserved"}},
    {"2001:1::",
     "2001:1::1",
     "2001:1::3",
     "2001:1::4",
     "",
     {"reserved", "reserved"}},
    {"2001:2:ffff:ffff:ffff:ffff:ffff:ffff",
     "2001:3::",
     "2001:3:ffff:ffff:ffff:ffff:ffff:ffff",
     "2001:4::",
     "",
     {"reserved", "reserved"}},
    {"2001:4:111:ffff:ffff:ffff:ffff:ffff",
     "2001:4:112::",
     "2001:4:112:ffff:ffff:ffff:ffff:ffff",
     "2001:4:113::",
     "",
     {"reserved", "reserved"}},
    {"2001:1f:ffff:ffff:ffff:ffff:ffff:ffff",
     "2001:20::",
     "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff",
     "2001:40::",
     "",
     {"reserved", "reserved"}},
    /* IPv6 */
    {NULL, "::", "::", "::1", "unspecified", {"", "loopback"}},
    {"::", "::1", "::1", "::2", "loopback", {"unspecified", "unspecified"}},
    {"1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "2000::",
     "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "2001:1::",
     "",
     {"reserved", "reserved"}},
    {"2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "2001:1::",
     "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
     "2001:200::",
     "reserved",
     {"", ""}},
    {"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
     "2001:db8::",
     "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
     "2001:db9::",
     "reserved",
     {"", ""}},
    {"3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "3fff::",
     "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
     "3fff:1000::",
     "reserved",
     {"", ""}},
    {"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "4000::",
     "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "fc00::",
     "reserved",
     {"", "private"}},
    {"fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "fc00::",
     "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "fe00::",
     "private",
     {"reserved", "reserved"}},
    {"fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "fe80::",
     "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "fec0::",
     "link-local",
     {"reserved", "private"}},
    {"febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "fec0::",
     "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "ff00::",
     "private",
     {"link-local", "multicast"}},
    {"feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "ff00::",
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     NULL,
     "multicast",
     {"private", ""}},
};
enum { EDGES = sizeof(edges) / sizeof(*edges) };

static void test_edges(struct test_run *t)
{
  for (int i = 0; i < EDGES; i++) {
    const struct edge *at = &edges[i];
    if (at->below) check(t, "none", at->below, at->beside[0]);
    check(t, "none", at->first, at->class);
    check(t, "none", at->last, at->class);
    if (at->above) check(t, "none", at->above, at->beside[1]);
    /* "all" is all */
    check(t, "all", at->first, "");
    check(t, "all", at->last, "");
  }
}

/* Every form of an address of IPv4 in one of IPv6 is of its class. */
static void test_inner(struct test_run *t)
{
  static const char *const forms[] = {
      "::ffff:%u.%u.%u.%u",                  /* mapped */
      "64:ff9b::%u.%u.%u.%u",                /* NAT64 */
      "2002:%02x%02x:%02x%02x::1",           /* 6to4 */
      "2001:0:%02x%02x:%02x%02x::f7f7:f7f7", /* Teredo: its server */
      "2001:0:808:808::%02x%02x:%02x%02x",   /* Teredo: the client, inverted */
      "::%u.%u.%u.%u",                       /* compatible */
  };
  enum { FORMS = sizeof(forms) / sizeof(*forms), CLIENT = 4, COMPATIBLE = 5 };
  for (int i = 0; i < EDGES; i++) {
    unsigned char b[4];
    if (inet_pton(AF_INET, edges[i].first, b) != 1) continue;
    for (int form = 0; form < FORMS; form++) {
      char text[INET6_ADDRSTRLEN];
      unsigned turn = form == CLIENT ? 0xff : 0;
      snprintf(text, sizeof(text), forms[form], b[0] ^ turn, b[1] ^ turn,
               b[2] ^ turn, b[3] ^ turn);
      bool is_zero = form == COMPATIBLE && !strcmp(edges[i].first, "0.0.0.0");
      const char *class = edges[i].class;
      if (form == COMPATIBLE && !*class) class = "reserved";
      check(t, "none", text, is_zero ? "unspecified" : class);
      check(t, "all", text, "");
      /* only the mapped form is the address itself for the kernel */
      if (!strcmp(class, "loopback") || !strcmp(class, "private"))
        check(t, "loopback,private", text, form == 0 ? "" : class);
    }
  }
  check(t, "none", "::8.8.8.8", "reserved");
  check(t, "none", "::ffff:8.8.8.8", "");
  check(t, "none", "64:ff9b::8.8.8.8", "");
  check(t, "none", "2002:808:808::1", "");
  check(t, "none", "2001:0:808:808::f7f7:f7f7", "");
  /* NAT64 of one's own prefix hides where the address is */
  check(t, "none", "64:ff9b:1::8.8.8.8", "reserved");
  check(t, "none", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "reserved");
  check(t, "64:ff9b:1::/48", "64:ff9b:1::a00:1", "");
  /* SIIT */
  check(t, "none", "::ffff:0:127.0.0.1", "reserved");
}

static const struct {
  const char *list, *address, *want;
} list_cases[] = {
    {"127.0.0.2/32", "127.0.0.2", ""},
    {"127.0.0.2/32", "127.0.0.3", "loopback"},
    {"127.0.0.2/32", "127.0.0.1", "loopback"},
    {"127.0.0.2", "::ffff:127.0.0.2", ""},
    {"127.0.0.2", "64:ff9b::127.0.0.2", "loopback"},
    {"127.0.0.2", "::1", "loopback"},
    {"127.0.0.4/30", "127.0.0.3", "loopback"},
    {"127.0.0.4/30", "127.0.0.4", ""},
    {"127.0.0.4/30", "127.0.0.7", ""},
    {"127.0.0.4/30", "127.0.0.8", "loopback"},
    {"::ffff:127.0.0.0/104", "127.9.9.9", ""},
    {"10.0.0.0/8", "10.255.255.255", ""},
    {"10.0.0.0/8", "11.0.0.0", ""},
    {"10.0.0.0/8", "192.168.0.1", "private"},
    {"10.1.0.0/16,192.168.7.0/24", "192.168.7.9", ""},
    {"10.1.0.0/16,192.168.7.0/24", "10.2.0.0", "private"},
    {"fd00:1::/32", "fd00:1:ffff::1", ""},
    {"fd00:1::/32", "fd00:2::1", "private"},
    {"::1", "::1", ""},
    {"loopback", "::1", ""},
    {"loopback", "127.255.255.255", ""},
    {"loopback", "0.0.0.0", "unspecified"},
    {"loopback", "10.0.0.1", "private"},
    {"private", "172.31.0.1", ""},
    {"private", "100.64.0.1", ""},
    {"private", "fdff::1", ""},
    {"private", "127.0.0.1", "loopback"},
    {"none", "127.0.0.1", "loopback"},
    {"none,loopback", "127.0.0.1", ""},
    /* services of metadata only by themselves */
    {"private,link-local", "169.254.169.254", "metadata"},
    {"private,link-local", "fd00:ec2::254", "metadata"},
    {"private,link-local", "100.100.100.200", "metadata"},
    {"169.254.0.0/16", "169.254.169.254", "metadata"},
    {"169.254.0.0/16", "169.254.1.1", ""},
    {"fc00::/7", "fd00:ec2::23", "metadata"},
    {"100.64.0.0/10", "100.100.100.200", "metadata"},
    {"169.254.169.254", "169.254.169.254", ""},
    {"169.254.169.254", "169.254.170.2", "metadata"},
    {"metadata", "169.254.170.2", ""},
    {"metadata", "fd00:ec2::254", ""},
    {"metadata", "169.254.1.1", "link-local"},
    {"metadata", "64:ff9b::169.254.169.254", "metadata"},
    {"64:ff9b::/96", "64:ff9b::10.0.0.1", ""},
    {"224.0.0.0/4", "239.1.1.1", ""},
    {"0.0.0.0", "0.0.0.0", ""},
    {"240.0.0.0/4", "250.0.0.1", ""},
    {"240.0.0.0/4", "255.255.255.255", "broadcast"},
    {"all", "169.254.169.254", ""},
    {"8.8.8.8,all", "169.254.169.254", "(bad list)"},
};

static void test_lists(struct test_run *t)
{
  for (size_t i = 0; i < sizeof(list_cases) / sizeof(*list_cases); i++)
    check(t, list_cases[i].list, list_cases[i].address, list_cases[i].want);
  CHECK_STR(t, judge("none", HTTP_FILTER_LOOPBACK, "127.0.0.1"), "");
  CHECK_STR(t, judge("none", HTTP_FILTER_LOOPBACK, "10.0.0.1"), "private");
  CHECK_STR(t, judge("none", HTTP_FILTER_METADATA, "169.254.169.254"), "");
  CHECK_STR(t, judge("none", ~0u, "64:ff9b::7f00:1"), "loopback");
  CHECK_STR(t, judge("all", 0, "/no/address"), "of an unknown family");
}

static void test_bad_lists(struct test_run *t)
{
  static const struct {
    const char *list, *want;
  } cases[] = {
      {"", "got ''"},
      {",", "got ''"},
      {"loopback,", "got ''"},
      {"Loopback", "got 'Loopback'"},
      {"localhost", "got 'localhost'"},
      {"10.0.0.0/33", "got '10.0.0.0/33'"},
      {"10.0.0.0/", "got '10.0.0.0/'"},
      {"10.0.0.0/8x", "got '10.0.0.0/8x'"},
      {"10.0.0.0/-1", "got '10.0.0.0/-1'"},
      {"10.0.0.0/0008", "got '10.0.0.0/0008'"},
      {"10.0.0.0/8/8", "got '10.0.0.0/8/8'"},
      {"10.0.0", "got '10.0.0'"},
      {"010.0.0.1", "got '010.0.0.1'"},
      {"127.0.0.1:80", "got '127.0.0.1:80'"},
      {"[::1]", "got '[::1]'"},
      {"::1/129", "got '::1/129'"},
      {"fe80::1%lo", "got 'fe80::1%lo'"},
      {"https://10.0.0.1/", "got 'https://10.0.0.1/'"},
      {"10.0.0.1/8", "'10.0.0.1/8' is an address inside of a network; the "
                     "network is 10.0.0.0/8"},
      {"fd00:1::1/64", "the network is fd00:1::/64"},
      {"::ffff:10.0.0.1/104", "the network is 10.0.0.0/8"},
      {"255.255.255.255/1", "the network is 128.0.0.0/1"},
      {"0.0.0.0/0", "'0.0.0.0/0' is too wide to allow 0.0.0.0/8 (unspecified)"},
      {"::/0", "'::/0' is too wide to allow 0.0.0.0/8"},
      {"10.0.0.0/7", "'10.0.0.0/7' is too wide to allow 10.0.0.0/8 (private)"},
      {"fc00::/6", "'fc00::/6' is too wide to allow fc00::/7 (private)"},
      {"100.64.0.0/9", "the network is 100.0.0.0/9"},
      {"100.0.0.0/9", "too wide to allow 100.64.0.0/10 (private)"},
      {"8.8.8.8", "'8.8.8.8' is public, and jobs may reach all public "
                  "addresses anyway"},
      {"2600::/16", "'2600::/16' is public"},
      {"192.0.0.9", "'192.0.0.9' is public"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    struct http_filter filter;
    struct err e = {{0}, {0}};
    CHECK_INT(t, http_filter_parse(cases[i].list, &filter, &e), -1);
    CHECK_STR(t, e.kind, "usage");
    if (!CHECK(t, strstr(e.text, cases[i].want)))
      CHECK_STR(t, e.text, cases[i].want);
  }
}

static void test_many(struct test_run *t)
{
  struct http_filter filter;
  struct err e = {{0}, {0}};
  char list[16 * (HTTP_FILTER_RANGES + 1)] = "loopback,private";
  for (int i = 0; i <= HTTP_FILTER_RANGES; i++) {
    CHECK_INT(t, http_filter_parse(list, &filter, &e), 0);
    CHECK_INT(t, filter.count, i);
    size_t len = strlen(list);
    snprintf(list + len, sizeof(list) - len, ",10.0.0.%d", i);
  }
  CHECK_INT(t, http_filter_parse(list, &filter, &e), -1);
  CHECK_STR(t, e.text, "--allow-hosts takes at most 64 networks");
}

const struct test http_filter_tests[] = {
    {"http filter: the edges of every network", test_edges},
    {"http filter: addresses inside of addresses", test_inner},
    {"http filter: lists", test_lists},
    {"http filter: lists that are wrong", test_bad_lists},
    {"http filter: the longest list", test_many},
    {NULL, NULL},
};
