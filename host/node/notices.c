/* SPDX-License-Identifier: MIT */
#include "node/node.h"
#include "wire/msgpack.h"

void node_put_int(struct buf *b, const char *key, int64_t value)
{
  mp_write_cstr(b, key);
  mp_write_int(b, value);
}

void node_put_str(struct buf *b, const char *key, const char *value)
{
  mp_write_cstr(b, key);
  mp_write_cstr(b, value);
}

const char *node_state(const struct node *n)
{
  return n->draining ? "draining" : "ready";
}

/* The head of a record of `name` about `worker`; then a map of `fields`. */
static struct buf record(const char *name, int64_t worker, size_t fields)
{
  struct buf b;
  buf_init(&b, 4 * 1024 * 1024);
  mp_write_array(&b, 4);
  mp_write_int(&b, 0);
  mp_write_cstr(&b, name);
  mp_write_int(&b, worker);
  mp_write_map(&b, fields);
  return b;
}

static void push(struct session *s, struct buf *b)
{
  if (b->failed)
    session_lose(s);
  else
    session_push(s, b->data, b->len);
  buf_free(b);
}

/* What of the session had certainly not begun: what the worker had, and what
 * is in messages that have not come. */
static void put_unbegun(struct node *n, struct buf *b, const struct session *s,
                        const struct pool_worker *w)
{
  const struct unbegun *u = &n->unbegun[w->index - 1];
  struct unbegun_walk at = {0};
  struct unbegun_range r;
  size_t count = 0;
  while (unbegun_next(u, s->number, &at, &r, node_waits, w)) count++;
  mp_write_cstr(b, "unbegun");
  mp_write_array(b, count);
  at = (struct unbegun_walk){0};
  while (unbegun_next(u, s->number, &at, &r, node_waits, w)) {
    mp_write_array(b, 4);
    mp_write_int(b, r.job);
    mp_write_int(b, r.first);
    mp_write_int(b, r.count);
    mp_write_int(b, r.attempt);
  }
  node_put_int(b, "seq", s->last_seq);
  mp_write_cstr(b, "missing");
  mp_write_array(b, (size_t)s->missing_count);
  for (int i = 0; i < s->missing_count; i++) mp_write_int(b, s->missing[i]);
}

void node_record_worker(struct node *n, const struct pool_worker *w,
                        const struct pool_death *death)
{
  const char *why = death ? death->why : NULL;
  for (struct session *s = n->sessions.first; s; s = s->next) {
    bool blame = death && death->has_task && death->session == s->number;
    struct buf b = record("worker", w->index,
                          4U + !!why + (blame ? 3U : 0U) + (death ? 3U : 0U));
    node_put_int(&b, "generation", w->generation);
    node_put_str(&b, "state", death ? "down" : "up");
    node_put_int(&b, "signal", death ? death->signal : 0);
    node_put_int(&b, "code", death ? death->code : 0);
    if (why) node_put_str(&b, "why", why);
    if (blame) {
      node_put_int(&b, "job", death->job);
      node_put_int(&b, "id", death->id);
      node_put_int(&b, "attempt", death->attempt);
    }
    if (death) put_unbegun(n, &b, s, w);
    push(s, &b);
  }
}

void node_record_refused(struct session *s, const struct request_batch *r,
                         const struct pool_worker *w, const char *why)
{
  bool alive = w && w->alive;
  struct buf b = record("refused", r->worker, alive ? 6 : 5);
  node_put_int(&b, "job", r->job);
  node_put_int(&b, "first", r->first);
  node_put_int(&b, "count", r->count);
  node_put_int(&b, "attempt", r->attempt);
  node_put_str(&b, "why", why);
  if (alive) node_put_int(&b, "generation", w->generation);
  push(s, &b);
}

void node_record_state(struct node *n)
{
  for (struct session *s = n->sessions.first; s; s = s->next) {
    struct buf b = record("state", 0, 1);
    node_put_str(&b, "state", node_state(n));
    push(s, &b);
  }
}
