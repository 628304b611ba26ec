/* SPDX-License-Identifier: MIT */
#include "node/session.h"

#include "base/container.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

struct session_held {
  struct session_held *next;
  struct rpc_request *req;
  uint32_t pipe;
  int64_t seq;
  uint64_t until;
};

/* ---- the list, leases ---- */

static void on_lease(struct loop_timer *timer)
{
  struct session_list *l = CONTAINER_OF(timer, struct session_list, timer);
  uint64_t now = loop_clock(), soonest = UINT64_MAX;
  for (struct session *s = l->first, *next; s; s = next) {
    next = s->next;
    if (s->lease <= now) l->on_over(l, s);
  }
  /* only now: what ended may have had others lost, whose lease is 0 */
  for (const struct session *s = l->first; s; s = s->next)
    if (s->lease < soonest) soonest = s->lease;
  if (l->first)
    loop_timer_set(l->loop, &l->timer, soonest > now ? soonest - now : 0);
}

void session_list_init(struct session_list *l, struct loop *loop, int workers,
                       void (*on_over)(struct session_list *l,
                                       struct session *s))
{
  memset(l, 0, sizeof(*l));
  l->loop = loop;
  l->workers = workers;
  l->lease = PROTOCOL_LEASE * LOOP_S;
  l->hold = PROTOCOL_HOLD * LOOP_S;
  l->on_over = on_over;
  l->timer.on_expire = on_lease;
}

struct session *session_find(struct session_list *l, const uint8_t *key)
{
  for (struct session *s = l->first; s; s = s->next)
    if (!memcmp(s->key, key, PROTOCOL_SESSION_SIZE)) return s->lost ? NULL : s;
  return NULL;
}

struct session *session_numbered(struct session_list *l, int64_t number)
{
  for (struct session *s = l->first; s; s = s->next)
    if (s->number == number) return s->lost ? NULL : s;
  return NULL;
}

bool session_was(const struct session_list *l, const uint8_t *key)
{
  for (const struct session *s = l->first; s; s = s->next)
    if (s->lost && !memcmp(s->key, key, PROTOCOL_SESSION_SIZE)) return true;
  for (int i = 0; i < SESSION_MAX_OVER && i < l->over_count; i++)
    if (!memcmp(l->over[i], key, PROTOCOL_SESSION_SIZE)) return true;
  return false;
}

static void on_hold(struct loop_timer *timer);

struct session *session_new(struct session_list *l, const uint8_t *key)
{
  struct session *s = calloc(1, sizeof(*s));
  if (!s) return NULL;
  s->workers = calloc((size_t)l->workers, sizeof(*s->workers));
  if (!s->workers) {
    free(s);
    return NULL;
  }
  memcpy(s->key, key, PROTOCOL_SESSION_SIZE);
  s->list = l;
  s->number = ++l->last_number;
  s->blobs.workers = l->workers;
  outbox_init(&s->outbox);
  s->held_last = &s->held;
  s->hold.on_expire = on_hold;
  s->next = l->first;
  l->first = s;
  l->count++;
  session_renew(s);
  if (!l->timer.slot) loop_timer_set(l->loop, &l->timer, l->lease);
  return s;
}

void session_renew(struct session *s)
{
  s->lease = loop_clock() + s->list->lease;
}

/* ---- held requests ---- */

/* Takes out the request at `at`, which is then no more held. */
static struct rpc_request *take_held(struct session *s,
                                     struct session_held **at)
{
  struct session_held *h = *at;
  struct rpc_request *req = h->req;
  *at = h->next;
  if (s->held_last == &h->next) s->held_last = at;
  s->held_count--;
  free(h);
  if (!s->held) loop_timer_clear(s->list->loop, &s->hold);
  return req;
}

static void answer_empty(struct rpc_request *req)
{
  static const uint8_t none[] = {0x93, 0xa7, 'r', 'e', 'c',  'o',
                                 'r',  'd',  's', 0,   0xc4, 0};
  rpc_reply(req, none, sizeof(none));
}

static void on_hold(struct loop_timer *timer)
{
  struct session *s = CONTAINER_OF(timer, struct session, hold);
  uint64_t now = loop_clock();
  while (s->held && s->held->until <= now) answer_empty(take_held(s, &s->held));
  if (s->held) loop_timer_set(s->list->loop, &s->hold, s->held->until - now);
}

static void answer_held(struct session *s)
{
  while (s->held && outbox_waits(&s->outbox)) {
    struct outbox_reply reply = outbox_send(&s->outbox, loop_clock());
    if (!reply.data) { /* for a better moment */
      log_error("out of memory for a reply");
      return;
    }
    rpc_reply(take_held(s, &s->held), reply.data, reply.len);
  }
}

void session_answer(struct session *s, struct rpc_request *req)
{
  struct outbox_reply reply = outbox_send(&s->outbox, loop_clock());
  if (reply.data)
    rpc_reply(req, reply.data, reply.len);
  else
    answer_empty(req);
}

void session_hold(struct session *s, struct rpc_request *req, uint32_t pipe,
                  int64_t seq)
{
  struct loop *loop = s->list->loop;
  /* a driver that repeats a request no longer waits for the first answer: that
   * one must not get the records */
  for (struct session_held **at = &s->held; *at; at = &(*at)->next)
    if ((*at)->seq == seq) {
      rpc_drop(take_held(s, at));
      break;
    }
  struct session_held *h = malloc(sizeof(*h));
  if (!h) {
    rpc_drop(req);
    return;
  }
  *h =
      (struct session_held){NULL, req, pipe, seq, loop_clock() + s->list->hold};
  *s->held_last = h;
  s->held_last = &h->next;
  s->held_count++;
  if (outbox_overdue(&s->outbox, loop_clock())) outbox_rewind(&s->outbox);
  answer_held(s);
  if (s->held_count > SESSION_MAX_HELD) answer_empty(take_held(s, &s->held));
  if (s->held && !s->hold.slot) loop_timer_set(loop, &s->hold, s->list->hold);
}

void session_connect(struct session *s, uint32_t pipe)
{
  if (s->pipe == pipe) return;
  if (s->pipe) session_disconnect(s, s->pipe);
  s->pipe = pipe;
}

void session_disconnect(struct session *s, uint32_t pipe)
{
  if (s->pipe != pipe) return;
  while (s->held) rpc_drop(take_held(s, &s->held));
  outbox_rewind(&s->outbox);
  s->pipe = 0;
}

/* ---- its end ---- */

static void session_free(struct session *s)
{
  struct session_list *l = s->list;
  struct session **at = &l->first;
  while (*at != s) at = &(*at)->next;
  *at = s->next;
  l->count--;
  memcpy(l->over[l->over_count++ % SESSION_MAX_OVER], s->key, sizeof(s->key));
  if (!l->first) loop_timer_clear(l->loop, &l->timer);
  loop_timer_clear(l->loop, &s->hold);
  outbox_free(&s->outbox);
  partial_drop_all(&s->partials);
  blob_drop_all(&s->blobs);
  free(s->workers);
  free(s);
}

/* Who held requests learns of it by the next status: an answer would often
 * meet a connection that is being closed, and nng 1.5 leaks it then. */
void session_end(struct session *s)
{
  while (s->held) rpc_drop(take_held(s, &s->held));
  session_free(s);
}

void session_list_close(struct session_list *l)
{
  while (l->first) session_end(l->first);
}

/* ---- messages ---- */

enum session_seen session_seen(const struct session *s, int64_t seq)
{
  if (seq > s->last_seq) {
    int64_t skipped = seq - s->last_seq - 1;
    return skipped > SESSION_MAX_MISSING - s->missing_count ? SEEN_TOO_FAR
                                                            : SEEN_NOT;
  }
  for (int i = 0; i < s->missing_count; i++)
    if (s->missing[i] == seq) return SEEN_NOT;
  return SEEN_BEFORE;
}

void session_take(struct session *s, int64_t seq)
{
  if (seq > s->last_seq) {
    while (++s->last_seq < seq) s->missing[s->missing_count++] = s->last_seq;
    return;
  }
  for (int i = 0; i < s->missing_count; i++)
    if (s->missing[i] == seq) {
      s->missing[i] = s->missing[--s->missing_count];
      return;
    }
}

/* ---- records ---- */

void session_lose(struct session *s)
{
  if (s->lost) return;
  log_error("no room for what a driver is to be told, session ended",
            LOG_INT("bytes", s->outbox.bytes));
  s->lost = true;
  s->lease = 0;
  loop_timer_set(s->list->loop, &s->list->timer, 0);
}

void session_push(struct session *s, const void *data, size_t len)
{
  if (s->lost) return;
  if (s->outbox.bytes + len > SESSION_MAX_RECORDS ||
      outbox_add(&s->outbox, data, len) < 0)
    session_lose(s);
  else
    answer_held(s);
}
