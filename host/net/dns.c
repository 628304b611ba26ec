/* SPDX-License-Identifier: MIT */
#include "net/dns.h"

#include "base/container.h"
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

/* A lookup of one record type. */
struct lookup {
  struct dns_query *query;
  struct dns_question *question; /* while it runs */
  int type;                      /* ns_t_a, ns_t_aaaa, ns_t_srv */
  struct dns_failure result;     /* of the last question; may be DNS_FOUND */
};

struct dns_query {
  struct loop *loop;
  struct dns_config config;
  struct loop_timer end; /* at once, when no server is needed */
  struct lookup lookups[2];
  size_t nlookups;
  size_t pending; /* questions without a result */
  bool services;
  size_t candidate;           /* the index of the name in question */
  bool no_data, failed;       /* for some candidate */
  struct dns_failure failure; /* the last, when failed */
  struct dns_answer answer;
  dns_done *done;
  void *arg;
  int shown; /* length of the name in messages: without a dot at its end */
  char name[DNS_MAX_NAME];
};

/* ---- reasons ---- */

static const struct {
  const char *word, *text;
} reasons[] = {
    [DNS_FOUND] = {"found", NULL},
    [DNS_NO_NAME] = {"no_name", "there is no such name"},
    [DNS_NO_DATA] = {"no_data", "the name has no addresses"},
    [DNS_FAILED] = {"failed", "the name server failed"},
    [DNS_REFUSED] = {"refused", "the name server refuses to answer"},
    [DNS_UNREACHABLE] = {"unreachable", "the name server cannot be reached"},
    [DNS_TIMEOUT] = {"timeout", "the name server does not answer in time"},
    [DNS_OTHER] = {"other", NULL},
};

const char *dns_reason_word(enum dns_reason reason)
{
  return reasons[reason].word;
}

static int out_of_memory(struct err *e)
{
  return err_set(e, "memory", "out of memory for a question to a name server");
}

static void describe(const struct dns_query *q, const struct dns_failure *f,
                     struct err *e)
{
  const char *text = reasons[f->reason].text;
  if (q->services && f->reason == DNS_NO_DATA)
    text = "the name has no services";
  if (text)
    err_set(e, "dns", "%.*s: %s%s%s", q->shown, q->name, text,
            *f->detail ? ": " : "", f->detail);
  else
    out_of_memory(e);
}

/* ---- ending ---- */

void dns_cancel(struct dns_query *q)
{
  loop_timer_clear(q->loop, &q->end);
  for (size_t i = 0; i < q->nlookups; i++)
    if (q->lookups[i].question) dns_question_cancel(q->lookups[i].question);
  buf_free(&q->answer.addresses);
  buf_free(&q->answer.services);
  free(q);
}

/* Calls back with the answer, or a failure, and frees the query. */
static void finish(struct dns_query *q, const struct dns_failure *failure)
{
  struct err e;
  if (failure) {
    describe(q, failure, &e);
    q->done(q->arg, NULL, failure->reason, &e);
  } else {
    q->done(q->arg, &q->answer, DNS_FOUND, NULL);
  }
  dns_cancel(q);
}

static void on_end(struct loop_timer *timer)
{
  static const struct dns_failure timeout = {.reason = DNS_TIMEOUT};
  struct dns_query *q = CONTAINER_OF(timer, struct dns_query, end);
  finish(q, q->nlookups ? &timeout : NULL);
}

/* ---- questions ---- */

static bool has_found(const struct dns_query *q)
{
  return q->answer.addresses.len || q->answer.services.len;
}

/* Notes what the questions for a candidate found. Is an answer known? */
static bool has_answer(struct dns_query *q)
{
  for (size_t i = 0; i < q->nlookups; i++) {
    const struct dns_failure *f = &q->lookups[i].result;
    if (f->reason == DNS_NO_DATA) q->no_data = true;
    if (f->reason <= DNS_NO_DATA) continue;
    q->answer.partial = q->failed = true;
    q->failure = *f;
  }
  return has_found(q);
}

static void on_answer(void *arg, const unsigned char *bytes, size_t len,
                      const struct dns_failure *failure);

/* Asks for the next candidates until questions are under way; false when there
 * are no more. */
static bool query_next(struct dns_query *q)
{
  for (; q->candidate < q->config.ncandidates && !q->pending; q->candidate++) {
    q->answer.partial = false;
    for (size_t i = 0; i < q->nlookups; i++) {
      struct lookup *l = &q->lookups[i];
      l->question = dns_question_start(q->loop, &q->config,
                                       q->config.candidates[q->candidate],
                                       l->type, on_answer, l);
      if (l->question) q->pending++;
      l->result = (struct dns_failure){.reason = DNS_OTHER};
    }
    if (!q->pending) has_answer(q);
  }
  return q->pending > 0;
}

static void on_answer(void *arg, const unsigned char *bytes, size_t len,
                      const struct dns_failure *failure)
{
  struct lookup *l = arg;
  struct dns_query *q = l->query;
  l->question = NULL;
  if (failure) {
    l->result = *failure;
  } else {
    l->result.reason = dns_answer_read(bytes, len, l->type, &q->answer);
    if (l->result.reason == DNS_FAILED)
      snprintf(l->result.detail, sizeof(l->result.detail),
               "its response is malformed");
  }
  if (--q->pending) return;
  if (has_answer(q)) {
    finish(q, NULL);
  } else if (!query_next(q)) {
    /* the name does not exist only if no server failed to tell */
    if (!q->failed) q->failure.reason = q->no_data ? DNS_NO_DATA : DNS_NO_NAME;
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
static void set_tries(struct dns_config *c, unsigned tries, uint64_t ms)
{
  if (!tries) tries = DEFAULT_TRIES;
  if (tries > MAX_TRIES) tries = MAX_TRIES;
  uint64_t first = ms / (((1u << tries) - 1) * c->nservers);
  c->tries = tries;
  c->first_try_ms = first > MIN_TRY_MS ? first : MIN_TRY_MS;
}

static int start(struct dns_query *q, const struct dns_request *req,
                 struct err *e)
{
  struct in6_addr address;
  uint64_t ms = req->timeout_ms ? req->timeout_ms : DEFAULT_TIMEOUT_MS;
  if (dns_config_read(&q->config, q->name, req->servers, e) < 0) return -1;
  q->end.on_expire = on_end;
  /* an address as it is written, and the hosts file, need no server */
  int family = family_of(req, &address);
  if (family)
    dns_answer_add(&q->answer, family, &address, 0, 0);
  else if (!q->services)
    dns_config_hosts(q->name, &q->answer);
  bool known = has_found(q);
  /* were there no memory for another timer later, it would end by this */
  if (loop_timer_set(q->loop, &q->end, known ? 0 : ms * LOOP_MS) < 0)
    return out_of_memory(e);
  if (known) return 0;
  set_tries(&q->config, req->tries, ms);
  q->nlookups = q->services ? 1 : 2;
  q->lookups[0].type = q->services ? ns_t_srv : ns_t_a;
  q->lookups[1].type = ns_t_aaaa;
  q->lookups[0].query = q->lookups[1].query = q;
  return query_next(q) ? 0 : out_of_memory(e);
}

struct dns_query *dns_start(struct loop *loop, const struct dns_request *req,
                            dns_done *done, void *arg, struct err *e)
{
  struct in6_addr ignored;
  if (!family_of(req, &ignored) &&
      dns_config_check_name(req->name, req->name_len, e) < 0)
    return NULL;
  struct dns_query *q =
      err_calloc(sizeof(*q), "a question to a name server", e);
  if (!q) return NULL;
  q->loop = loop;
  q->services = req->services;
  q->done = done;
  q->arg = arg;
  memcpy(q->name, req->name, req->name_len);
  q->shown = (int)req->name_len - (req->name[req->name_len - 1] == '.');
  buf_init(&q->answer.addresses, SIZE_MAX);
  buf_init(&q->answer.services, SIZE_MAX);
  if (start(q, req, e) == 0) return q;
  dns_cancel(q);
  return NULL;
}
