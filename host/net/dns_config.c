/* SPDX-License-Identifier: MIT */
#include "net/dns_config.h"

#include <errno.h>
#include <netdb.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <arpa/inet.h>

enum {
  MAX_LABEL = 63,
  MAX_TEXT = 253, /* of a name, without a last dot */
  PORT = 53,
};

_Static_assert(DNS_MAX_CANDIDATES > MAXDNSRCH + 1,
               "all search domains and the name itself");

/* ---- names ---- */

int dns_config_check_name(const char *name, size_t len, struct err *e)
{
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
  size_t label = 0;
  size_t n = len && name[len - 1] == '.' ? len - 1 : len;
  if (!n) return err_set(e, "usage", "dns: the name is empty");
  if (n > MAX_TEXT)
    return err_set(e, "usage", "dns: the name is longer than %d bytes",
                   MAX_TEXT);
  for (size_t i = 0; i <= n; i++) {
    if (i < n && name[i] != '.') {
      if (!memchr(letters, name[i], sizeof(letters) - 1))
        return err_set(e, "usage",
                       "dns: a name has letters, digits, '-', '_' and dots "
                       "only, not byte %d at %zu",
                       (unsigned char)name[i], i + 1);
      if (++label > MAX_LABEL)
        return err_set(e, "usage", "dns: %.*s: a part is longer than %d bytes",
                       (int)n, name, MAX_LABEL);
      continue;
    }
    if (!label)
      return err_set(e, "usage", "dns: %.*s: a part of the name is empty",
                     (int)n, name);
    label = 0;
  }
  return 0;
}

static void add_candidate(struct dns_config *c, const char *name,
                          const char *domain)
{
  char *to = c->candidates[c->ncandidates];
  unsigned char wire[NS_MAXCDNAME];
  int n =
      snprintf(to, DNS_MAX_NAME, "%s%s%s", name, *domain ? "." : "", domain);
  /* others are too long to exist */
  if (n < DNS_MAX_NAME && ns_name_pton(to, wire, sizeof(wire)) >= 0)
    c->ncandidates++;
}

/* A name with few dots is tried in the search domains first, others last, and
 * one with a dot at its end in none. */
static void find_candidates(struct dns_config *c, const char *name,
                            const struct __res_state *system)
{
  unsigned dots = 0;
  for (const char *at = name; *at; at++) dots += *at == '.';
  bool absolute = name[strlen(name) - 1] == '.';
  bool first = absolute || dots >= system->ndots;
  if (first) add_candidate(c, name, "");
  for (int i = 0; !absolute && i < MAXDNSRCH && system->dnsrch[i]; i++)
    if (strcmp(system->dnsrch[i], ".") && *system->dnsrch[i])
      add_candidate(c, name, system->dnsrch[i]);
  if (!first) add_candidate(c, name, "");
}

/* ---- servers ---- */

/* Cuts "10.0.0.2:53", "[fd00::2]:53", or either without a port, into host and
 * port; 0 as port when it is malformed. */
static uint16_t split_server(char *text, const char **host)
{
  char *colon = strrchr(text, ':'), *close = strchr(text, ']'), *rest = "";
  long port = PORT;
  if (colon && (close ? colon == close + 1 : strchr(text, ':') == colon)) {
    *colon = '\0';
    port = strtol(colon + 1, &rest, 10); /* "" gives 0 */
  }
  *host = text;
  if (*text == '[' && close && !close[1]) {
    ++*host;
    *close = '\0';
  }
  return port < 1 || port > 65535 || *rest ? 0 : (uint16_t)port;
}

static int parse_server(const char *text, struct dns_server *to, struct err *e)
{
  char copy[DNS_MAX_ADDRESS + sizeof("[]:65535")];
  const char *host = "";
  int n = snprintf(copy, sizeof(copy), "%s", text);
  uint16_t port = n < (int)sizeof(copy) ? split_server(copy, &host) : 0;
  memset(to, 0, sizeof(*to));
  if (port && inet_pton(AF_INET, host, &to->at.v4.sin_addr) == 1) {
    to->len = sizeof(to->at.v4);
    to->at.v4.sin_family = AF_INET;
    to->at.v4.sin_port = htons(port);
  } else if (port && inet_pton(AF_INET6, host, &to->at.v6.sin6_addr) == 1) {
    to->len = sizeof(to->at.v6);
    to->at.v6.sin6_family = AF_INET6;
    to->at.v6.sin6_port = htons(port);
  } else {
    return err_set(e, "usage",
                   "dns: '%.80s' is not the address of a name server, such as "
                   "10.0.0.2 or 10.0.0.2:53",
                   text);
  }
  return 0;
}

static int parse_servers(struct dns_config *c, const char *const *servers,
                         struct err *e)
{
  for (; servers[c->nservers]; c->nservers++) {
    if (c->nservers == DNS_MAX_SERVERS)
      return err_set(e, "usage", "dns: more than %d name servers",
                     DNS_MAX_SERVERS);
    if (parse_server(servers[c->nservers], &c->servers[c->nservers], e) < 0)
      return -1;
  }
  if (!c->nservers) return err_set(e, "usage", "dns: no name server is given");
  return 0;
}

/* The C library keeps IPv6 servers beside the list. */
static void take_servers(struct dns_config *c, const struct __res_state *system)
{
  for (int i = 0; i < system->nscount && i < MAXNS; i++) {
    struct dns_server *to = &c->servers[c->nservers++];
    const struct sockaddr_in6 *v6 = system->_u._ext.nsaddrs[i];
    memset(to, 0, sizeof(*to));
    if (!system->nsaddr_list[i].sin_family && v6) {
      to->len = sizeof(to->at.v6);
      to->at.v6 = *v6;
    } else {
      to->len = sizeof(to->at.v4);
      to->at.v4 = system->nsaddr_list[i];
    }
  }
}

int dns_config_read(struct dns_config *c, const char *name,
                    const char *const *servers, struct err *e)
{
  struct __res_state system;
  memset(c, 0, sizeof(*c));
  memset(&system, 0, sizeof(system));
  if (servers && parse_servers(c, servers, e) < 0) return -1;
  if (res_ninit(&system) < 0)
    return err_errno(e, "dns", errno, "%s cannot be read", _PATH_RESCONF);
  if (!servers) take_servers(c, &system);
  c->tcp = system.options & RES_USEVC;
  find_candidates(c, name, &system);
  res_nclose(&system);
  return 0;
}

/* ---- the hosts file ---- */

static void add_text(struct dns_answer *answer, const char *text)
{
  struct in6_addr address;
  int family = strchr(text, ':') ? AF_INET6 : AF_INET;
  if (inet_pton(family, text, &address) == 1)
    dns_answer_add(answer, family, &address, 0, 0);
}

/* Compares without a dot at the end of the first. */
static bool is_same(const char *name, const char *other)
{
  size_t n = strlen(name);
  if (name[n - 1] == '.') n--;
  return !strncasecmp(name, other, n) && !other[n];
}

void dns_config_hosts(const char *name, struct dns_answer *answer)
{
  size_t before = answer->addresses.len, room = 0;
  char *line = NULL;
  FILE *file = fopen(_PATH_HOSTS, "re");
  while (file && getline(&line, &room, file) >= 0) {
    char *rest;
    line[strcspn(line, "#\n")] = '\0';
    const char *address = strtok_r(line, " \t\r", &rest);
    for (const char *word = address ? strtok_r(NULL, " \t\r", &rest) : NULL;
         word; word = strtok_r(NULL, " \t\r", &rest)) {
      if (!is_same(name, word)) continue;
      add_text(answer, address);
      break;
    }
  }
  free(line);
  if (file) fclose(file);
  if (answer->addresses.len == before && is_same(name, "localhost")) {
    add_text(answer, "127.0.0.1");
    add_text(answer, "::1");
  }
}
