/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "node/node.h"
#include "wire/message.h"

/* The sender of a frame. */
struct source {
  struct node *n;
  struct pool_worker *w;
};

/* ["out", session, n ended, events] */
static int on_out(void *arg, int64_t number, struct mp_reader *r)
{
  const struct source *from = arg;
  struct node *n = from->n;
  struct pool_worker *w = from->w;
  int64_t ended;
  const uint8_t *data;
  size_t len;
  if (mp_read_int(r, &ended) < 0 || mp_read_bytes(r, &data, &len) < 0)
    return -1;
  struct session *s = session_numbered(&n->sessions, number);
  if (!s) return 0; /* ended meanwhile, and its tasks discounted then */
  if (!node_knows(s, w)) return -1; /* it was never told of this one */
  int64_t *outstanding = &s->workers[w->index - 1].outstanding;
  if (ended < 0 || ended > *outstanding) return -1;
  *outstanding -= ended;
  w->outstanding -= ended;
  session_push(s, data, len);
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
  node_synced(from->n, from->w, sync);
  return 0;
}

void node_on_frame(void *arg, struct pool_worker *w, const uint8_t *data,
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
  pool_kill(n->pool, w);
}

void node_on_up(void *arg, struct pool_worker *w)
{
  node_record_worker(arg, w, NULL);
}

void node_on_down(void *arg, struct pool_worker *w,
                  const struct pool_death *death)
{
  struct node *n = arg;
  node_cancels_forget(n, w);
  for (struct session *s = n->sessions.first; s; s = s->next)
    s->workers[w->index - 1].outstanding = 0;
  w->outstanding = 0;
  node_record_worker(n, w, death);
  not_begun_clear(&n->not_begun[w->index - 1]);
  node_check(n);
}
