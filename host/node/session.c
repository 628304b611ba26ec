/* SPDX-License-Identifier: MIT */
#include "node/session.h"

#include "base/container.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

struct session_poll {
  TAILQ_ENTRY(session_poll) link;
  struct rpc_request *req;
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
    if (s->lease <= now) l->on_expired(l, s);
  }
  /* only now: the end of one may have made others expire, whose lease is 0 */
  for (const struct session *s = l->first; s; s = s->next)
    if (s->lease < soonest) soonest = s->lease;
  if (l->first)
    loop_timer_set(l->loop, &l->timer, soonest > now ? soonest - now : 0);
}

void session_list_init(struct session_list *l, struct loop *loop, int workers,
                       void (*on_expired)(struct session_list *l,
                                          struct session *s))
{
  memset(l, 0, sizeof(*l));
  l->loop = loop;
  l->workers = workers;
  l->lease = PROTOCOL_LEASE * LOOP_S;
  l->poll_timeout = PROTOCOL_POLL_TIMEOUT * LOOP_S;
  l->on_expired = on_expired;
  l->timer.on_expire = on_lease;
}

struct session *session_find(struct session_list *l, const uint8_t *key)
{
  for (struct session *s = l->first; s; s = s->next)
    if (!memcmp(s->key, key, PROTOCOL_SESSION_SIZE))
      return s->expired ? NULL : s;
  return NULL;
}

struct session *session_numbered(struct session_list *l, int64_t number)
{
  for (struct session *s = l->first; s; s = s->next)
    if (s->number == number) return s->expired ? NULL : s;
  return NULL;
}

bool session_is_closed(const struct session_list *l, const uint8_t *key)
{
  for (const struct session *s = l->first; s; s = s->next)
    if (s->expired && !memcmp(s->key, key, PROTOCOL_SESSION_SIZE)) return true;
  for (int i = 0; i < SESSION_MAX_CLOSED && i < l->closed_count; i++)
    if (!memcmp(l->closed[i], key, PROTOCOL_SESSION_SIZE)) return true;
  return false;
}

static void on_poll_timeout(struct loop_timer *timer);

struct session *session_new(struct session_list *l, const uint8_t *key)
{
  size_t workers = (size_t)l->workers * sizeof(struct session_worker);
  struct session *s = calloc(1, sizeof(*s) + workers);
  if (!s) return NULL;
  memcpy(s->key, key, PROTOCOL_SESSION_SIZE);
  s->list = l;
  s->number = ++l->last_number;
  s->blobs.workers = l->workers;
  outbox_init(&s->outbox);
  TAILQ_INIT(&s->polls);
  s->poll_timer.on_expire = on_poll_timeout;
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

/* ---- polls ---- */

/* Frees the poll and returns its request. */
static struct rpc_request *take_poll(struct session *s, struct session_poll *p)
{
  struct rpc_request *req = p->req;
  TAILQ_REMOVE(&s->polls, p, link);
  s->poll_count--;
  free(p);
  if (TAILQ_EMPTY(&s->polls)) loop_timer_clear(s->list->loop, &s->poll_timer);
  return req;
}

static void drop_polls(struct session *s)
{
  while (!TAILQ_EMPTY(&s->polls))
    rpc_drop(take_poll(s, TAILQ_FIRST(&s->polls)));
}

void session_reply(struct session *s, struct rpc_request *req)
{
  static const uint8_t none[] = {0x93, 0xa6, 'e', 'v',  'e', 'n',
                                 't',  's',  0,   0xc4, 0};
  const struct buf *reply = outbox_send(&s->outbox, loop_clock());
  if (reply)
    rpc_reply(req, reply->data, reply->len);
  else
    rpc_reply(req, none, sizeof(none));
}

static void on_poll_timeout(struct loop_timer *timer)
{
  struct session *s = CONTAINER_OF(timer, struct session, poll_timer);
  uint64_t now = loop_clock();
  struct session_poll *p;
  while ((p = TAILQ_FIRST(&s->polls)) && p->until <= now)
    session_reply(s, take_poll(s, p));
  if (p) loop_timer_set(s->list->loop, timer, p->until - now);
}

static void reply_to_polls(struct session *s)
{
  while (!TAILQ_EMPTY(&s->polls) && outbox_waits(&s->outbox))
    session_reply(s, take_poll(s, TAILQ_FIRST(&s->polls)));
}

void session_poll(struct session *s, struct rpc_request *req, int64_t seq)
{
  uint64_t timeout = s->list->poll_timeout;
  struct session_poll *p;
  /* a driver that repeats a request no longer waits for the first reply: that
   * one must not get the events */
  TAILQ_FOREACH (p, &s->polls, link)
    if (p->seq == seq) break;
  if (p) rpc_drop(take_poll(s, p));
  p = malloc(sizeof(*p));
  if (!p) {
    rpc_drop(req);
    return;
  }
  *p = (struct session_poll){
      .req = req, .seq = seq, .until = loop_clock() + timeout};
  TAILQ_INSERT_TAIL(&s->polls, p, link);
  s->poll_count++;
  if (outbox_overdue(&s->outbox, loop_clock())) outbox_rewind(&s->outbox);
  reply_to_polls(s);
  if (s->poll_count > SESSION_MAX_POLLS)
    session_reply(s, take_poll(s, TAILQ_FIRST(&s->polls)));
  if (s->poll_count && !s->poll_timer.slot)
    loop_timer_set(s->list->loop, &s->poll_timer, timeout);
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
  drop_polls(s);
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
  memcpy(l->closed[l->closed_count++ % SESSION_MAX_CLOSED], s->key,
         sizeof(s->key));
  if (!l->first) loop_timer_clear(l->loop, &l->timer);
  loop_timer_clear(l->loop, &s->poll_timer);
  outbox_free(&s->outbox);
  partial_drop_all(&s->partials);
  blob_drop_all(&s->blobs);
  free(s);
}

/* A driver with pending polls learns of it by the next status: a reply would
 * often meet a connection that is being closed, and nng 1.5 leaks it then. */
void session_end(struct session *s)
{
  drop_polls(s);
  session_free(s);
}

void session_list_close(struct session_list *l)
{
  while (l->first) session_end(l->first);
}

/* ---- messages ---- */

enum session_receipt session_is_received(const struct session *s, int64_t seq)
{
  if (seq > s->last_seq) {
    int64_t skipped = seq - s->last_seq - 1;
    return skipped > SESSION_MAX_MISSING - s->missing_count ? TOO_FAR_AHEAD
                                                            : NOT_RECEIVED;
  }
  for (int i = 0; i < s->missing_count; i++)
    if (s->missing[i] == seq) return NOT_RECEIVED;
  return RECEIVED;
}

void session_mark_received(struct session *s, int64_t seq)
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

/* ---- events ---- */

void session_expire(struct session *s)
{
  if (s->expired) return;
  log_error("no room for events of a session; ending it",
            LOG_INT("bytes", s->outbox.bytes));
  s->expired = true;
  s->lease = 0;
  loop_timer_set(s->list->loop, &s->list->timer, 0);
}

void session_push(struct session *s, const void *data, size_t len)
{
  if (s->expired) return;
  if (s->outbox.bytes + len > SESSION_MAX_EVENTS ||
      outbox_add(&s->outbox, data, len) < 0)
    session_expire(s);
  else
    reply_to_polls(s);
}
