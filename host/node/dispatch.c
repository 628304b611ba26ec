/* SPDX-License-Identifier: MIT */
#include "node/dispatch.h"

#include "wire/msgpack.h"

/* Unread bytes of a backlogged worker, which gets no further work, and of an
 * overloaded one, which is killed because it does not even read what to cancel.
 */
enum { BACKLOGGED = 256 * 1024 * 1024, OVERLOADED = 3 * BACKLOGGED };

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
  if (workers_end(w) < 0) workers_kill(w);
}

bool dispatch_knows(const struct session *s, const struct worker_process *w)
{
  return w->alive && s->workers[w->index - 1].generation == w->generation;
}

bool dispatch_is_backlogged(const struct node *n, int64_t index)
{
  const struct worker_process *w = workers_get(n->workers, index);
  return w && workers_unread(w) > BACKLOGGED;
}
