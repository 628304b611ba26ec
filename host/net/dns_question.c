/* SPDX-License-Identifier: MIT */
#include "net/dns_question.h"

#include "base/container.h"

#include <ctype.h>
#include <errno.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/nameser.h>
#include <sys/random.h>

enum {
  LENGTH = 2, /* bytes before a message over TCP, which hold its length */
  MAX_QUESTION = NS_HFIXEDSZ + NS_MAXCDNAME + NS_QFIXEDSZ,
  FLAGS = 2, /* offsets in a message */
  CODE = 3,
  COUNT = 4,          /* of questions */
  IS_RESPONSE = 0x80, /* of the flags */
  IS_TRUNCATED = 0x02,
  WANTS_RECURSION = 0x01,
  CODE_BITS = 0x0f,
};

/* The socket to one server; it stays open for responses that come late. */
struct channel {
  struct loop_io io; /* fd is -1 while there is none */
  struct dns_question *question;
  bool watched, tcp, failed;
  bool sent; /* by TCP */
  struct buf in;
};

struct dns_question {
  struct loop *loop;
  const struct dns_config *config; /* until `done` is called */
  size_t nchannels;
  struct loop_timer due;
  unsigned turn;  /* tries begun, over all servers */
  int code;       /* the last error code in a response, or 0 */
  int errnum;     /* the last of a socket, or 0 */
  bool timed_out; /* some try ended without a response */
  dns_question_done *done;
  void *arg;
  size_t len; /* of the question, after its length */
  unsigned char bytes[LENGTH + MAX_QUESTION];
  struct channel channels[]; /* one per server */
};

/* ---- ending ---- */

static void close_channel(struct channel *c)
{
  if (c->watched) loop_io_remove(c->question->loop, &c->io);
  if (c->io.fd >= 0) close(c->io.fd);
  c->watched = false;
  c->io.fd = -1;
  buf_free(&c->in);
}

void dns_question_cancel(struct dns_question *q)
{
  loop_timer_clear(q->loop, &q->due);
  for (size_t i = 0; i < q->nchannels; i++) close_channel(&q->channels[i]);
  free(q);
}

static void finish(struct dns_question *q, const unsigned char *answer,
                   size_t len, const struct dns_failure *failure)
{
  loop_timer_clear(q->loop, &q->due);
  q->done(q->arg, answer, len, failure);
  dns_question_cancel(q);
}

/* No server is left. An error code weighs more than silence. */
static void fail(struct dns_question *q)
{
  static const char *const names[] = {[ns_r_formerr] = "FORMERR",
                                      [ns_r_servfail] = "SERVFAIL",
                                      [ns_r_notimpl] = "NOTIMP"};
  struct dns_failure f = {.reason = DNS_UNREACHABLE};
  if (q->code == ns_r_refused) {
    f.reason = DNS_REFUSED;
  } else if (q->code) {
    f.reason = DNS_FAILED;
    if (q->code <= ns_r_notimpl)
      snprintf(f.detail, sizeof(f.detail), "%s", names[q->code]);
    else
      snprintf(f.detail, sizeof(f.detail), "code %d", q->code);
  } else if (q->timed_out) {
    f.reason = DNS_TIMEOUT;
  } else {
    struct err e;
    err_errno(&e, "dns", q->errnum, "%s", "");
    snprintf(f.detail, sizeof(f.detail), "%.60s", e.text + strlen(": "));
  }
  finish(q, NULL, 0, &f);
}

/* ---- sending ---- */

static void on_ready(struct loop_io *io, uint32_t events);

/* Opens a socket and connects it: the kernel then drops datagrams from
 * elsewhere, and reports when nothing listens there. */
static int open_channel(struct channel *c, bool tcp)
{
  struct dns_question *q = c->question;
  const struct dns_server *server = &q->config->servers[c - q->channels];
  struct err ignored;
  int kind = tcp ? SOCK_STREAM : SOCK_DGRAM;
  close_channel(c);
  c->tcp = tcp;
  c->sent = false;
  c->io.fd =
      socket(server->at.any.sa_family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->io.fd < 0) return -1;
  if (connect(c->io.fd, &server->at.any, server->len) < 0 &&
      errno != EINPROGRESS)
    return -1;
  if (loop_io_add(q->loop, &c->io, tcp ? EPOLLOUT : EPOLLIN, &ignored) < 0) {
    errno = ENOMEM;
    return -1;
  }
  c->watched = true;
  return 0;
}

static int send_query(struct channel *c)
{
  const struct dns_question *q = c->question;
  if (c->io.fd < 0 && open_channel(c, q->config->tcp) < 0) return -1;
  if (c->tcp) return 0; /* once is enough */
  return send(c->io.fd, q->bytes + LENGTH, q->len, 0) < 0 && errno != EAGAIN
             ? -1
             : 0;
}

static void wait_for_response(struct dns_question *q)
{
  unsigned round = (q->turn - 1) / (unsigned)q->nchannels;
  uint64_t ms = q->config->first_try_ms << round;
  loop_timer_set(q->loop, &q->due, ms * LOOP_MS);
}

/* Gives up a server, for a socket's error unless that is 0. */
static void give_up(struct channel *c, int errnum)
{
  if (errnum) c->question->errnum = errnum;
  c->failed = true;
  close_channel(c);
}

/* Tries the next server; the question may be over. */
static void query_next(struct dns_question *q)
{
  while (q->turn < q->nchannels * q->config->tries) {
    struct channel *c = &q->channels[q->turn++ % q->nchannels];
    if (c->failed) continue;
    if (send_query(c) == 0) {
      wait_for_response(q);
      return;
    }
    give_up(c, errno);
  }
  fail(q);
}

static bool is_current(const struct channel *c)
{
  const struct dns_question *q = c->question;
  return (size_t)(c - q->channels) == (q->turn - 1) % q->nchannels;
}

/* Gives up a server; if it is the one being waited for, tries the next. */
static void skip(struct channel *c, int errnum)
{
  bool current = is_current(c);
  give_up(c, errnum);
  if (current) query_next(c->question);
}

static void on_due(struct loop_timer *timer)
{
  struct dns_question *q = CONTAINER_OF(timer, struct dns_question, due);
  if (q->turn) q->timed_out = true; /* else it has just begun */
  query_next(q);
}

/* ---- receiving ---- */

/* Does the message answer this very question? One with an error code may leave
 * the question out. */
static bool is_response(const struct dns_question *q,
                        const unsigned char *bytes, size_t len)
{
  const unsigned char *asked = q->bytes + LENGTH;
  if (len < NS_HFIXEDSZ || memcmp(bytes, asked, NS_INT16SZ) ||
      !(bytes[FLAGS] & IS_RESPONSE))
    return false;
  unsigned count = ns_get16(bytes + COUNT);
  if (!count && bytes[CODE] & CODE_BITS) return true;
  if (count != 1 || len < q->len) return false;
  /* lengths and types are no letters, so only the name loses its case */
  for (size_t i = NS_HFIXEDSZ; i < q->len; i++)
    if (tolower(bytes[i]) != tolower(asked[i])) return false;
  return true;
}

/* False when the message is no response to the question; else the question may
 * be over. */
static bool take(struct channel *c, const unsigned char *bytes, size_t len)
{
  struct dns_question *q = c->question;
  if (!is_response(q, bytes, len)) return false;
  int code = bytes[CODE] & CODE_BITS;
  if (bytes[FLAGS] & IS_TRUNCATED && !c->tcp) {
    bool current = is_current(c);
    if (open_channel(c, true) < 0)
      skip(c, errno);
    else if (current)
      wait_for_response(q);
  } else if (code == ns_r_noerror || code == ns_r_nxdomain) {
    finish(q, bytes, len, NULL);
  } else {
    q->code = code;
    skip(c, 0);
  }
  return true;
}

static void on_datagram(struct channel *c)
{
  unsigned char bytes[NS_MAXMSG];
  ssize_t n = recv(c->io.fd, bytes, sizeof(bytes), 0);
  if (n >= 0)
    take(c, bytes, (size_t)n);
  else if (errno != EAGAIN && errno != EINTR)
    skip(c, errno);
}

/* The connection stands: an empty socket takes a whole question at once. */
static void send_by_tcp(struct channel *c)
{
  const struct dns_question *q = c->question;
  struct err ignored;
  size_t all = LENGTH + q->len;
  ssize_t n = send(c->io.fd, q->bytes, all, MSG_NOSIGNAL);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  c->sent = n == (ssize_t)all;
  if (!c->sent)
    skip(c, n < 0 ? errno : EMSGSIZE);
  else if (loop_io_set(q->loop, &c->io, EPOLLIN, &ignored) < 0)
    skip(c, ENOMEM);
}

/* Reads up to the end of a message: 1 when it is whole, 0 when there is more to
 * come, or -1. */
static int read_some(struct channel *c)
{
  for (;;) {
    size_t want = LENGTH;
    if (c->in.len >= LENGTH) want += ns_get16(c->in.data);
    if (c->in.len >= LENGTH && c->in.len == want) return 1;
    uint8_t *to = buf_room(&c->in, want - c->in.len);
    if (!to) return -1;
    ssize_t n = recv(c->io.fd, to, want - c->in.len, 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (n == 0) {
      errno = ECONNRESET;
      return -1;
    }
    c->in.len += (size_t)n;
  }
}

static void on_ready(struct loop_io *io, uint32_t events)
{
  struct channel *c = CONTAINER_OF(io, struct channel, io);
  (void)events; /* the next call returns the error */
  if (!c->tcp) {
    on_datagram(c);
  } else if (!c->sent) {
    send_by_tcp(c);
  } else {
    int rc = read_some(c);
    if (rc < 0)
      skip(c, errno);
    else if (rc && !take(c, c->in.data + LENGTH, c->in.len - LENGTH))
      skip(c, EBADMSG);
  }
}

/* ---- starting ---- */

/* 0, or -1 for a name that does not fit. */
static int write_question(struct dns_question *q, const char *name, int type)
{
  unsigned char *message = q->bytes + LENGTH, *at = message + NS_HFIXEDSZ;
  if (getrandom(message, NS_INT16SZ, 0) != NS_INT16SZ) return -1;
  message[FLAGS] = WANTS_RECURSION;
  ns_put16(1, message + COUNT);
  int n = dn_comp(name, at, NS_MAXCDNAME, NULL, NULL);
  if (n < 0) return -1;
  at += n;
  ns_put16((unsigned)type, at);
  ns_put16(ns_c_in, at + NS_INT16SZ);
  q->len = (size_t)(at + NS_QFIXEDSZ - message);
  ns_put16((unsigned)q->len, q->bytes);
  return 0;
}

struct dns_question *dns_question_start(struct loop *loop,
                                        const struct dns_config *config,
                                        const char *name, int type,
                                        dns_question_done *done, void *arg)
{
  size_t n = config->nservers;
  struct dns_question *q = calloc(1, sizeof(*q) + n * sizeof(q->channels[0]));
  if (!q) return NULL;
  q->loop = loop;
  q->config = config;
  q->nchannels = n;
  q->done = done;
  q->arg = arg;
  q->due.on_expire = on_due;
  for (size_t i = 0; i < n; i++) {
    struct channel *c = &q->channels[i];
    c->question = q;
    c->io.fd = -1;
    c->io.on_ready = on_ready;
    buf_init(&c->in, LENGTH + NS_MAXMSG);
  }
  /* from a fresh stack: `done` is never called before this returns */
  if (write_question(q, name, type) < 0 ||
      loop_timer_set(loop, &q->due, 0) < 0) {
    dns_question_cancel(q);
    return NULL;
  }
  return q;
}
