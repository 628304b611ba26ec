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
  LENGTH = 2, /* bytes before a message over TCP, which say its length */
  MAX_QUESTION = NS_HFIXEDSZ + NS_MAXCDNAME + NS_QFIXEDSZ,
  FLAGS = 2, /* places in a message */
  CODE = 3,
  COUNT = 4,        /* of questions */
  IS_ANSWER = 0x80, /* of the flags */
  IS_CUT = 0x02,
  WANTS_RECURSION = 0x01,
  CODE_BITS = 0x0f,
};

/* The way to one server; its socket stays for answers that come late. */
struct way {
  struct loop_io io; /* fd is -1 while there is none */
  struct dns_question *question;
  bool watched, tcp, given_up;
  size_t sent; /* TCP: of the length and the question */
  struct buf in;
};

struct dns_question {
  struct loop *loop;
  const struct dns_plan *plan;
  size_t nways;
  struct loop_timer due;
  unsigned turn;  /* tries begun, over all servers */
  int code;       /* the last with which a server said no, or 0 */
  int errnum;     /* the last of a socket, or 0 */
  bool timed_out; /* some try ended without a word */
  dns_question_done *done;
  void *arg;
  size_t len; /* of the question, after its length */
  unsigned char bytes[LENGTH + MAX_QUESTION];
  struct way ways[];
};

/* ---- ending ---- */

static void close_way(struct way *w)
{
  if (w->watched) loop_io_remove(w->question->loop, &w->io);
  if (w->io.fd >= 0) close(w->io.fd);
  w->watched = false;
  w->io.fd = -1;
  buf_free(&w->in);
}

void dns_question_cancel(struct dns_question *q)
{
  loop_timer_clear(q->loop, &q->due);
  for (size_t i = 0; i < q->nways; i++) close_way(&q->ways[i]);
  free(q);
}

static void finish(struct dns_question *q, const unsigned char *answer,
                   size_t len, const struct dns_failure *failure)
{
  loop_timer_clear(q->loop, &q->due);
  q->done(q->arg, answer, len, failure);
  dns_question_cancel(q);
}

/* No server is left. One that said something weighs more than silence. */
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

/* ---- asking ---- */

static void on_ready(struct loop_io *io, uint32_t events);

/* Opens a socket and connects it: the kernel then drops what comes from
 * elsewhere, and tells when nothing listens there. */
static int open_way(struct way *w, bool tcp)
{
  struct dns_question *q = w->question;
  const struct dns_server *server = &q->plan->config->servers[w - q->ways];
  struct err ignored;
  int kind = tcp ? SOCK_STREAM : SOCK_DGRAM;
  close_way(w);
  w->tcp = tcp;
  w->sent = 0;
  w->io.fd =
      socket(server->at.any.sa_family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (w->io.fd < 0) return -1;
  if (connect(w->io.fd, &server->at.any, server->len) < 0 &&
      errno != EINPROGRESS)
    return -1;
  if (loop_io_add(q->loop, &w->io, tcp ? EPOLLOUT : EPOLLIN, &ignored) < 0) {
    errno = ENOMEM;
    return -1;
  }
  w->watched = true;
  return 0;
}

static int ask(struct way *w)
{
  const struct dns_question *q = w->question;
  bool tcp = q->plan->config->tcp;
  if (w->io.fd < 0 && open_way(w, tcp) < 0) return -1;
  if (w->tcp) return 0; /* by TCP once is enough */
  return send(w->io.fd, q->bytes + LENGTH, q->len, 0) < 0 && errno != EAGAIN
             ? -1
             : 0;
}

static void give_up(struct way *w, int errnum)
{
  if (errnum) w->question->errnum = errnum;
  w->given_up = true;
  close_way(w);
}

static void wait_for_answer(struct dns_question *q)
{
  unsigned round = (q->turn - 1) / (unsigned)q->nways;
  loop_timer_set(q->loop, &q->due, (q->plan->first_ms << round) * LOOP_MS);
}

static void ask_next(struct dns_question *q)
{
  while (q->turn < q->nways * q->plan->tries) {
    struct way *w = &q->ways[q->turn++ % q->nways];
    if (w->given_up) continue;
    if (ask(w) == 0) {
      wait_for_answer(q);
      return;
    }
    give_up(w, errno);
  }
  fail(q);
}

static bool is_current(const struct way *w)
{
  const struct dns_question *q = w->question;
  return (size_t)(w - q->ways) == (q->turn - 1) % q->nways;
}

/* The next one only in place of the one that is being waited for. */
static void go_on_without(struct way *w, int errnum)
{
  bool current = is_current(w);
  give_up(w, errnum);
  if (current) ask_next(w->question);
}

static void on_due(struct loop_timer *timer)
{
  struct dns_question *q = CONTAINER_OF(timer, struct dns_question, due);
  if (q->turn) q->timed_out = true; /* else it has just begun */
  ask_next(q);
}

/* ---- answers ---- */

/* Whether the message answers this very question. An answer that is an error
 * may leave the question out. */
static bool is_answer(const struct dns_question *q, const unsigned char *bytes,
                      size_t len)
{
  const unsigned char *asked = q->bytes + LENGTH;
  if (len < NS_HFIXEDSZ || memcmp(bytes, asked, NS_INT16SZ) ||
      !(bytes[FLAGS] & IS_ANSWER))
    return false;
  unsigned count = ns_get16(bytes + COUNT);
  if (!count && bytes[CODE] & CODE_BITS) return true;
  if (count != 1 || len < q->len) return false;
  /* lengths and types are no letters, so only the name loses its case */
  for (size_t i = NS_HFIXEDSZ; i < q->len; i++)
    if (tolower(bytes[i]) != tolower(asked[i])) return false;
  return true;
}

/* False when the message is none of ours; else the question may be over. */
static bool take(struct way *w, const unsigned char *bytes, size_t len)
{
  struct dns_question *q = w->question;
  if (!is_answer(q, bytes, len)) return false;
  int code = bytes[CODE] & CODE_BITS;
  if (bytes[FLAGS] & IS_CUT && !w->tcp) {
    bool current = is_current(w);
    if (open_way(w, true) < 0)
      go_on_without(w, errno);
    else if (current)
      wait_for_answer(q);
  } else if (code == ns_r_noerror || code == ns_r_nxdomain) {
    finish(q, bytes, len, NULL);
  } else {
    q->code = code;
    go_on_without(w, 0);
  }
  return true;
}

static void read_datagram(struct way *w)
{
  unsigned char bytes[NS_MAXMSG];
  ssize_t n = recv(w->io.fd, bytes, sizeof(bytes), 0);
  if (n >= 0)
    take(w, bytes, (size_t)n);
  else if (errno != EAGAIN && errno != EINTR)
    go_on_without(w, errno);
}

/* 1 when a whole message is there, 0 when there is more to come, or -1. */
static int read_some(struct way *w)
{
  for (;;) {
    size_t want = LENGTH;
    if (w->in.len >= LENGTH) want += ns_get16(w->in.data);
    if (w->in.len >= LENGTH && w->in.len == want) return 1;
    uint8_t *to = buf_room(&w->in, want - w->in.len);
    if (!to) return -1;
    ssize_t n = recv(w->io.fd, to, want - w->in.len, 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (n == 0) {
      errno = ECONNRESET;
      return -1;
    }
    w->in.len += (size_t)n;
  }
}

/* As read_some, of the question: 1 when all of it is sent. */
static int write_some(struct way *w)
{
  const struct dns_question *q = w->question;
  size_t all = LENGTH + q->len;
  ssize_t n = send(w->io.fd, q->bytes + w->sent, all - w->sent, MSG_NOSIGNAL);
  if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  w->sent += (size_t)n;
  return w->sent == all;
}

static void on_stream(struct way *w)
{
  struct dns_question *q = w->question;
  struct err ignored;
  if (w->sent < LENGTH + q->len) {
    int rc = write_some(w);
    if (rc < 0)
      go_on_without(w, errno);
    else if (rc && loop_io_set(q->loop, &w->io, EPOLLIN, &ignored) < 0)
      go_on_without(w, ENOMEM);
    return;
  }
  int rc = read_some(w);
  if (rc < 0)
    go_on_without(w, errno);
  else if (rc && !take(w, w->in.data + LENGTH, w->in.len - LENGTH))
    go_on_without(w, EBADMSG);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
  struct way *w = CONTAINER_OF(io, struct way, io);
  (void)events; /* an error comes with the next call */
  if (w->tcp)
    on_stream(w);
  else
    read_datagram(w);
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
                                        const struct dns_plan *plan,
                                        const char *name, int type,
                                        dns_question_done *done, void *arg)
{
  size_t n = plan->config->nservers;
  struct dns_question *q = calloc(1, sizeof(*q) + n * sizeof(q->ways[0]));
  if (!q) return NULL;
  q->loop = loop;
  q->plan = plan;
  q->nways = n;
  q->done = done;
  q->arg = arg;
  q->due.on_expire = on_due;
  for (size_t i = 0; i < n; i++) {
    q->ways[i].question = q;
    q->ways[i].io.fd = -1;
    q->ways[i].io.on_ready = on_ready;
    buf_init(&q->ways[i].in, LENGTH + NS_MAXMSG);
  }
  /* from a fresh stack: `done` is never called before this returns */
  if (write_question(q, name, type) < 0 ||
      loop_timer_set(loop, &q->due, 0) < 0) {
    dns_question_cancel(q);
    return NULL;
  }
  return q;
}
