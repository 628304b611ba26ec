/* SPDX-License-Identifier: MIT */
/* libFuzzer: any messages of drivers and workers to a node, in any order. The
 * node is real, the network and the worker processes are fakes; the input is a
 * list of steps. Whatever they are: each request is answered or
 * dropped once; a worker gets whole frames, each blob once and before the work
 * that needs it; no count of tasks is ever negative. */
#include "node/cancel.c" /* NOLINT: for its timer */

#include "base/log.h"
#include "node/node.h"
#include "node/requests.h"
#include "node/worker_events.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORKERS = 2, PIPES = 3 };

/* ---- the stand-ins ---- */

struct rpc_request {
  struct rpc_request *next;
  bool answered;
};

/* What a worker has. */
struct kept {
  struct kept *next;
  int64_t session;
  size_t len;
  uint8_t key[PROTOCOL_MAX_KEY];
};

struct workers {
  struct worker_process list[WORKERS];
  struct kept *kept[WORKERS];
  struct buf frame;
  bool killed[WORKERS];
  bool busy;     /* a cancelled task is on every processor */
  size_t queued; /* before every worker */
};

static void answer_once(struct rpc_request *req)
{
  if (req->answered) abort();
  req->answered = true;
}

void rpc_reply(struct rpc_request *req, const void *data, size_t len)
{
  struct mp_reader r = {data, (const uint8_t *)data + len};
  if (mp_skip(&r) < 0 || r.at != r.end) abort(); /* one whole value */
  answer_once(req);
}

void rpc_drop(struct rpc_request *req)
{
  answer_once(req);
}

struct worker_process *workers_get(struct workers *p, int64_t index)
{
  return index < 1 || index > WORKERS ? NULL : &p->list[index - 1];
}

struct worker_process *workers_next(struct workers *p,
                                    const struct worker_process *w)
{
  return workers_get(p, w ? w->index + 1 : 1);
}

struct buf *workers_begin(struct worker_process *w)
{
  struct workers *p = w->workers;
  buf_clear(&p->frame);
  return w->alive ? &p->frame : NULL;
}

static struct kept **find_kept(struct workers *p,
                               const struct worker_process *w, int64_t session,
                               const uint8_t *key, size_t len)
{
  struct kept **at = &p->kept[w->index - 1];
  while (*at && ((*at)->session != session || (*at)->len != len ||
                 memcmp((*at)->key, key, len)))
    at = &(*at)->next;
  return at;
}

static void drop_kept(struct kept **at)
{
  struct kept *k = *at;
  *at = k->next;
  free(k);
}

static void keep(struct kept **at, int64_t session, const uint8_t *key,
                 size_t len)
{
  struct kept *k = calloc(1, sizeof(*k));
  if (!k || len > sizeof(k->key)) abort();
  k->session = session;
  k->len = len;
  memcpy(k->key, key, len);
  k->next = *at;
  *at = k;
}

static void drop_all(struct workers *p, struct worker_process *w,
                     int64_t session)
{
  struct kept **at = &p->kept[w->index - 1];
  while (*at) {
    if ((*at)->session == session)
      drop_kept(at);
    else
      at = &(*at)->next;
  }
}

/* Keeps the blobs that the worker would have. */
static void take_frame(struct workers *p, struct worker_process *w,
                       struct mp_reader *r)
{
  uint32_t count;
  const uint8_t *name, *key;
  size_t name_len, len;
  int64_t session, job;
  if (mp_read_array(r, &count) < 0 || mp_read_bytes(r, &name, &name_len) < 0 ||
      mp_read_int(r, &session) < 0)
    abort();
  bool is_blob = name_len == 4 && !memcmp(name, "blob", 4);
  bool is_drop = name_len == 4 && !memcmp(name, "drop", 4);
  bool is_work = name_len == 4 && !memcmp(name, "work", 4);
  if (name_len == 3 && !memcmp(name, "end", 3)) drop_all(p, w, session);
  if (is_work && mp_read_int(r, &job) < 0) abort();
  if (!is_blob && !is_drop && !is_work) return;
  if (mp_read_bytes(r, &key, &len) < 0) abort();
  struct kept **at = find_kept(p, w, session, key, len);
  if (is_blob == !!*at) abort(); /* twice, or not at all */
  if (is_blob) keep(at, session, key, len);
  if (is_drop) drop_kept(at);
}

int workers_end(struct worker_process *w)
{
  struct workers *p = w->workers;
  struct mp_reader r = {p->frame.data, p->frame.data + p->frame.len};
  if (p->frame.failed) return -1;
  if (mp_skip(&r) < 0 || r.at != r.end) abort();
  r.at = p->frame.data;
  take_frame(p, w, &r);
  return 0;
}

bool workers_is_queued(const void *w, uint64_t number)
{
  (void)w;
  return number % 2; /* some do */
}

size_t workers_unread(const struct worker_process *w)
{
  return w->workers->queued;
}

void workers_pause(struct workers *p, bool pause)
{
  (void)p, (void)pause;
}

void workers_kill(struct worker_process *w)
{
  w->workers->killed[w->index - 1] = true;
}

bool workers_kill_if_running(struct worker_process *w, int64_t session,
                             int64_t job, int64_t first, int64_t count)
{
  (void)session;
  if (job < 0 || first < 0 || count < 0) abort();
  if (!w->workers->busy) return false;
  workers_kill(w);
  return true;
}

/* ---- the steps ---- */

struct bed {
  struct workers workers;
  struct node node;
  struct rpc_request *requests;
};

static void ask(struct bed *b, uint32_t pipe, const uint8_t *data, size_t len)
{
  struct rpc_request *req = calloc(1, sizeof(*req));
  if (!req) abort();
  req->next = b->requests;
  b->requests = req;
  requests_on_request(&b->node, req, pipe, data, len);
}

/* A worker that was killed dies, and another takes its place. */
static void replace(struct bed *b, struct worker_process *w)
{
  int i = w->index - 1;
  struct worker_death death = {.signal = SIGKILL,
                               .why = b->workers.killed[i] ? "cancelled" : NULL,
                               .has_task = w->outstanding > 0,
                               .task = {.session = b->node.sessions.last_number,
                                        .job = 1,
                                        .id = 1,
                                        .attempt = 1}};
  b->workers.killed[i] = false;
  w->alive = false;
  worker_events.on_down(&b->node, w, &death);
  while (b->workers.kept[i]) drop_kept(&b->workers.kept[i]);
  w->outstanding = w->running = 0;
  w->generation++;
  w->alive = true;
  worker_events.on_up(&b->node, w);
}

static void check_session(const struct session *s)
{
  const struct outbox *o = &s->outbox;
  if ((o->bytes == 0) != TAILQ_EMPTY(&o->chunks)) abort();
  if (s->poll_count < 0 || s->poll_count > SESSION_MAX_POLLS) abort();
  if ((s->poll_count == 0) != TAILQ_EMPTY(&s->polls)) abort();
  if (s->poll_count && outbox_waits(o) && !s->expired) abort();
  if (s->missing_count < 0 || s->missing_count > SESSION_MAX_MISSING) abort();
  if ((s->blobs.bytes == 0) != !s->blobs.count) abort();
}

static void check(struct bed *b)
{
  int sessions = 0;
  for (struct session *s = b->node.sessions.first; s; s = s->next, sessions++)
    check_session(s);
  if (sessions != b->node.sessions.count) abort();
  for (int i = 0; i < WORKERS; i++) {
    struct worker_process *w = &b->workers.list[i];
    int64_t sum = 0;
    if (b->workers.killed[i]) replace(b, w);
    for (struct session *s = b->node.sessions.first; s; s = s->next) {
      if (s->workers[i].outstanding < 0) abort();
      sum += s->workers[i].outstanding;
    }
    if (w->outstanding != sum) abort();
  }
}

/* Whatever is waited for has taken long enough. */
static void expire(struct bed *b, uint8_t what)
{
  struct session *first = b->node.sessions.first;
  if (what % 4 == 0 && first) {
    first->lease = 0;
    b->node.sessions.timer.on_expire(&b->node.sessions.timer);
  } else if (what % 4 == 1 && first) {
    first->poll_timer.on_expire(&first->poll_timer);
  } else if (what % 4 >= 2) {
    struct worker_process *w = &b->workers.list[what / 4 % WORKERS];
    struct cancel *c;
    STAILQ_FOREACH (c, &w->cancels, link) c->due = 0;
    b->workers.busy = what % 4 == 2;
    if (w->cancel_count) b->node.cancel_timer.on_expire(&b->node.cancel_timer);
  }
}

static void step(struct bed *b, uint8_t what, const uint8_t *data, size_t len)
{
  struct worker_process *w = &b->workers.list[what / 8 % WORKERS];
  switch (what % 8) {
  case 0: worker_events.on_frame(&b->node, w, data, len); break;
  case 1: replace(b, w); break;
  case 2: requests_on_disconnect(&b->node, 1 + what / 8 % PIPES); break;
  case 3: expire(b, what / 8); break;
  case 4:
    if (what / 8 % 32 == 0) node_drain(&b->node);
    b->workers.queued = (size_t)(what / 8 % 4) << 28; /* past either limit */
    break;
  default: ask(b, 1 + what / 8 % PIPES, data, len);
  }
  check(b);
}

static void bed_open(struct bed *b, const struct serve_options *options)
{
  struct err e;
  memset(b, 0, sizeof(*b));
  struct loop *loop = loop_new(&e);
  if (!loop || node_init(&b->node, options, loop, &e) < 0) abort();
  b->node.workers = &b->workers;
  b->node.sessions.poll_timeout = 0; /* its timer is a step */
  buf_init(&b->workers.frame, PROTOCOL_MAX_FRAME);
  for (int i = 0; i < WORKERS; i++) {
    struct worker_process *w = &b->workers.list[i];
    *w = (struct worker_process){
        .index = i + 1, .generation = 1, .alive = true, .workers = &b->workers};
    not_begun_init(&w->not_begun);
    STAILQ_INIT(&w->cancels);
  }
}

static void bed_close(struct bed *b)
{
  struct session *s;
  b->workers.queued = 0;
  while ((s = b->node.sessions.first)) node_end_session(&b->node, s);
  for (int i = 0; i < WORKERS; i++) {
    if (b->workers.list[i].outstanding || b->workers.kept[i]) abort();
  }
  while (b->requests) {
    struct rpc_request *next = b->requests->next;
    if (!b->requests->answered) abort();
    free(b->requests);
    b->requests = next;
  }
  struct loop *loop = b->node.loop;
  node_free(&b->node);
  loop_free(loop);
  buf_free(&b->workers.frame);
}

/* Each step: what, two bytes of length, so many bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const struct serve_options options = {
      .name = "fuzz", .release = "fuzz", .workers = WORKERS};
  struct bed bed;
  log_init("fuzz", LOG_ERROR);
  bed_open(&bed, &options);
  while (size >= 3) {
    size_t len = (size_t)data[1] | (size_t)data[2] << 8;
    if (len > size - 3) len = size - 3;
    step(&bed, data[0], data + 3, len);
    data += 3 + len;
    size -= 3 + len;
  }
  bed_close(&bed);
  return 0;
}
