/* SPDX-License-Identifier: MIT */
#include "node/requests.h"

#include "node/cancel.h"
#include "node/dispatch.h"
#include "node/node.h"
#include "node/notices.h"
#include "node/request.h"
#include "wire/msgpack.h"

#include <stdlib.h>
#include <unistd.h>

/* Bytes of memory of the blobs of all sessions. */
enum { MAX_BLOBS = 256 * 1024 * 1024 };
/* Bytes of all unfinished messages of all sessions, counted in full. */
enum { MAX_UNFINISHED = 256 * 1024 * 1024 };
/* An unfinished message that has not grown for this long makes room for others.
 */
#define STALE_AFTER (10 * LOOP_S)

static void send_reply(struct rpc_request *req, struct buf *b)
{
  if (b->failed)
    rpc_drop(req);
  else
    rpc_reply(req, b->data, b->len);
  buf_free(b);
}

/* ---- status ---- */

static void put_workers(struct node *n, struct buf *b)
{
  int64_t running = 0, queued = 0;
  mp_write_cstr(b, "workers");
  mp_write_array(b, (size_t)n->options->workers);
  WORKERS_FOREACH (w, n->workers) {
    mp_write_array(b, 2);
    mp_write_int(b, w->index);
    mp_write_int(b, w->alive ? w->generation : 0);
    running += w->outstanding < w->running ? w->outstanding : w->running;
    queued += w->outstanding;
  }
  mp_put_int(b, "running", running);
  mp_put_int(b, "queued", queued - running);
}

/* Renews the lease. While a driver leaves events unfetched that make the node
 * pause its workers, and others use the node as well, only fetching counts. */
static void renew(struct node *n, struct session *s, bool fetched)
{
  bool in_the_way = n->paused && n->sessions.count > 1 && s->outbox.bytes;
  if (fetched || !in_the_way) session_renew(s);
}

static void on_status(struct node *n, struct session *s,
                      struct rpc_request *req)
{
  struct buf b;
  if (s) renew(n, s, false);
  buf_init(&b, 1024 * 1024);
  mp_write_array(&b, 2);
  mp_write_cstr(&b, "status");
  const struct serve_options *o = n->options;
  mp_write_map(&b, 10u + (o->zone != NULL) + (o->instance != NULL));
  mp_put_int(&b, "protocol", PROTOCOL_VERSION);
  mp_put_str(&b, "release", o->release);
  mp_put_str(&b, "name", o->name);
  if (o->zone) mp_put_str(&b, "zone", o->zone);
  if (o->instance) mp_put_str(&b, "instance", o->instance);
  mp_write_cstr(&b, "boot");
  mp_write_bin(&b, n->boot, sizeof(n->boot));
  mp_put_int(&b, "pid", getpid());
  mp_put_str(&b, "state", notices_state_of(n));
  put_workers(n, &b);
  mp_write_cstr(&b, "session");
  mp_write_bool(&b, s != NULL);
  send_reply(req, &b);
}

/* ---- whether work can be taken: each sends the refusal, if there is one ----
 */

static bool refuse(struct rpc_request *req, const char *kind, const char *text)
{
  request_refuse(req, kind, text);
  return true;
}

/* `s` is NULL when the work is to open its session. */
static bool refuse_blobs(struct node *n, const struct session *s,
                         struct request_list blobs, struct rpc_request *req)
{
  struct blob_store none = {.workers = n->sessions.workers};
  const struct blob_store *store = s ? &s->blobs : &none;
  size_t bytes = 0, others = 0;
  int count = store->count;
  struct request_blob b;
  while (request_next(&blobs, &b)) {
    if (b.content.len > PROTOCOL_MAX_VALUE)
      return refuse(req, "too_large", "a blob is over 64 MiB");
    if (blob_find(store, b.key.data, b.key.len)) continue;
    bytes += blob_size(store, b.key.len, b.content.len);
    count++;
  }
  if (!bytes) return false;
  for (const struct session *o = n->sessions.first; o; o = o->next)
    if (o != s) others += o->blobs.bytes;
  bytes += store->bytes;
  if (count > PROTOCOL_MAX_BLOBS)
    return refuse(req, "too_large", "over 1024 blobs in one session");
  if (bytes > MAX_BLOBS)
    return refuse(req, "too_large",
                  "the blobs of one session are over 256 MiB");
  if (bytes + others > MAX_BLOBS)
    return refuse(req, "refused",
                  "this node has no room for blobs: other drivers use it");
  return false;
}

static bool refuse_workers(struct node *n, const struct request *q,
                           struct rpc_request *req)
{
  struct request_list batches = q->batches, replies = q->replies;
  struct request_batch b;
  struct request_upcall_reply r;
  bool backlogged = false, large = false;
  while (request_next(&batches, &b)) {
    large |= b.items.len > PROTOCOL_MAX_VALUE;
    backlogged |= dispatch_is_backlogged(n, b.worker);
  }
  while (request_next(&replies, &r)) {
    large |= r.bytes.len > PROTOCOL_MAX_VALUE;
    backlogged |= dispatch_is_backlogged(n, r.worker);
  }
  if (large)
    return refuse(req, "too_large", "a batch or a reply is over 64 MiB");
  if (backlogged)
    return refuse(req, "refused", "a worker has 256 MiB of work before it");
  return false;
}

static bool refuse_work(struct node *n, const struct session *s,
                        const struct request *q, struct rpc_request *req)
{
  if (!s && (q->seq > 1 || session_is_closed(&n->sessions, q->session)))
    return refuse(req, "lost", "the session is over");
  if (!s && n->sessions.count >= SESSION_MAX)
    return refuse(req, "refused", "too many sessions on this node");
  if (q->ack > (s ? s->outbox.number : 0))
    return refuse(req, "protocol", "acknowledges what was never sent");
  enum session_receipt receipt =
      s ? session_is_received(s, q->seq) : NOT_RECEIVED;
  if (receipt == TOO_FAR_AHEAD)
    return refuse(req, "protocol", "too many messages are missing");
  return receipt == NOT_RECEIVED &&
         (refuse_workers(n, q, req) || refuse_blobs(n, s, q->blobs, req));
}

/* ---- batches to workers ---- */

static int send_blob(struct session *s, struct worker_process *w,
                     struct blob *blob)
{
  int64_t *given = &blob->given[w->index - 1];
  if (*given == w->generation) return 0;
  struct buf *b = dispatch_begin(w, "blob", s, 4);
  if (!b) return -1;
  mp_write_bin(b, blob->key, blob->key_len);
  mp_write_bin(b, blob->content, blob->len);
  if (workers_end(w) < 0) return -1;
  *given = w->generation;
  return 0;
}

static int send_batch(struct session *s, struct worker_process *w,
                      const struct request_batch *r)
{
  struct buf *b = dispatch_begin(w, "work", s, 9);
  if (!b) return -1;
  mp_write_int(b, r->job);
  mp_write_bin(b, r->definition.data, r->definition.len);
  mp_write_int(b, r->first);
  mp_write_int(b, r->count);
  mp_write_int(b, r->attempt);
  mp_write_float(b, r->timeout);
  mp_write_bin(b, r->items.data, r->items.len);
  if (workers_end(w) < 0) return -1;
  struct not_begun_range range = {.session = s->number,
                                  .job = r->job,
                                  .first = r->first,
                                  .count = r->count,
                                  .attempt = r->attempt};
  not_begun_add(&w->not_begun, range, workers_is_queued, w);
  w->outstanding += r->count;
  s->workers[w->index - 1].outstanding += r->count;
  return 0;
}

/* Returns why the batch is not started, or NULL. */
static const char *route(struct node *n, struct session *s,
                         struct worker_process *w,
                         const struct request_batch *r)
{
  struct request_bytes key;
  struct request_list keys = r->keys;
  if (n->draining) return "draining";
  if (!w || !w->alive || w->generation != r->generation) return "gone";
  while (request_next(&keys, &key))
    if (!blob_find(&s->blobs, key.data, key.len)) return "unknown";
  s->workers[w->index - 1].generation = w->generation;
  for (keys = r->keys; request_next(&keys, &key);)
    if (send_blob(s, w, blob_find(&s->blobs, key.data, key.len)) < 0)
      return "gone";
  return send_batch(s, w, r) < 0 ? "gone" : NULL;
}

/* ---- the parts of work ---- */

static void drop_blob(struct node *n, struct session *s,
                      const struct request_bytes *key)
{
  struct blob *blob = blob_find(&s->blobs, key->data, key->len);
  if (!blob) return;
  WORKERS_FOREACH (w, n->workers) {
    if (!w->alive || blob->given[w->index - 1] != w->generation) continue;
    struct buf *b = dispatch_begin(w, "drop", s, 3);
    if (!b) continue;
    mp_write_bin(b, key->data, key->len);
    dispatch_end(w);
  }
  blob_drop(&s->blobs, blob);
}

static void send_upcall_reply(struct node *n, struct session *s,
                              const struct request_upcall_reply *t)
{
  struct worker_process *w = workers_get(n->workers, t->worker);
  if (!w || w->generation != t->generation || !dispatch_knows(s, w)) return;
  struct buf *b = dispatch_begin(w, "reply", s, 4);
  if (!b) return;
  mp_write_int(b, t->number);
  mp_write_bin(b, t->bytes.data, t->bytes.len);
  /* a task would wait for ever without its reply */
  dispatch_end(w);
}

static void act(struct node *n, struct session *s, struct request *q)
{
  struct request_blob blob;
  struct request_bytes key;
  struct request_batch batch;
  struct request_upcall_reply reply;
  int64_t job;
  while (request_next(&q->blobs, &blob))
    if (blob_add(&s->blobs, blob.key.data, blob.key.len, blob.content.data,
                 blob.content.len) < 0)
      session_expire(s);
  if (s->expired) return;
  while (request_next(&q->drops, &key)) drop_blob(n, s, &key);
  while (request_next(&q->closes, &job)) cancel_job(n, s, job);
  while (request_next(&q->batches, &batch)) {
    struct worker_process *w = workers_get(n->workers, batch.worker);
    const char *why = route(n, s, w, &batch);
    if (why) notices_refused(s, &batch, w, why);
  }
  while (request_next(&q->replies, &reply)) send_upcall_reply(n, s, &reply);
  cancel_sync(n);
}

/* ---- requests ---- */

/* In these, `s` is NULL when there is no session with that key. */

static void on_work(struct node *n, struct session *s, struct rpc_request *req,
                    uint32_t pipe, struct request *q)
{
  if (refuse_work(n, s, q, req)) return;
  if (!s && !(s = session_new(&n->sessions, q->session))) {
    request_refuse(req, "memory", "out of memory for a session");
    return;
  }
  session_connect(s, pipe);
  size_t before = s->outbox.bytes;
  outbox_acked(&s->outbox, q->ack);
  renew(n, s, s->outbox.bytes < before);
  if (session_is_received(s, q->seq) == NOT_RECEIVED) {
    session_mark_received(s, q->seq);
    act(n, s, q);
  } else { /* the reply was lost */
    outbox_rewind(&s->outbox);
  }
  if (s->expired)
    request_refuse(req, "lost", "out of memory, the session is over");
  else if (q->seq == 1)
    session_reply(s, req);
  else
    session_poll(s, req, q->seq);
  node_check(n);
}

static void on_cancel(struct node *n, struct session *s,
                      struct rpc_request *req, struct request *q)
{
  static const uint8_t cancelled[] = {0x91, 0xa9, 'c', 'a', 'n', 'c',
                                      'e',  'l',  'l', 'e', 'd'};
  struct request_cancel c;
  while (s && request_next(&q->cancels, &c)) {
    struct worker_process *w = workers_get(n->workers, c.worker);
    if (w && w->generation == c.generation && dispatch_knows(s, w))
      cancel_tasks(n, s, w, &c);
  }
  cancel_sync(n);
  rpc_reply(req, cancelled, sizeof(cancelled));
}

static void on_end(struct node *n, struct session *s, struct rpc_request *req)
{
  int64_t running = 0, events = 0;
  if (s) {
    for (int i = 0; i < n->sessions.workers; i++)
      running += s->workers[i].outstanding;
    events = (int64_t)s->outbox.bytes;
    node_end_session(n, s);
  }
  struct buf b;
  buf_init(&b, 256);
  mp_write_array(&b, 2);
  mp_write_cstr(&b, "ended");
  mp_write_map(&b, 2);
  mp_put_int(&b, "running", running);
  mp_put_int(&b, "events", events);
  send_reply(req, &b);
}

/* ---- messages in parts ---- */

/* Whether there is room for another message of that size, if need be after
 * dropping stale ones. */
static bool has_room(struct node *n, int64_t total)
{
  uint64_t now = loop_clock();
  for (int pass = 0; pass < 2; pass++) {
    size_t bytes = 0;
    for (struct session *s = n->sessions.first; s; s = s->next) {
      if (pass && now > STALE_AFTER)
        partial_drop_old(&s->partials, now - STALE_AFTER);
      bytes += s->partials.bytes;
    }
    if (bytes + (size_t)total <= MAX_UNFINISHED) return true;
  }
  return false;
}

static void on_part(struct node *n, struct session *s, struct rpc_request *req,
                    const struct request *q)
{
  static const uint8_t part[] = {0x91, 0xa4, 'p', 'a', 'r', 't'};
  bool sane = q->total > 0 && q->total <= PROTOCOL_MAX_MESSAGE;
  if (sane && !partial_find(&s->partials, q->id) && !has_room(n, q->total)) {
    request_refuse(req, "refused",
                   "this node has no room for a large message: others use it");
    return;
  }
  switch (partial_add(&s->partials, q->id, q->offset, q->total, q->part.data,
                      q->part.len, loop_clock())) {
  case PARTIAL_OK: rpc_reply(req, part, sizeof(part)); break;
  case PARTIAL_FULL:
    request_refuse(req, "refused", "too many unfinished messages");
    break;
  case PARTIAL_MALFORMED:
    request_refuse(req, "protocol", "malformed part");
    break;
  }
}

static void on_whole(struct node *n, struct session *s, struct rpc_request *req,
                     uint32_t pipe, const struct request *q)
{
  struct partial *p = partial_take(&s->partials, q->id);
  struct request whole = {.name = REQUEST_MALFORMED};
  if (p) whole = request_read(p->data, p->total);
  if (whole.name == REQUEST_WORK)
    on_work(n, session_find(&n->sessions, whole.session), req, pipe, &whole);
  else
    request_refuse(req, "protocol", "the parts are no message of work");
  free(p);
}

void requests_on_request(void *arg, struct rpc_request *req, uint32_t pipe,
                         const uint8_t *data, size_t len)
{
  struct node *n = arg;
  struct request q = request_read(data, len);
  struct session *s = q.session ? session_find(&n->sessions, q.session) : NULL;
  if (!s && (q.name == REQUEST_PART || q.name == REQUEST_WHOLE)) {
    request_refuse(req, "lost", "the session is over");
    return;
  }
  switch (q.name) {
  case REQUEST_STATUS: on_status(n, s, req); break;
  case REQUEST_WORK: on_work(n, s, req, pipe, &q); break;
  case REQUEST_CANCEL: on_cancel(n, s, req, &q); break;
  case REQUEST_END: on_end(n, s, req); break;
  case REQUEST_PART: on_part(n, s, req, &q); break;
  case REQUEST_WHOLE: on_whole(n, s, req, pipe, &q); break;
  case REQUEST_SKEW:
    request_refuse(req, "skew", "this node speaks another protocol version");
    break;
  case REQUEST_MALFORMED:
    request_refuse(req, "protocol", "malformed message");
    break;
  }
}

void requests_on_disconnect(void *arg, uint32_t pipe)
{
  const struct node *n = arg;
  for (struct session *s = n->sessions.first; s; s = s->next)
    session_disconnect(s, pipe);
}
