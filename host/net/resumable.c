/* SPDX-License-Identifier: MIT */
#include "net/resumable.h"

#include "base/container.h"
#include "wire/protocol.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that are built ahead while the channel is busy. */
enum { MAX_AHEAD = 1024 * 1024 };

static void on_ack_time(struct loop_timer *timer);

void resumable_init(struct resumable *r, struct loop *loop, uint64_t tasks,
                    const struct resumable_events *events, void *arg)
{
  memset(r, 0, sizeof(*r));
  r->loop = loop;
  r->events = events;
  r->arg = arg;
  STAILQ_INIT(&r->sent);
  buf_init(&r->open, PROTOCOL_MAX_MESSAGE);
  r->granted.bytes = RESUMABLE_WINDOW;
  r->granted.tasks = r->tasks = tasks;
  r->ack_timer.on_expire = on_ack_time;
}

/* Removes the oldest message of `sent`. */
static void drop_first(struct resumable *r)
{
  struct resumable_message *m = STAILQ_FIRST(&r->sent);
  if (r->next == m) r->next = STAILQ_NEXT(m, link);
  STAILQ_REMOVE_HEAD(&r->sent, link);
  r->kept -= m->bytes.len;
  resumable_release(m);
}

void resumable_free(struct resumable *r)
{
  resumable_detach(r);
  while (STAILQ_FIRST(&r->sent)) drop_first(r);
  buf_free(&r->open);
  memset(r, 0, sizeof(*r));
}

/* There is something that the peer does not know. */
static bool has_news(const struct resumable *r)
{
  return r->received != r->granted.received || r->tasks != r->granted.tasks ||
         (!r->held && r->granted.bytes < r->received_bytes + RESUMABLE_WINDOW);
}

/* Has it sent soon, or with the next message. The timer is not moved when it
 * is armed already. */
static void acknowledge_soon(struct resumable *r)
{
  if (r->ack_timer.slot || r->due) return;
  if (loop_timer_set(r->loop, &r->ack_timer, RESUMABLE_ACK_DELAY) < 0)
    r->due = true;
}

/* ---- channels ---- */

void resumable_detach(struct resumable *r)
{
  struct channel *c = r->channel;
  if (!c) return;
  r->channel = NULL;
  r->resumed = false;
  r->due = false;
  loop_timer_clear(r->loop, &r->ack_timer);
  r->on_detach(c);
}

void resumable_offer(struct resumable *r, struct resumable_ack *ack)
{
  if (!r->held && r->granted.bytes < r->received_bytes + RESUMABLE_WINDOW)
    r->granted.bytes = r->received_bytes + RESUMABLE_WINDOW;
  r->granted.received = r->received;
  r->granted.tasks = r->tasks;
  *ack = r->granted;
}

bool resumable_is_stale(const struct resumable *r,
                        const struct resumable_ack *ack)
{
  return ack->received < r->acked || ack->bytes < r->limit.bytes;
}

/* Takes over what the peer has received and grants. */
static int take(struct resumable *r, const struct resumable_ack *ack,
                struct err *e)
{
  /* r->next may be before `begun`: the peer can have received what another
   * channel sent after the offer that this one resumed by */
  if (ack->received < r->acked || ack->received > r->begun)
    return err_set(e, "protocol",
                   "it acknowledges message %" PRIu64 ", but %" PRIu64
                   " to %" PRIu64 " could be",
                   ack->received, r->acked, r->begun);
  if (ack->bytes < r->limit.bytes || ack->tasks < r->limit.tasks)
    return err_set(e, "protocol",
                   "it lowers a limit: from %" PRIu64 " to %" PRIu64
                   " bytes, from %" PRIu64 " to %" PRIu64 " tasks",
                   r->limit.bytes, ack->bytes, r->limit.tasks, ack->tasks);
  for (; r->acked < ack->received; r->acked++) drop_first(r);
  r->limit = *ack;
  return 0;
}

int resumable_resume(struct resumable *r, const struct resumable_ack *ack,
                     struct err *e)
{
  if (take(r, ack, e) < 0) return -1;
  r->next = STAILQ_FIRST(&r->sent);
  r->resumed = r->channel != NULL;
  if (r->resumed && has_news(r)) acknowledge_soon(r);
  resumable_flush(r);
  return 0;
}

/* ---- outgoing ---- */

/* Ends the message being built. */
static void seal(struct resumable *r)
{
  struct resumable_message *m = calloc(1, sizeof(*m));
  if (!m) {
    r->open.failed = true;
    return;
  }
  m->number = ++r->number;
  m->start = r->end;
  m->users = 1;
  m->bytes.max = r->open.max;
  buf_swap(&m->bytes, &r->open);
  r->end += m->bytes.len;
  r->kept += m->bytes.len;
  STAILQ_INSERT_TAIL(&r->sent, m, link);
  if (!r->next) r->next = m;
}

struct buf *resumable_message(struct resumable *r)
{
  if (r->open.len >= RESUMABLE_MESSAGE && !r->open.failed) seal(r);
  return &r->open;
}

void resumable_flush(struct resumable *r)
{
  if (r->resumed) r->on_flush(r->channel);
}

uint64_t resumable_number(const struct resumable *r)
{
  return r->number + (r->open.len != 0);
}

/* A message that begins at this byte is within the limits: what the peer
 * grants, and, if it grants more than it should, a window that has not been
 * acknowledged. */
static bool may_begin(const struct resumable *r, uint64_t start)
{
  return start < r->limit.bytes &&
         start - (r->end - r->kept) < RESUMABLE_WINDOW;
}

bool resumable_has_room(const struct resumable *r)
{
  uint64_t end = r->end + r->open.len;
  uint64_t begun = r->next ? r->next->start : r->end;
  return may_begin(r, end) && end - begun < MAX_AHEAD;
}

size_t resumable_bytes(const struct resumable *r)
{
  return r->kept + r->open.len;
}

bool resumable_failed(const struct resumable *r)
{
  return r->open.failed;
}

/* ---- incoming ---- */

static void on_ack_time(struct loop_timer *timer)
{
  struct resumable *r = CONTAINER_OF(timer, struct resumable, ack_timer);
  if (!has_news(r)) return;
  r->due = true;
  resumable_flush(r);
}

/* A quarter of the window is used and can be granted again. */
static bool must_grant(const struct resumable *r)
{
  return !r->held && r->received_bytes + RESUMABLE_WINDOW >=
                         r->granted.bytes + RESUMABLE_WINDOW / 4;
}

void resumable_hold(struct resumable *r, bool hold)
{
  if (r->held == hold) return;
  r->held = hold;
  if (hold || !has_news(r)) return;
  if (must_grant(r)) {
    r->due = true;
    resumable_flush(r);
  } else if (r->resumed) {
    acknowledge_soon(r);
  }
}

void resumable_grant_tasks(struct resumable *r, uint64_t tasks)
{
  if (tasks <= r->tasks) return;
  r->tasks = tasks;
  if (r->resumed) acknowledge_soon(r);
}

/* ---- for channel.c ---- */

struct resumable_message *resumable_next(struct resumable *r)
{
  if (!r->resumed) return NULL;
  if (!r->next && r->open.len && !r->open.failed && may_begin(r, r->end))
    seal(r);
  struct resumable_message *m = r->next;
  if (!m || !may_begin(r, m->start)) return NULL;
  r->next = STAILQ_NEXT(m, link);
  m->users++;
  if (m->number > r->begun) r->begun = m->number;
  return m;
}

void resumable_release(struct resumable_message *m)
{
  if (--m->users) return;
  buf_free(&m->bytes);
  free(m);
}

bool resumable_take_ack(struct resumable *r, bool alone,
                        struct resumable_ack *ack)
{
  if (!r->resumed || (alone && !r->due)) return false;
  r->due = false;
  if (!has_news(r)) return false;
  resumable_offer(r, ack);
  return true;
}

int resumable_acknowledge(struct resumable *r, const struct resumable_ack *ack,
                          struct err *e)
{
  if (take(r, ack, e) < 0) return -1;
  r->events->on_room(r->arg);
  return 0;
}

int resumable_admit(struct resumable *r, struct err *e)
{
  if (r->received_bytes < r->granted.bytes) return 0;
  return err_set(e, "protocol",
                 "its message %" PRIu64 " exceeds the limit of %" PRIu64
                 " bytes",
                 r->received + 1, r->granted.bytes);
}

int resumable_receive(struct resumable *r, const uint8_t *data, size_t len,
                      struct err *e)
{
  r->received++;
  r->received_bytes += len;
  if (must_grant(r))
    r->due = true;
  else
    acknowledge_soon(r);
  return r->events->on_message(r->arg, data, len, e);
}
