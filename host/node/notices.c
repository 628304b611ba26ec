/* SPDX-License-Identifier: MIT */
#include "node/notices.h"

#include "node/dispatch.h"
#include "wire/message.h"

const char *notices_state_of(const struct node *n)
{
  return n->draining ? "draining" : "ready";
}

/* The tasks of the session that had certainly not begun: those that the worker
 * had, and those in messages that come later. */
static void put_not_begun(struct buf *b, const struct session *s,
                          const struct worker_process *w)
{
  const struct not_begun *u = &w->not_begun;
  struct not_begun_walk at = {0};
  struct not_begun_range r;
  size_t count = 0;
  while (not_begun_next(u, s->number, &at, &r, workers_is_queued, w)) count++;
  mp_write_cstr(b, "not_begun");
  mp_write_array(b, count);
  at = (struct not_begun_walk){0};
  while (not_begun_next(u, s->number, &at, &r, workers_is_queued, w)) {
    mp_write_array(b, 4);
    mp_write_int(b, r.job);
    mp_write_int(b, r.first);
    mp_write_int(b, r.count);
    mp_write_int(b, r.attempt);
  }
  mp_put_int(b, "received", (int64_t)s->messages.received);
}

void notices_worker(struct node *n, const struct worker_process *w,
                    const struct worker_death *death)
{
  const char *why = death ? death->why : NULL;
  for (struct session *s = n->sessions.first; s; s = s->next) {
    bool has_culprit =
        death && death->has_task && death->task.session == s->number;
    struct buf *b = session_events(s);
    message_begin_event(b, "worker", w->index,
                        4U + !!why + (has_culprit ? 3U : 0U) +
                            (death ? 2U : 0U));
    mp_put_int(b, "generation", w->generation);
    mp_put_str(b, "state", death ? "down" : "up");
    mp_put_int(b, "signal", death ? death->signal : 0);
    mp_put_int(b, "code", death ? death->code : 0);
    if (why) mp_put_str(b, "why", why);
    if (has_culprit) {
      mp_put_int(b, "job", death->task.job);
      mp_put_int(b, "id", death->task.id);
      mp_put_int(b, "attempt", death->task.attempt);
    }
    if (death) put_not_begun(b, s, w);
    session_flush(s);
  }
}

void notices_refused(struct session *s, const struct not_begun_range *batch,
                     int64_t index, const struct worker_process *w,
                     const char *why)
{
  bool alive = w && w->alive;
  struct buf *b = session_events(s);
  message_begin_event(b, "refused", index, alive ? 6 : 5);
  mp_put_int(b, "job", batch->job);
  mp_put_int(b, "first", batch->first);
  mp_put_int(b, "count", batch->count);
  mp_put_int(b, "attempt", batch->attempt);
  mp_put_str(b, "why", why);
  if (alive) mp_put_int(b, "generation", w->generation);
}

void notices_state(struct node *n)
{
  for (struct session *s = n->sessions.first; s; s = s->next) {
    struct buf *b = session_events(s);
    message_begin_event(b, "state", 0, 1);
    mp_put_str(b, "state", notices_state_of(n));
    session_flush(s);
  }
}
