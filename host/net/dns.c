/* SPDX-License-Identifier: MIT */
#include "net/dns.h"

#include "base/container.h"
#include "net/dns_answer.h"
#include "net/dns_question.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>

enum {
  DEFAULT_TIMEOUT_MS = 10000,
  DEFAULT_TRIES = 3,
  MIN_TRY_MS = 100,
  MAX_TRIES = 10,
};

/* One of the questions for a candidate. */
struct ask {
  struct dns_query *query;
  struct dns_question *question; /* while it runs */
  int type;                      /* ns_t_a, ns_t_aaaa, ns_t_srv */
  bool found;
  struct dns_failure failure; /* unless found */
};

struct dns_query {
  struct loop *loop;
  struct dns_config config;
  struct dns_plan plan;
  struct loop_timer end;    /* of all */
  struct loop_timer onward; /* there is something to do, from a fresh stack */
  struct ask asks[2];
  size_t nasks;
  size_t waiting; /* questions without an answer */
  bool services;
  size_t at;                  /* which candidate */
  bool no_data, failed;       /* of some candidate */
  struct dns_failure failure; /* the last, when failed */
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

static void say(const struct dns_query *q, const struct dns_failure *f,
                struct err *e)
{
  const char *text = "there is no such name";
  const char *colon = *f->detail ? ": " : "";
  switch (f->reason) {
  case DNS_NO_NAME: break;
  case DNS_NO_DATA:
    text =
        q->services ? "the name has no services" : "the name has no addresses";
    break;
  case DNS_REFUSED: text = "the name server refuses to answer"; break;
  case DNS_UNREACHABLE: text = "the name server cannot be reached"; break;
  case DNS_TIMEOUT: text = "the name server does not answer in time"; break;
  case DNS_FAILED: text = "the name server failed"; break;
  case DNS_OTHER:
    err_set(e, "memory", "out of memory for a question to a name server");
    return;
  }
  err_set(e, "dns", "%.*s: %s%s%s", q->shown, q->name, text, colon, f->detail);
}

/* ---- ending ---- */

static void free_query(struct dns_query *q)
{
  loop_timer_clear(q->loop, &q->end);
  loop_timer_clear(q->loop, &q->onward);
  for (size_t i = 0; i < q->nasks; i++)
    if (q->asks[i].question) dns_question_cancel(q->asks[i].question);
  buf_free(&q->answer.addresses);
  buf_free(&q->answer.services);
  free(q);
}

/* With the answer, or a failure. */
static void finish(struct dns_query *q, const struct dns_failure *failure)
{
  struct err e;
  if (failure) {
    say(q, failure, &e);
    q->done(q->arg, NULL, failure->reason, &e);
  } else {
    q->done(q->arg, &q->answer, DNS_OTHER, NULL);
  }
  free_query(q);
}

static void on_end(struct loop_timer *timer)
{
  static const struct dns_failure timeout = {.reason = DNS_TIMEOUT};
  finish(CONTAINER_OF(timer, struct dns_query, end), &timeout);
}

/* ---- questions ---- */

/* Goes on from a fresh stack, where questions and queries may end. */
static void settle(struct dns_query *q)
{
  if (--q->waiting == 0) loop_timer_set(q->loop, &q->onward, 0);
}

static void on_answer(void *arg, const unsigned char *bytes, size_t len,
                      const struct dns_failure *failure)
{
  struct ask *ask = arg;
  struct dns_query *q = ask->query;
  ask->question = NULL;
  ask->found = false;
  if (failure) {
    ask->failure = *failure;
    settle(q);
    return;
  }
  struct dns_failure *f = &ask->failure;
  *f = (struct dns_failure){.reason = DNS_NO_DATA};
  switch (dns_answer_read(bytes, len, ask->type, &q->answer)) {
  case DNS_ANSWER_FOUND: ask->found = true; break;
  case DNS_ANSWER_EMPTY: break;
  case DNS_ANSWER_NO_NAME: f->reason = DNS_NO_NAME; break;
  case DNS_ANSWER_MEMORY: f->reason = DNS_OTHER; break;
  case DNS_ANSWER_BAD:
    f->reason = DNS_FAILED;
    snprintf(f->detail, sizeof(f->detail), "its answer cannot be read");
    break;
  }
  settle(q);
}

static void ask_next(struct dns_query *q)
{
  const char *name = q->config.candidates[q->at];
  q->waiting = q->nasks;
  for (size_t i = 0; i < q->nasks; i++) {
    struct ask *ask = &q->asks[i];
    ask->question =
        dns_question_start(q->loop, &q->plan, name, ask->type, on_answer, ask);
    if (ask->question) continue;
    ask->found = false;
    ask->failure = (struct dns_failure){.reason = DNS_OTHER};
    settle(q);
  }
}

static bool is_absence(enum dns_reason reason)
{
  return reason == DNS_NO_NAME || reason == DNS_NO_DATA;
}

static bool has_found(const struct dns_query *q)
{
  return q->answer.addresses.len || q->answer.services.len;
}

/* All questions for a candidate have their answers. */
static void on_onward(struct loop_timer *timer)
{
  struct dns_query *q = CONTAINER_OF(timer, struct dns_query, onward);
  bool partial = false;
  for (size_t i = 0; i < q->nasks; i++) {
    const struct ask *ask = &q->asks[i];
    if (ask->found) continue;
    q->no_data = q->no_data || ask->failure.reason == DNS_NO_DATA;
    if (is_absence(ask->failure.reason)) continue;
    partial = q->failed = true;
    q->failure = ask->failure;
  }
  if (has_found(q)) {
    q->answer.partial = partial;
    finish(q, NULL);
  } else if (++q->at < q->config.ncandidates) {
    ask_next(q);
  } else {
    /* nobody knows it, only if nobody failed to say so */
    if (!q->failed)
      q->failure = (struct dns_failure){.reason = q->no_data ? DNS_NO_DATA
                                                             : DNS_NO_NAME};
    finish(q, &q->failure);
  }
}

/* ---- starting ---- */

/* The family of an address as it is written, or 0. */
static int family_of(const struct dns_request *req, struct in6_addr *to)
{
  if (req->services || strlen(req->name) != req->name_len) return 0;
  if (inet_pton(AF_INET, req->name, to) == 1) return AF_INET;
  return inet_pton(AF_INET6, req->name, to) == 1 ? AF_INET6 : 0;
}

/* Each try takes twice as long as the one before, and all of them together, of
 * all servers, not much longer than there is time. */
static void make_plan(struct dns_query *q, unsigned tries, uint64_t ms)
{
  if (!tries) tries = DEFAULT_TRIES;
  if (tries > MAX_TRIES) tries = MAX_TRIES;
  uint64_t first = ms / (((1u << tries) - 1) * q->config.nservers);
  q->plan = (struct dns_plan){
      .config = &q->config,
      .tries = tries,
      .first_ms = first > MIN_TRY_MS ? first : MIN_TRY_MS,
  };
}

static void make_asks(struct dns_query *q)
{
  q->nasks = q->services ? 1 : 2;
  q->asks[0].type = q->services ? ns_t_srv : ns_t_a;
  q->asks[1].type = ns_t_aaaa;
  for (size_t i = 0; i < q->nasks; i++) q->asks[i].query = q;
}

/* What needs no server: an address as it is written, and the hosts file. */
static bool is_known(struct dns_query *q, const struct dns_request *req)
{
  struct in6_addr address;
  int family = family_of(req, &address);
  if (family)
    dns_answer_add(&q->answer, family, &address, 0, 0);
  else if (!q->services)
    dns_config_hosts(q->name, &q->answer);
  return has_found(q);
}

static int start(struct dns_query *q, const struct dns_request *req,
                 struct err *e)
{
  uint64_t ms = req->timeout_ms ? req->timeout_ms : DEFAULT_TIMEOUT_MS;
  if (dns_config_read(&q->config, q->name, req->servers, e) < 0) return -1;
  q->end.on_expire = on_end;
  q->onward.on_expire = on_onward;
  bool known = is_known(q, req);
  /* were there no memory for another timer later, it would end by this */
  if (loop_timer_set(q->loop, &q->end, ms * LOOP_MS) < 0 ||
      (known && loop_timer_set(q->loop, &q->onward, 0) < 0))
    return err_set(e, "memory",
                   "out of memory for a question to a name server");
  if (known) return 0;
  make_plan(q, req->tries, ms);
  make_asks(q);
  ask_next(q);
  return 0;
}

struct dns_query *dns_start(struct loop *loop, const struct dns_request *req,
                            dns_done *done, void *arg, struct err *e)
{
  struct in6_addr ignored;
  if (!family_of(req, &ignored) &&
      dns_config_check_name(req->name, req->name_len, e) < 0)
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
