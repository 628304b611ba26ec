/* SPDX-License-Identifier: MIT */
/* libFuzzer: what drivers and workers may say to a node, in any order. serve.c
 * is included whole, over stand-ins for the network and for worker processes;
 * the input is a list of steps. Whatever it says, each request is answered or
 * dropped once, and a worker never seems to have fewer than no tasks. */
#include "serve.c" /* NOLINT: its inside is what is tested */

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORKERS = 2, PIPES = 3 };

/* ---- the stand-ins ---- */

struct rpc_request {
  struct rpc_request *next;
  bool answered;
};

struct pool {
  struct pool_worker workers[WORKERS];
  struct buf frame;
  bool killed[WORKERS];
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

bool rpc_is_local(const char *url)
{
  (void)url;
  return true;
}

struct rpc_server *rpc_listen(struct loop *loop, const char *const *urls,
                              const struct rpc_handlers *handlers, void *arg,
                              struct err *e)
{
  (void)loop, (void)urls, (void)handlers, (void)arg, (void)e;
  return NULL;
}

void rpc_server_close(struct rpc_server *server)
{
  (void)server;
}

struct pool *pool_new(struct loop *loop, const struct pool_options *options,
                      const struct pool_events *events, void *arg,
                      struct err *e)
{
  (void)loop, (void)options, (void)events, (void)arg, (void)e;
  return NULL;
}

void pool_free(struct pool *p)
{
  (void)p;
}

void pool_reap(struct pool *p)
{
  (void)p;
}

int pool_count(const struct pool *p)
{
  (void)p;
  return WORKERS;
}

struct pool_worker *pool_worker(struct pool *p, int64_t index)
{
  return index < 1 || index > WORKERS ? NULL : &p->workers[index - 1];
}

struct buf *pool_begin(struct pool *p, struct pool_worker *w)
{
  buf_clear(&p->frame);
  return w->alive ? &p->frame : NULL;
}

int pool_end(struct pool *p, struct pool_worker *w)
{
  (void)w;
  struct mp_reader r = {p->frame.data, p->frame.data + p->frame.len};
  if (p->frame.failed) return -1;
  if (mp_skip(&r) < 0 || r.at != r.end) abort();
  return 0;
}

void pool_pause(struct pool *p, bool pause)
{
  (void)p, (void)pause;
}

void pool_kill(struct pool *p, struct pool_worker *w)
{
  p->killed[w->index - 1] = true;
}

/* ---- the steps ---- */

struct bed {
  struct pool pool;
  struct node node;
  struct rpc_request *requests;
};

static void ask(struct bed *b, uint32_t pipe, const uint8_t *data, size_t len)
{
  struct rpc_request *req = calloc(1, sizeof(*req));
  if (!req) abort();
  req->next = b->requests;
  b->requests = req;
  on_request(&b->node, req, pipe, data, len);
}

/* A worker that was killed dies, and another takes its place. */
static void replace(struct bed *b, struct pool_worker *w)
{
  b->pool.killed[w->index - 1] = false;
  w->alive = false;
  on_worker_down(&b->node, w, SIGKILL, 0);
  w->outstanding = w->running = 0;
  w->generation++;
  w->alive = true;
  on_worker_up(&b->node, w);
}

static void check(struct bed *b)
{
  for (int i = 0; i < WORKERS; i++) {
    struct pool_worker *w = &b->pool.workers[i];
    int64_t sum = 0;
    if (b->pool.killed[i]) replace(b, w);
    for (struct session *s = b->node.sessions.first; s; s = s->next) {
      if (s->outstanding[i] < 0) abort();
      sum += s->outstanding[i];
    }
    if (w->outstanding != sum) abort();
  }
}

static void step(struct bed *b, uint8_t what, const uint8_t *data, size_t len)
{
  struct pool_worker *w = &b->pool.workers[what / 8 % WORKERS];
  switch (what % 8) {
  case 0: on_worker_frame(&b->node, w, data, len); break;
  case 1: replace(b, w); break;
  case 2: on_gone(&b->node, what / 8 % PIPES); break;
  case 3: on_cancel_timeout(&b->node.cancels[w->index - 1].timer); break;
  case 4:
    if (what / 8 % 32 == 0) drain(&b->node);
    break;
  default: ask(b, what / 8 % PIPES, data, len);
  }
  check(b);
}

static void bed_open(struct bed *b, const struct serve_options *options)
{
  struct err e;
  memset(b, 0, sizeof(*b));
  b->node.options = options;
  b->node.loop = loop_new(&e);
  b->node.pool = &b->pool;
  b->node.sessions.workers = WORKERS;
  b->node.leave.on_expire = on_leave;
  b->node.cancels = calloc(WORKERS, sizeof(*b->node.cancels));
  if (!b->node.loop || !b->node.cancels) abort();
  buf_init(&b->pool.frame, PROTOCOL_MAX_FRAME);
  for (int i = 0; i < WORKERS; i++) {
    b->pool.workers[i] =
        (struct pool_worker){.index = i + 1, .generation = 1, .alive = true};
    b->node.cancels[i] = (struct cancel_watch){
        {.on_expire = on_cancel_timeout}, &b->node, i + 1, 0};
  }
}

static void bed_close(struct bed *b)
{
  while (b->node.sessions.first) end_session(&b->node, b->node.sessions.first);
  for (int i = 0; i < WORKERS; i++)
    if (b->pool.workers[i].outstanding) abort();
  while (b->requests) {
    struct rpc_request *next = b->requests->next;
    if (!b->requests->answered) abort();
    free(b->requests);
    b->requests = next;
  }
  loop_timer_clear(b->node.loop, &b->node.leave);
  for (int i = 0; i < WORKERS; i++)
    loop_timer_clear(b->node.loop, &b->node.cancels[i].timer);
  loop_free(b->node.loop);
  free(b->node.cancels);
  buf_free(&b->pool.frame);
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
