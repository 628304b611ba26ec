/* SPDX-License-Identifier: MIT */
#include "node/requests.h"

#include "base/container.h"
#include "base/log.h"
#include "node/audit.h"
#include "node/cancel.h"
#include "node/dispatch.h"
#include "node/elements.h"
#include "node/node.h"
#include "node/notices.h"
#include "node/peer.h"
#include "wire/msgpack.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* One request. */
struct request {
  struct peer *peer;
  uint32_t id;
  struct mp_reader r; /* what follows the name */
  uint32_t left;      /* elements in it */
};

static void reply(const struct request *q, struct buf *b)
{
  /* one that has failed is too long for a reply, and ends the channel */
  channel_reply(q->peer->channel, q->id, b->data,
                b->failed ? SIZE_MAX : b->len);
  buf_free(b);
}

static void refuse(const struct request *q, const char *kind, const char *text)
{
  struct buf b;
  buf_init(&b, CHANNEL_MAX_REQUEST);
  mp_write_array(&b, 3);
  mp_write_cstr(&b, "error");
  mp_write_cstr(&b, kind);
  mp_write_cstr(&b, text);
  reply(q, &b);
}

static void refuse_malformed(const struct request *q)
{
  refuse(q, "protocol", "malformed request");
}

/* The key of a session, or NULL. */
static const uint8_t *read_session(struct request *q)
{
  const uint8_t *key;
  size_t len;
  if (mp_read_bytes(&q->r, &key, &len) < 0) return NULL;
  return len == PROTOCOL_SESSION_SIZE ? key : NULL;
}

static bool at_end(const struct request *q)
{
  return q->r.at == q->r.end;
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

/* ["status", session?] */
static void on_status(struct node *n, struct request *q)
{
  const uint8_t *key = q->left ? read_session(q) : NULL;
  struct timespec now;
  struct buf b;
  if ((q->left && !key) || !at_end(q)) {
    refuse_malformed(q);
    return;
  }
  struct session *s = key ? session_find(&n->sessions, key) : NULL;
  if (s && !node_is_in_the_way(n, s)) session_renew(s);
  clock_gettime(CLOCK_REALTIME, &now);
  buf_init(&b, CHANNEL_MAX_REQUEST);
  mp_write_array(&b, 2);
  mp_write_cstr(&b, "status");
  const struct serve_options *o = n->options;
  mp_write_map(&b, 11u + (o->zone != NULL) + (o->instance != NULL));
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
  mp_put_float(&b, "time", (double)now.tv_sec + (double)now.tv_nsec / 1e9);
  reply(q, &b);
}

/* ---- open ---- */

/* Finds the session or makes it; NULL when that is refused. */
static struct session *get_session(struct node *n, const struct request *q,
                                   const uint8_t *key, int64_t received)
{
  struct session *s = session_find(&n->sessions, key);
  if (s && received >= 0 && (uint64_t)received >= s->messages.acked &&
      (uint64_t)received <= s->messages.number)
    return s;
  if (s) {
    refuse(q, "protocol", "the messages received cannot be as many");
    return NULL;
  }
  if (received || session_is_closed(&n->sessions, key))
    refuse(q, "lost", "the session is over");
  else if (n->sessions.count >= SESSION_MAX)
    refuse(q, "refused", "too many sessions on this node");
  else if (!(s = session_new(&n->sessions, key)))
    refuse(q, "memory", "out of memory for a session");
  return s;
}

/* ["open", session, received, bytes, release?] */
static void on_open(struct node *n, struct request *q)
{
  const uint8_t *key = read_session(q), *release = NULL;
  int64_t received, bytes;
  size_t len = 0;
  struct err e;
  if (!key || mp_read_int(&q->r, &received) < 0 || received < 0 ||
      mp_read_int(&q->r, &bytes) < 0 || bytes < 0 ||
      (q->left > 3 && mp_read_bytes(&q->r, &release, &len) < 0) || !at_end(q)) {
    refuse_malformed(q);
    return;
  }
  if (q->peer->session) {
    refuse(q, "protocol", "this channel has a session already");
    return;
  }
  bool is_new = !session_find(&n->sessions, key);
  struct session *s = get_session(n, q, key, received);
  if (!s) return;
  struct resumable_ack offer,
      granted = {.received = (uint64_t)received, .bytes = (uint64_t)bytes};
  if (resumable_is_stale(&s->messages, &granted)) {
    refuse(q, "refused", "the session has gone on over another connection");
    return;
  }
  if (is_new) audit_session(n, s, q->peer, (const char *)release, len);
  if (!node_is_in_the_way(n, s)) session_renew(s);
  if (s->peer) peer_close(s->peer);
  peer_join(q->peer, s);
  resumable_offer(&s->messages, &offer);
  struct buf b;
  buf_init(&b, CHANNEL_MAX_REQUEST);
  mp_write_array(&b, 4);
  mp_write_cstr(&b, "opened");
  mp_write_int(&b, (int64_t)offer.received);
  mp_write_int(&b, (int64_t)offer.bytes);
  mp_write_int(&b, (int64_t)offer.tasks);
  if (resumable_resume(&s->messages, &granted, &e) < 0) {
    buf_free(&b);
    refuse(q, "protocol", e.text);
    session_fail(s, e.text);
    return;
  }
  reply(q, &b);
}

/* ---- cancel ---- */

/* Reads the list of tasks to cancel, and with `s` cancels them. Returns 0, or
 * -1 when it is malformed. */
static int cancel_list(struct node *n, struct session *s, struct mp_reader r)
{
  uint32_t count, fields;
  int64_t index, generation, job, first, tasks;
  if (mp_read_array(&r, &count) < 0 || count > PROTOCOL_MAX_LIST) return -1;
  while (count--) {
    if (mp_read_array(&r, &fields) < 0 || fields != 5 ||
        mp_read_int(&r, &index) < 0 || mp_read_int(&r, &generation) < 0 ||
        mp_read_int(&r, &job) < 0 || job < 1 || mp_read_int(&r, &first) < 0 ||
        first < 1 || mp_read_int(&r, &tasks) < 0 || tasks < 1 ||
        first > INT64_MAX - tasks)
      return -1;
    struct worker_process *w = workers_get(n->workers, index);
    if (s && w && w->generation == generation && dispatch_knows(s, w))
      cancel_tasks(n, s, w, job, first, tasks);
  }
  cancel_sync(n);
  return r.at == r.end ? 0 : -1;
}

static void cancel_now(struct node *n, const struct request *q,
                       struct mp_reader list)
{
  static const uint8_t cancelled[] = {0x91, 0xa9, 'c', 'a', 'n', 'c',
                                      'e',  'l',  'l', 'e', 'd'};
  cancel_list(n, q->peer->session, list);
  channel_reply(q->peer->channel, q->id, cancelled, sizeof(cancelled));
}

/* ["cancel", after, [[worker, generation, job, first, count], ...]] */
static void on_cancel(struct node *n, struct request *q)
{
  const struct session *s = q->peer->session;
  int64_t after;
  if (mp_read_int(&q->r, &after) < 0 || after < 0 ||
      cancel_list(n, NULL, q->r) < 0)
    refuse_malformed(q);
  else if (!s)
    refuse(q, "lost", "no session is open on this channel");
  else if ((uint64_t)after <= s->messages.received)
    cancel_now(n, q, q->r);
  else if (peer_defer(q->peer, (uint64_t)after, q->id, q->r.at,
                      (size_t)(q->r.end - q->r.at)) < 0)
    refuse(q, "refused", "too many cancellations wait for messages");
}

/* Those that have waited for the message that was acted upon last. */
static void cancel_deferred(struct node *n, struct peer *p)
{
  struct deferred_cancel *d;
  while ((d = peer_take_deferred(p))) {
    struct request q = {.peer = p, .id = d->id};
    cancel_now(n, &q, (struct mp_reader){d->tasks, d->tasks + d->len});
    free(d);
  }
}

/* ---- end ---- */

/* ["end", session] */
static void on_end(struct node *n, struct request *q)
{
  const uint8_t *key = read_session(q);
  int64_t running = 0, events = 0;
  struct buf b;
  if (!key || !at_end(q)) {
    refuse_malformed(q);
    return;
  }
  struct session *s = session_find(&n->sessions, key);
  if (s) {
    struct peer *peer = s->peer;
    for (int i = 0; i < n->sessions.workers; i++)
      running += s->workers[i].outstanding;
    events = (int64_t)resumable_bytes(&s->messages);
    node_end_session(n, s);
    if (peer && peer != q->peer) peer_close(peer);
  }
  buf_init(&b, CHANNEL_MAX_REQUEST);
  mp_write_array(&b, 2);
  mp_write_cstr(&b, "ended");
  mp_write_map(&b, 2);
  mp_put_int(&b, "running", running);
  mp_put_int(&b, "events", events);
  reply(q, &b);
}

/* ---- channels ---- */

void *requests_on_channel(void *node, struct channel *c)
{
  return peer_new(node, c);
}

static void on_ready(void *arg)
{
  peer_heard(arg);
}

static void on_request(void *arg, uint32_t id, const uint8_t *data, size_t len)
{
  static const struct {
    const char *name;
    uint32_t least, most;
    void (*act)(struct node *n, struct request *q);
    bool may_observer; /* ask this */
  } requests[] = {
      {"status", 1, 2, on_status, true},
      {"open", 4, 5, on_open, false},
      {"cancel", 3, 3, on_cancel, false},
      {"end", 2, 2, on_end, false},
  };
  struct peer *p = arg;
  struct node *n = p->node;
  struct request q = {.peer = p, .id = id, .r = {data, data + len}};
  const uint8_t *name;
  uint32_t count;
  size_t length;
  peer_heard(p);
  n->heard = loop_clock();
  if (mp_read_array(&q.r, &count) == 0 &&
      mp_read_bytes(&q.r, &name, &length) == 0)
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
      if (length == strlen(requests[i].name) &&
          !memcmp(name, requests[i].name, length) &&
          count >= requests[i].least && count <= requests[i].most) {
        q.left = count - 1;
        if (requests[i].may_observer || peer_identity(p).may_submit)
          requests[i].act(n, &q);
        else
          refuse(&q, "tls", "refused: this certificate may observe only");
        return;
      }
  refuse_malformed(&q);
}

static void on_channel_end(void *arg, const struct err *reason)
{
  struct peer *p = arg;
  if (p->session && !strcmp(reason->kind, "protocol"))
    session_fail(p->session, reason->text);
  else if (p->session)
    log_info("the connection of a session has ended",
             LOG_INT("session", p->session->number),
             LOG_STR("peer", channel_peer(p->channel)),
             LOG_STR("why", reason->text));
  peer_close(p);
}

const struct channel_events requests_channel_events = {on_ready, on_request,
                                                       on_channel_end};

/* ---- numbered messages ---- */

static int on_message(void *arg, const uint8_t *data, size_t len, struct err *e)
{
  struct session *s = arg;
  struct node *n = CONTAINER_OF(s->list, struct node, sessions);
  if (s->failed) return err_set(e, "lost", "the session is over");
  int rc = elements_act(n, s, data, len, e);
  if (rc == 0 && s->peer) cancel_deferred(n, s->peer);
  node_check(n);
  return rc;
}

static void on_room(void *arg)
{
  struct session *s = arg;
  if (s->taken != s->messages.acked) session_renew(s);
  s->taken = s->messages.acked;
  node_check(CONTAINER_OF(s->list, struct node, sessions));
}

const struct resumable_events requests_session_events = {on_message, on_room};
