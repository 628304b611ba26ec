/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "node/node.h"
#include "wire/msgpack.h"

#include <string.h>

/* Readers of a worker's frames: 0, or -1 for a malformed one. */

static int on_out(struct node *n, struct pool_worker *w, struct mp_reader *r)
{
  int64_t number, ended;
  const uint8_t *data;
  size_t len;
  if (mp_read_int(r, &number) < 0 || mp_read_int(r, &ended) < 0 ||
      mp_read_bytes(r, &data, &len) < 0)
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

static int on_running(struct pool_worker *w, struct mp_reader *r)
{
  int64_t running;
  if (mp_read_int(r, &running) < 0 || running < 0) return -1;
  w->running = running;
  return 0;
}

static int on_synced(struct node *n, struct pool_worker *w, struct mp_reader *r)
{
  int64_t sync;
  if (mp_read_int(r, &sync) < 0) return -1;
  node_synced(n, w, sync);
  return 0;
}

void node_on_frame(void *arg, struct pool_worker *w, const uint8_t *data,
                   size_t len)
{
  struct node *n = arg;
  struct mp_reader r = {data, data + len};
  uint32_t count;
  const uint8_t *name;
  size_t name_len;
  int rc = -1;
  if (mp_read_array(&r, &count) < 0 || mp_read_bytes(&r, &name, &name_len) < 0)
    ;
  else if (name_len == 3 && !memcmp(name, "out", 3))
    rc = on_out(n, w, &r);
  else if (name_len == 7 && !memcmp(name, "running", 7))
    rc = on_running(w, &r);
  else if (name_len == 6 && !memcmp(name, "synced", 6))
    rc = on_synced(n, w, &r);
  if (rc == 0) return;
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
  unbegun_clear(&n->unbegun[w->index - 1]);
  node_check(n);
}
