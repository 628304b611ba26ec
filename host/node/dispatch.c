/* SPDX-License-Identifier: MIT */
#include "node/dispatch.h"

#include "wire/msgpack.h"

/* Unread bytes of a worker that is killed, because it does not even read what
 * to cancel. */
static const size_t OVERLOADED = (size_t)16 * DISPATCH_MAX_UNREAD;

struct buf *dispatch_begin(struct worker_process *w, const char *name,
                           const struct session *s, size_t count)
{
  if (workers_unread(w) > OVERLOADED) {
    workers_kill(w);
    return NULL;
  }
  struct buf *b = workers_begin(w);
  if (!b) return NULL;
  mp_write_array(b, count);
  mp_write_cstr(b, name);
  mp_write_int(b, s->number);
  return b;
}

void dispatch_end(struct worker_process *w)
{
  if (workers_end(w, NULL, 0) < 0) workers_kill(w);
}

bool dispatch_knows(const struct session *s, const struct worker_process *w)
{
  return w->alive && s->workers[w->index - 1].generation == w->generation;
}

void dispatch_update_credit(struct node *n, struct session *s)
{
  bool full = false;
  WORKERS_FOREACH (w, n->workers)
    full |= s->workers[w->index - 1].outstanding &&
            workers_unread(w) > DISPATCH_MAX_UNREAD;
  resumable_hold(&s->messages, full);
}
