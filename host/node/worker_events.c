/* SPDX-License-Identifier: MIT */
#include "node/worker_events.h"

#include "base/log.h"
#include "node/cancel.h"
#include "node/dispatch.h"
#include "node/node.h"
#include "node/notices.h"
#include "wire/message.h"

/* The sender of a frame. */
struct source {
  struct node *n;
  struct worker_process *w;
};

/* ["out", session, n ended, events] */
static int on_out(void *arg, int64_t number, struct mp_reader *r)
{
  const struct source *from = arg;
  struct node *n = from->n;
  struct worker_process *w = from->w;
  int64_t ended;
  const uint8_t *data;
  size_t len;
  if (mp_read_int(r, &ended) < 0 || mp_read_bytes(r, &data, &len) < 0)
    return -1;
  struct session *s = session_numbered(&n->sessions, number);
  if (!s) return 0; /* ended meanwhile, and its tasks discounted then */
  if (!dispatch_knows(s, w)) return -1; /* nothing of it was sent there */
  int64_t *outstanding = &s->workers[w->index - 1].outstanding;
  if (ended < 0 || ended > *outstanding) return -1;
  *outstanding -= ended;
  w->outstanding -= ended;
  session_tasks_finished(s, ended);
  buf_add(session_events(s), data, len);
  session_flush(s);
  node_check(n);
  return 0;
}

/* ["running", tasks] */
static int on_running(void *arg, int64_t running, struct mp_reader *r)
{
  const struct source *from = arg;
  (void)r;
  if (running < 0) return -1;
  from->w->running = running;
  return 0;
}

/* ["synced", n] */
static int on_synced(void *arg, int64_t sync, struct mp_reader *r)
{
  const struct source *from = arg;
  (void)r;
  cancel_synced(from->w, sync);
  return 0;
}

static void on_frame(void *arg, struct worker_process *w, const uint8_t *data,
                     size_t len)
{
  static const struct message_handler handlers[] = {
      {"out", on_out},
      {"running", on_running},
      {"synced", on_synced},
      {NULL, NULL},
  };
  struct node *n = arg;
  if (message_dispatch(handlers, &(struct source){n, w}, data, len) == 0)
    return;
  log_error("malformed frame from worker; killing it",
            LOG_INT("worker", w->index));
  workers_kill(w);
}

static void on_up(void *arg, struct worker_process *w)
{
  notices_worker(arg, w, NULL);
}

static void on_quiet(void *arg, struct worker_process *w)
{
  w->needs_sync = true;
  cancel_sync(arg);
}

static void on_drained(void *arg, struct worker_process *w)
{
  struct node *n = arg;
  (void)w;
  for (struct session *s = n->sessions.first; s; s = s->next)
    dispatch_update_credit(n, s);
}

static void on_down(void *arg, struct worker_process *w,
                    const struct worker_death *death)
{
  struct node *n = arg;
  cancel_forget(w);
  for (struct session *s = n->sessions.first; s; s = s->next) {
    session_tasks_finished(s, s->workers[w->index - 1].outstanding);
    s->workers[w->index - 1].outstanding = 0;
    dispatch_update_credit(n, s);
  }
  w->outstanding = 0;
  notices_worker(n, w, death);
  not_begun_clear(&w->not_begun);
  node_check(n);
}

const struct worker_events worker_events = {on_frame, on_up, on_quiet,
                                            on_drained, on_down};
