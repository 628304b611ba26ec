/* SPDX-License-Identifier: MIT */
#include "dns.h"

#include "dns_answer.h"

#include <ares.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
  DEFAULT_TIMEOUT_MS = 10000,
  DEFAULT_TRIES = 3,
  MIN_TRY_MS = 100,
  MAX_TRIES = 10,
  MAX_SERVERS = 16,
  MAX_LABEL = 63,
  MAX_TEXT = 253, /* of a name, without a last dot */
  MAX_CANDIDATES = 32,
  PORT = 53,
};

/* A descriptor of c-ares; kept after it was closed, for the next. */
struct sock {
  struct loop_io io; /* fd is -1 while there is none */
  struct dns_query *query;
  struct sock *next;
  uint32_t registered;
};

/* One question to the servers. */
struct question {
  struct dns_query *query;
  int type;   /* ns_t_a, ns_t_aaaa, ns_t_srv */
  int status; /* of c-ares */
};

struct dns_query {
  struct loop *loop;
  ares_channel channel;
  struct sock *socks;
  struct loop_timer due;    /* of c-ares */
  struct loop_timer end;    /* of all */
  struct loop_timer onward; /* there is something to do, from a fresh stack */
  struct question questions[2];
  unsigned waiting; /* questions without an answer */
  bool ending;      /* callbacks are the end of the channel */
  bool services;
  /* names that the name asked for may stand for, by the search domains */
  char *candidates[MAX_CANDIDATES];
  size_t ncandidates, at;
  bool no_data; /* of some candidate */
  int refusal;  /* status for the last code that said no, or 0 */
  int failure;  /* of c-ares, of some candidate; or ARES_SUCCESS */
  struct dns_answer answer;
  dns_done *done;
  void *arg;
  int shown; /* how much of the name is said: not a dot at its end */
  char name[DNS_MAX_NAME];
};

/* ---- reasons ---- */

const char *dns_reason_word(enum dns_reason reason)
{
  static const char *const words[] = {
      [DNS_NO_NAME] = "no_name",
      [DNS_NO_DATA] = "no_data",
      [DNS_FAILED] = "failed",
      [DNS_REFUSED] = "refused",
      [DNS_UNREACHABLE] = "unreachable",
      [DNS_TIMEOUT] = "timeout",
      [DNS_OTHER] = "other",
  };
  return words[reason];
}

static enum dns_reason reason_of(int status)
{
  switch (status) {
  case ARES_ENOTFOUND: return DNS_NO_NAME;
  case ARES_ENODATA: return DNS_NO_DATA;
  case ARES_EREFUSED: return DNS_REFUSED;
  case ARES_ECONNREFUSED:
  case ARES_EOF: return DNS_UNREACHABLE;
  case ARES_ETIMEOUT: return DNS_TIMEOUT;
  case ARES_ENOMEM: return DNS_OTHER;
  default: return DNS_FAILED;
  }
}

static void say(const struct dns_query *q, int status, struct err *e)
{
  const char *text = "there is no such name", *more = "";
  switch (reason_of(status)) {
  case DNS_NO_NAME: break;
  case DNS_NO_DATA:
    text =
        q->services ? "the name has no services" : "the name has no addresses";
    break;
  case DNS_REFUSED: text = "the name server refuses to answer"; break;
  case DNS_UNREACHABLE: text = "the name server cannot be reached"; break;
  case DNS_TIMEOUT: text = "the name server does not answer in time"; break;
  case DNS_OTHER:
    err_set(e, "memory", "out of memory for a question to a name server");
    return;
  default: text = "the name server failed: "; more = ares_strerror(status);
  }
  err_set(e, "dns", "%.*s: %s%s", q->shown, q->name, text, more);
}

/* ---- the channel on the loop ---- */

/* Leaves the callbacks of c-ares, in which its channel must not end. */
static void go_onward(struct dns_query *q)
{
  loop_timer_set(q->loop, &q->onward, 0);
}

static void arm(struct dns_query *q)
{
  struct timeval tv, *next = ares_timeout(q->channel, NULL, &tv);
  if (next)
    loop_timer_set(q->loop, &q->due,
                   (uint64_t)next->tv_sec * LOOP_S +
                       (uint64_t)next->tv_usec * (LOOP_MS / 1000));
  else
    loop_timer_clear(q->loop, &q->due);
}

static void on_due(struct loop_timer *timer)
{
  struct dns_query *q =
      (struct dns_query *)((char *)timer - offsetof(struct dns_query, due));
  ares_process_fd(q->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  arm(q);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
  struct sock *k = (struct sock *)((char *)io - offsetof(struct sock, io));
  struct dns_query *q = k->query;
  ares_socket_t fd = io->fd;
  bool in = events & (EPOLLIN | EPOLLERR | EPOLLHUP);
  bool out = events & (EPOLLOUT | EPOLLERR | EPOLLHUP);
  ares_process_fd(q->channel, in ? fd : ARES_SOCKET_BAD,
                  out ? fd : ARES_SOCKET_BAD);
  arm(q);
}

static struct sock *sock_of(struct dns_query *q, ares_socket_t fd)
{
  struct sock *idle = NULL;
  for (struct sock *k = q->socks; k; k = k->next) {
    if (k->io.fd == fd) return k;
    if (k->io.fd < 0) idle = k;
  }
  struct sock *k = idle ? idle : calloc(1, sizeof(*k));
  if (!k) return NULL;
  if (!idle) {
    k->query = q;
    k->io.on_ready = on_ready;
    k->next = q->socks;
    q->socks = k;
  }
  k->io.fd = fd;
  return k;
}

static void forget(struct dns_query *q, struct sock *k)
{
  if (k->registered) loop_io_remove(q->loop, &k->io);
  k->registered = 0;
  k->io.fd = -1;
}

/* c-ares says what it waits for, and last, before it closes the descriptor,
 * that it waits for nothing. A descriptor that cannot be watched brings no
 * answer: the question then ends by time. */
static void on_sock_state(void *arg, ares_socket_t fd, int readable,
                          int writable)
{
  struct dns_query *q = arg;
  struct err ignored;
  struct sock *k = sock_of(q, fd);
  if (!k) return;
  uint32_t want = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);
  if (!want) {
    forget(q, k);
    return;
  }
  int rc = k->registered ? loop_io_set(q->loop, &k->io, want, &ignored)
                         : loop_io_add(q->loop, &k->io, want, &ignored);
  if (rc == 0) k->registered = want;
}

/* ---- sockets ---- */

/* c-ares 1.18 goes on to the next server when one fails or refuses, which is
 * right, but in the end says of all such failures that it found no server. So
 * its sockets are ours, to see the codes as they come. */

static ares_socket_t on_open(int domain, int type, int protocol, void *arg)
{
  (void)arg;
  return socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}

static int on_close(ares_socket_t fd, void *arg)
{
  (void)arg;
  return close(fd);
}

static int on_connect(ares_socket_t fd, const struct sockaddr *to,
                      ares_socklen_t len, void *arg)
{
  (void)arg;
  return connect(fd, to, len);
}

static ares_ssize_t on_receive(ares_socket_t fd, void *bytes, size_t room,
                               int flags, struct sockaddr *from,
                               ares_socklen_t *from_len, void *arg)
{
  struct dns_query *q = arg;
  ares_ssize_t n = recvfrom(fd, bytes, room, flags, from, from_len);
  if (n < NS_HFIXEDSZ || !from) return n; /* without `from` it is TCP */
  switch (((const unsigned char *)bytes)[3] & 0x0f) {
  case ns_r_servfail: q->refusal = ARES_ESERVFAIL; break;
  case ns_r_notimpl: q->refusal = ARES_ENOTIMP; break;
  case ns_r_refused: q->refusal = ARES_EREFUSED; break;
  default: break;
  }
  return n;
}

static ares_ssize_t on_send(ares_socket_t fd, const struct iovec *parts, int n,
                            void *arg)
{
  (void)arg;
  return writev(fd, parts, n);
}

static const struct ares_socket_functions socket_functions = {
    on_open, on_close, on_connect, on_receive, on_send};

/* ---- questions ---- */

static void free_query(struct dns_query *q)
{
  q->ending = true;
  if (q->channel) ares_destroy(q->channel);
  loop_timer_clear(q->loop, &q->due);
  loop_timer_clear(q->loop, &q->end);
  loop_timer_clear(q->loop, &q->onward);
  while (q->socks) {
    struct sock *next = q->socks->next;
    forget(q, q->socks);
    free(q->socks);
    q->socks = next;
  }
  for (size_t i = 0; i < q->ncandidates; i++) free(q->candidates[i]);
  buf_free(&q->answer.addresses);
  buf_free(&q->answer.services);
  free(q);
}

static void finish(struct dns_query *q, int status)
{
  struct err e;
  if (status == ARES_SUCCESS) {
    q->done(q->arg, &q->answer, DNS_OTHER, NULL);
  } else {
    say(q, status, &e);
    q->done(q->arg, NULL, reason_of(status), &e);
  }
  free_query(q);
}

static void on_end(struct loop_timer *timer)
{
  finish((struct dns_query *)((char *)timer - offsetof(struct dns_query, end)),
         ARES_ETIMEOUT);
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *bytes,
                      int len)
{
  struct question *ask = arg;
  struct dns_query *q = ask->query;
  (void)timeouts;
  if (q->ending) return;
  if (status == ARES_ECONNREFUSED && q->refusal) status = q->refusal;
  ask->status = status;
  if (status == ARES_SUCCESS) {
    switch (dns_answer_read(bytes, (size_t)len, ask->type, &q->answer)) {
    case DNS_ANSWER_FOUND: break;
    case DNS_ANSWER_EMPTY: ask->status = ARES_ENODATA; break;
    case DNS_ANSWER_MEMORY: ask->status = ARES_ENOMEM; break;
    default: ask->status = ARES_EBADRESP;
    }
  }
  if (--q->waiting == 0) go_onward(q);
}

static void ask_next(struct dns_query *q)
{
  const char *name = q->candidates[q->at];
  q->waiting = q->services ? 1 : 2;
  q->questions[0].type = q->services ? ns_t_srv : ns_t_a;
  q->questions[1].type = ns_t_aaaa;
  /* an answer may come before ares_query returns */
  unsigned n = q->waiting;
  for (unsigned i = 0; i < n; i++) {
    struct question *ask = &q->questions[i];
    ask->query = q;
    ask->status = ARES_SUCCESS;
    ares_query(q->channel, name, ns_c_in, ask->type, on_answer, ask);
  }
  arm(q);
}

static bool is_absence(int status)
{
  return status == ARES_ENOTFOUND || status == ARES_ENODATA;
}

static bool has_found(const struct dns_query *q)
{
  return q->answer.addresses.len || q->answer.services.len;
}

/* All questions for a candidate have their answers. */
static void on_onward(struct loop_timer *timer)
{
  struct dns_query *q =
      (struct dns_query *)((char *)timer - offsetof(struct dns_query, onward));
  bool failed = false;
  if (q->at == q->ncandidates) { /* the hosts file, or an address, had it */
    finish(q, ARES_SUCCESS);
    return;
  }
  for (unsigned i = 0; i < (q->services ? 1 : 2); i++) {
    int status = q->questions[i].status;
    q->no_data = q->no_data || status == ARES_ENODATA;
    if (status == ARES_SUCCESS || is_absence(status)) continue;
    failed = true;
    q->failure = status;
  }
  if (has_found(q)) {
    q->answer.partial = failed;
    finish(q, ARES_SUCCESS);
  } else if (++q->at < q->ncandidates) {
    ask_next(q);
  } else {
    /* nobody knows it, only if nobody failed to say so */
    finish(q, q->failure   ? q->failure
              : q->no_data ? ARES_ENODATA
                           : ARES_ENOTFOUND);
  }
}

/* ---- names ---- */

static bool is_of_name(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* c-ares would take a backslash for an escape, and other bytes as they are. */
static int check_name(const char *name, size_t len, struct err *e)
{
  size_t label = 0;
  size_t n = len && name[len - 1] == '.' ? len - 1 : len;
  if (!n) return err_set(e, "usage", "dns: the name is empty");
  if (n > MAX_TEXT)
    return err_set(e, "usage", "dns: the name is longer than %d bytes",
                   MAX_TEXT);
  for (size_t i = 0; i <= n; i++) {
    if (i < n && name[i] != '.') {
      if (!is_of_name(name[i]))
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

static int add_candidate(struct dns_query *q, const char *domain)
{
  char *text;
  size_t room = strlen(q->name) + (domain ? strlen(domain) : 0) + 2;
  if (q->ncandidates == MAX_CANDIDATES || room > DNS_MAX_NAME) return 0;
  if (asprintf(&text, "%s%s%s", q->name, domain ? "." : "",
               domain ? domain : "") < 0)
    return -1;
  q->candidates[q->ncandidates++] = text;
  return 0;
}

/* As resolv.conf(5) has it: a name with few dots is tried in the search domains
 * first, others last, and one with a dot at its end in none. */
static int find_candidates(struct dns_query *q)
{
  struct ares_options options;
  memset(&options, 0, sizeof(options));
  int mask = 0, dots = 0, rc = 0;
  size_t len = strlen(q->name);
  if (q->name[len - 1] == '.') return add_candidate(q, NULL);
  if (ares_save_options(q->channel, &options, &mask) != ARES_SUCCESS) return -1;
  for (const char *c = q->name; *c; c++) dots += *c == '.';
  bool first = dots >= options.ndots;
  if (first) rc = add_candidate(q, NULL);
  for (int i = 0; rc == 0 && i < options.ndomains; i++)
    if (strcmp(options.domains[i], "."))
      rc = add_candidate(q, options.domains[i]);
  if (rc == 0 && !first) rc = add_candidate(q, NULL);
  ares_destroy_options(&options);
  return rc;
}

/* ---- what needs no server ---- */

static void on_hosts(void *arg, int status, int timeouts,
                     struct ares_addrinfo *found)
{
  struct dns_query *q = arg;
  (void)timeouts;
  if (status != ARES_SUCCESS) return;
  for (struct ares_addrinfo_node *n = found->nodes; n; n = n->ai_next) {
    const void *from =
        n->ai_family == AF_INET
            ? (const void *)&((struct sockaddr_in *)(void *)n->ai_addr)
                  ->sin_addr
            : &((struct sockaddr_in6 *)(void *)n->ai_addr)->sin6_addr;
    dns_answer_add(&q->answer, n->ai_family, from, 0, 0);
  }
  ares_freeaddrinfo(found);
}

/* The family of an address as it is written, or 0. */
static int family_of(const struct dns_request *req, struct in6_addr *to)
{
  if (req->services || strlen(req->name) != req->name_len) return 0;
  if (inet_pton(AF_INET, req->name, to) == 1) return AF_INET;
  return inet_pton(AF_INET6, req->name, to) == 1 ? AF_INET6 : 0;
}

/* The channel's lookups are set to files alone, which answers at once. */
static void look_in_files(struct dns_query *q, const struct dns_request *req)
{
  struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC,
                                      .ai_flags = ARES_AI_NOSORT};
  struct in6_addr address;
  int family = family_of(req, &address);
  if (family)
    dns_answer_add(&q->answer, family, &address, 0, 0);
  else if (!q->services)
    ares_getaddrinfo(q->channel, q->name, NULL, &hints, on_hosts, q);
}

/* ---- starting ---- */

/* "10.0.0.2:53", "[fd00::2]:53", or without a port */
static int parse_server(const char *text, struct ares_addr_port_node *to,
                        struct err *e)
{
  char host[DNS_MAX_ADDRESS + 2];
  const char *colon = strrchr(text, ':'), *close = strchr(text, ']');
  bool has_port =
      colon && (close ? colon == close + 1 : strchr(text, ':') == colon);
  size_t len = has_port ? (size_t)(colon - text) : strlen(text);
  char *rest = NULL;
  long port = has_port ? strtol(colon + 1, &rest, 10) : PORT;
  const char *from = text;
  if (*text == '[' && len > 1 && text[len - 1] == ']') {
    from++;
    len -= 2;
  }
  if (len >= sizeof(host)) len = 0;
  memcpy(host, from, len);
  host[len] = '\0';
  to->family = strchr(host, ':') ? AF_INET6 : AF_INET;
  if (inet_pton(to->family, host, &to->addr) != 1 || port < 1 || port > 65535 ||
      (rest && (*rest || rest == colon + 1)))
    return err_set(e, "usage",
                   "dns: '%.80s' is no address of a name server, such as "
                   "10.0.0.2 or 10.0.0.2:53",
                   text);
  to->udp_port = to->tcp_port = (int)port;
  return 0;
}

static int set_servers(struct dns_query *q, const char *const *servers,
                       struct err *e)
{
  struct ares_addr_port_node nodes[MAX_SERVERS];
  size_t n = 0;
  memset(nodes, 0, sizeof(nodes));
  for (; servers[n]; n++) {
    if (n == MAX_SERVERS)
      return err_set(e, "usage", "dns: more than %d name servers", MAX_SERVERS);
    if (parse_server(servers[n], &nodes[n], e) < 0) return -1;
    if (n) nodes[n - 1].next = &nodes[n];
  }
  if (!n) return err_set(e, "usage", "dns: no name server is given");
  if (ares_set_servers_ports(q->channel, nodes) != ARES_SUCCESS)
    return err_set(e, "memory", "out of memory for a name server");
  return 0;
}

static int open_channel(struct dns_query *q, const struct dns_request *req,
                        uint64_t timeout_ms, struct err *e)
{
  char lookups[] = "f"; /* see look_in_files */
  unsigned tries = req->tries ? req->tries : DEFAULT_TRIES;
  if (tries > MAX_TRIES) tries = MAX_TRIES;
  /* each try takes twice as long as the one before */
  uint64_t first = timeout_ms / ((1u << tries) - 1);
  if (first < MIN_TRY_MS) first = MIN_TRY_MS;
  struct ares_options options = {
      .timeout = (int)first,
      .tries = (int)tries,
      .lookups = lookups,
      .sock_state_cb = on_sock_state,
      .sock_state_cb_data = q,
  };
  int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
             ARES_OPT_SOCK_STATE_CB;
  int rc = ares_init_options(&q->channel, &options, mask);
  if (rc != ARES_SUCCESS) {
    q->channel = NULL;
    return err_set(e, "dns", "the name service cannot start: %s",
                   ares_strerror(rc));
  }
  ares_set_socket_functions(q->channel, &socket_functions, q);
  return req->servers ? set_servers(q, req->servers, e) : 0;
}

/* [main] Initialises c-ares, once in a process. */
static int init_once(struct err *e)
{
  static bool done;
  if (!done && ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
    return err_set(e, "dns", "the name service cannot start");
  done = true;
  return 0;
}

static int start(struct dns_query *q, const struct dns_request *req,
                 struct err *e)
{
  uint64_t ms = req->timeout_ms ? req->timeout_ms : DEFAULT_TIMEOUT_MS;
  if (open_channel(q, req, ms, e) < 0) return -1;
  look_in_files(q, req);
  if (!has_found(q) && find_candidates(q) < 0) goto memory;
  q->due.on_expire = on_due;
  q->end.on_expire = on_end;
  q->onward.on_expire = on_onward;
  /* were there no memory for one of the others later, it would end by this */
  if (loop_timer_set(q->loop, &q->end, ms * LOOP_MS) < 0) goto memory;
  if (has_found(q))
    go_onward(q);
  else
    ask_next(q);
  return 0;
memory:
  return err_set(e, "memory", "out of memory for a question to a name server");
}

struct dns_query *dns_start(struct loop *loop, const struct dns_request *req,
                            dns_done *done, void *arg, struct err *e)
{
  if (init_once(e) < 0) return NULL;
  struct in6_addr ignored;
  if (!family_of(req, &ignored) && check_name(req->name, req->name_len, e) < 0)
    return NULL;
  struct dns_query *q = calloc(1, sizeof(*q));
  if (!q) {
    err_set(e, "memory", "out of memory for a question to a name server");
    return NULL;
  }
  q->loop = loop;
  q->services = req->services;
  q->done = done;
  q->arg = arg;
  memcpy(q->name, req->name, req->name_len);
  q->shown = (int)req->name_len - (req->name[req->name_len - 1] == '.');
  buf_init(&q->answer.addresses, SIZE_MAX);
  buf_init(&q->answer.services, SIZE_MAX);
  if (start(q, req, e) < 0) {
    free_query(q);
    return NULL;
  }
  return q;
}

void dns_cancel(struct dns_query *q)
{
  free_query(q);
}
