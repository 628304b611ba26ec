/* SPDX-License-Identifier: MIT */
#include "serve.h"

#include "log.h"
#include "loop.h"
#include "msgpack.h"
#include "pool.h"
#include "protocol.h"
#include "rpc.h"
#include "session.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* A cancelled worker that does not say so within this is killed. */
#define CANCEL_GRACE (2 * LOOP_S)
/* After the last record is fetched, for its reply to leave the socket. */
#define LINGER (100 * LOOP_MS)
/* A drained node whose driver does not fetch its records leaves after this. */
#define DRAIN_PATIENCE (5 * LOOP_S)
/* Above this many bytes of unfetched records, workers are not read. */
enum { MAX_UNFETCHED = 64 * 1024 * 1024 };
/* With what each may hold, below the requests that rpc can hold: a node that
 * holds as many as it can would hear nobody. */
enum { MAX_SESSIONS = 256 };

/* Per worker: cancellations it owes an answer to. */
struct cancel_watch {
  struct loop_timer timer;
  struct node *node;
  int64_t worker;
  int pending;
};

struct node {
  const struct serve_options *options;
  struct loop *loop;
  struct rpc_server *server;
  struct pool *pool;
  struct session_list sessions;
  struct cancel_watch *cancels; /* by worker index - 1 */
  struct loop_io signals;
  struct loop_timer leave;
  uint8_t boot[8];
  bool draining, paused;
};

/* ---- records of the node itself ---- */

static void end_session(struct node *n, struct session *s);

static void push(struct node *n, struct session *s, struct buf *b)
{
  if (b->failed || session_push(s, b->data, b->len) < 0) {
    log_error("out of memory for records, session ended");
    end_session(n, s);
  }
  buf_free(b);
}

/* The head of a record of `name` about `worker`; then a map of `fields`. */
static struct buf record(const char *name, int64_t worker, size_t fields)
{
  struct buf b;
  buf_init(&b, 4096);
  mp_write_array(&b, 4);
  mp_write_int(&b, 0);
  mp_write_cstr(&b, name);
  mp_write_int(&b, worker);
  mp_write_map(&b, fields);
  return b;
}

static void put_int(struct buf *b, const char *key, int64_t value)
{
  mp_write_cstr(b, key);
  mp_write_int(b, value);
}

static void put_str(struct buf *b, const char *key, const char *value)
{
  mp_write_cstr(b, key);
  mp_write_cstr(b, value);
}

static void tell_worker(struct node *n, const struct pool_worker *w,
                        const char *state, int sig, int code)
{
  for (struct session *s = n->sessions.first, *next; s; s = next) {
    next = s->next;
    struct buf b = record("worker", w->index, 4);
    put_int(&b, "generation", w->generation);
    put_str(&b, "state", state);
    put_int(&b, "signal", sig);
    put_int(&b, "code", code);
    push(n, s, &b);
  }
}

/* ---- draining and leaving ---- */

static const char *state_name(const struct node *n)
{
  return n->draining ? "draining" : "ready";
}

static void on_leave(struct loop_timer *timer)
{
  struct node *n =
      (struct node *)((char *)timer - offsetof(struct node, leave));
  loop_stop(n->loop);
}

/* When draining: leave once nothing runs and every record has been fetched. */
static void check_drained(struct node *n)
{
  if (!n->draining) return;
  bool unfetched = false;
  for (int i = 1; i <= pool_count(n->pool); i++)
    if (pool_worker(n->pool, i)->outstanding) return;
  for (struct session *s = n->sessions.first; s; s = s->next)
    unfetched |= s->first != NULL;
  loop_timer_set(n->loop, &n->leave, unfetched ? DRAIN_PATIENCE : LINGER);
}

static void drain(struct node *n)
{
  if (n->draining || n->options->parent) { /* a private node has no guests */
    loop_stop(n->loop);
    return;
  }
  n->draining = true;
  log_info("draining");
  for (struct session *s = n->sessions.first, *next; s; s = next) {
    next = s->next;
    struct buf b = record("state", 0, 1);
    put_str(&b, "state", "draining");
    push(n, s, &b);
  }
  check_drained(n);
}

/* Workers are not read while drivers leave too many records behind: the
 * socket fills, and the worker stops starting tasks. */
static void check_pause(struct node *n)
{
  size_t bytes = 0;
  for (struct session *s = n->sessions.first; s; s = s->next) bytes += s->bytes;
  bool pause = bytes > MAX_UNFETCHED;
  if (pause == n->paused) return;
  n->paused = pause;
  pool_pause(n->pool, pause);
}

/* ---- workers ---- */

static void on_out(struct node *n, struct pool_worker *w, struct mp_reader *r)
{
  int64_t number, ended;
  const uint8_t *data;
  size_t len;
  if (mp_read_int(r, &number) < 0 || mp_read_int(r, &ended) < 0 ||
      mp_read_bytes(r, &data, &len) < 0) {
    pool_kill(n->pool, w);
    return;
  }
  struct session *s = session_numbered(&n->sessions, number);
  if (!s) return; /* ended meanwhile, and its tasks discounted then */
  if (ended < 0 || ended > s->outstanding[w->index - 1]) {
    pool_kill(n->pool, w);
    return;
  }
  w->outstanding -= ended;
  s->outstanding[w->index - 1] -= ended;
  if (session_push(s, data, len) < 0) {
    log_error("out of memory for records, session ended");
    end_session(n, s);
  }
  check_pause(n);
  check_drained(n);
}

static void on_running(struct node *n, struct pool_worker *w,
                       struct mp_reader *r)
{
  int64_t running;
  if (mp_read_int(r, &running) < 0 || running < 0)
    pool_kill(n->pool, w);
  else
    w->running = running;
}

static void on_ended(struct node *n, struct pool_worker *w)
{
  struct cancel_watch *c = &n->cancels[w->index - 1];
  if (c->pending && --c->pending == 0) loop_timer_clear(n->loop, &c->timer);
}

static void on_cancel_timeout(struct loop_timer *timer)
{
  struct cancel_watch *c = (struct cancel_watch *)timer;
  log_warn("worker does not stop, killing it", LOG_INT("worker", c->worker));
  pool_kill(c->node->pool, pool_worker(c->node->pool, c->worker));
}

static void on_worker_frame(void *arg, struct pool_worker *w,
                            const uint8_t *data, size_t len)
{
  struct node *n = arg;
  struct mp_reader r = {data, data + len};
  uint32_t count;
  const uint8_t *name;
  size_t name_len;
  if (mp_read_array(&r, &count) < 0 || mp_read_bytes(&r, &name, &name_len) < 0)
    pool_kill(n->pool, w);
  else if (name_len == 3 && !memcmp(name, "out", 3))
    on_out(n, w, &r);
  else if (name_len == 5 && !memcmp(name, "ended", 5))
    on_ended(n, w);
  else if (name_len == 7 && !memcmp(name, "running", 7))
    on_running(n, w, &r);
}

static void on_worker_up(void *arg, struct pool_worker *w)
{
  tell_worker(arg, w, "up", 0, 0);
}

static void on_worker_down(void *arg, struct pool_worker *w, int sig, int code)
{
  struct node *n = arg;
  struct cancel_watch *c = &n->cancels[w->index - 1];
  c->pending = 0;
  loop_timer_clear(n->loop, &c->timer);
  for (struct session *s = n->sessions.first; s; s = s->next)
    s->outstanding[w->index - 1] = 0;
  w->outstanding = 0;
  tell_worker(n, w, "down", sig, code);
  check_drained(n);
}

/* ---- sessions ---- */

/* Cancels the session's tasks everywhere and forgets it. */
static void end_session(struct node *n, struct session *s)
{
  for (int i = 1; i <= pool_count(n->pool); i++) {
    struct pool_worker *w = pool_worker(n->pool, i);
    struct buf *b = pool_begin(n->pool, w);
    if (!b) continue;
    mp_write_array(b, 2);
    mp_write_cstr(b, "end");
    mp_write_int(b, s->number);
    pool_end(n->pool, w);
    struct cancel_watch *c = &n->cancels[i - 1];
    c->pending++;
    if (s->outstanding[i - 1] && !c->timer.slot)
      loop_timer_set(n->loop, &c->timer, CANCEL_GRACE);
    w->outstanding -= s->outstanding[i - 1];
  }
  session_free(&n->sessions, s);
  check_pause(n);
  check_drained(n);
}

static void on_gone(void *arg, uint32_t pipe)
{
  struct node *n = arg;
  for (struct session *s = n->sessions.first, *next; s; s = next) {
    next = s->next;
    if (s->pipe == pipe) end_session(n, s);
  }
}

/* ---- requests ---- */

static void reply_error(struct rpc_request *req, const char *kind,
                        const char *text)
{
  struct buf b;
  buf_init(&b, 4096);
  mp_write_array(&b, 3);
  mp_write_cstr(&b, "error");
  mp_write_cstr(&b, kind);
  mp_write_cstr(&b, text);
  rpc_reply(req, b.data, b.len);
  buf_free(&b);
}

static void on_status(struct node *n, struct rpc_request *req)
{
  struct buf b;
  int count = pool_count(n->pool);
  int64_t running = 0, queued = 0;
  buf_init(&b, 1024 * 1024);
  mp_write_array(&b, 2);
  mp_write_cstr(&b, "status");
  mp_write_map(&b, 9);
  put_int(&b, "protocol", PROTOCOL_VERSION);
  put_str(&b, "release", n->options->release);
  put_str(&b, "name", n->options->name);
  mp_write_cstr(&b, "boot");
  mp_write_bin(&b, n->boot, sizeof(n->boot));
  put_int(&b, "pid", getpid());
  put_str(&b, "state", state_name(n));
  mp_write_cstr(&b, "workers");
  mp_write_array(&b, (size_t)count);
  for (int i = 1; i <= count; i++) {
    const struct pool_worker *w = pool_worker(n->pool, i);
    mp_write_array(&b, 2);
    mp_write_int(&b, i);
    mp_write_int(&b, w->alive ? w->generation : 0);
    running += w->outstanding < w->running ? w->outstanding : w->running;
    queued += w->outstanding;
  }
  put_int(&b, "running", running);
  put_int(&b, "queued", queued - running);
  rpc_reply(req, b.data, b.len);
  buf_free(&b);
}

/* One batch of a work request, as it stands in the message. */
struct batch {
  int64_t worker, generation, first, count, attempt;
  const uint8_t *job, *items;
  size_t job_len, items_len;
};

static int read_batch(struct mp_reader *r, struct batch *b)
{
  uint32_t n;
  if (mp_read_array(r, &n) < 0 || n != 7 || mp_read_int(r, &b->worker) < 0 ||
      mp_read_int(r, &b->generation) < 0 ||
      mp_read_bytes(r, &b->job, &b->job_len) < 0 ||
      mp_read_int(r, &b->first) < 0 || mp_read_int(r, &b->count) < 0 ||
      mp_read_int(r, &b->attempt) < 0 ||
      mp_read_bytes(r, &b->items, &b->items_len) < 0)
    return -1;
  /* ids are positive: 0 marks records of the node */
  if (b->first < 1 || b->count < 1 || (uint64_t)b->count > b->items_len ||
      b->first > INT64_MAX - b->count)
    return -1;
  return 0;
}

static void refuse(struct node *n, struct session *s, const struct batch *b,
                   const struct pool_worker *w, const char *why)
{
  bool alive = w && w->alive;
  struct buf out = record("refused", b->worker, alive ? 5 : 4);
  put_int(&out, "first", b->first);
  put_int(&out, "count", b->count);
  put_int(&out, "attempt", b->attempt);
  put_str(&out, "why", why);
  if (alive) put_int(&out, "generation", w->generation);
  push(n, s, &out);
}

static int send_job(struct node *n, struct session *s, struct session_job *j,
                    struct pool_worker *w)
{
  if (j->sent[w->index - 1] == w->generation) return 0;
  struct buf *f = pool_begin(n->pool, w);
  if (!f) return -1;
  mp_write_array(f, 4);
  mp_write_cstr(f, "job");
  mp_write_int(f, s->number);
  mp_write_bin(f, j->key, j->key_len);
  mp_write_bin(f, j->definition, j->definition_len);
  if (pool_end(n->pool, w) < 0) return -1;
  j->sent[w->index - 1] = w->generation;
  return 0;
}

static int send_batch(struct node *n, struct session *s, const struct batch *b,
                      struct pool_worker *w)
{
  struct buf *f = pool_begin(n->pool, w);
  if (!f) return -1;
  mp_write_array(f, 7);
  mp_write_cstr(f, "work");
  mp_write_int(f, s->number);
  mp_write_bin(f, b->job, b->job_len);
  mp_write_int(f, b->first);
  mp_write_int(f, b->count);
  mp_write_int(f, b->attempt);
  mp_write_bin(f, b->items, b->items_len);
  if (pool_end(n->pool, w) < 0) return -1;
  w->outstanding += b->count;
  s->outstanding[w->index - 1] += b->count;
  return 0;
}

static void route(struct node *n, struct session *s, const struct batch *b)
{
  struct session_job *j = session_job(s, b->job, b->job_len);
  struct pool_worker *w = pool_worker(n->pool, b->worker);
  if (n->draining)
    refuse(n, s, b, w, "draining");
  else if (!j || !w || !w->alive || w->generation != b->generation ||
           send_job(n, s, j, w) < 0 || send_batch(n, s, b, w) < 0)
    refuse(n, s, b, w, "gone");
}

static int read_jobs(struct node *n, struct session *s, struct mp_reader *r)
{
  uint32_t count, pair;
  const uint8_t *key, *definition;
  size_t key_len, definition_len;
  if (mp_read_array(r, &count) < 0) return -1;
  while (count--) {
    if (mp_read_array(r, &pair) < 0 || pair != 2 ||
        mp_read_bytes(r, &key, &key_len) < 0 ||
        mp_read_bytes(r, &definition, &definition_len) < 0)
      return -1;
    if (session_add_job(&n->sessions, s, key, key_len, definition,
                        definition_len) < 0)
      return -1;
  }
  return 0;
}

/* ["work", version, session, jobs, batches], read up to the version. */
static void on_work(struct node *n, struct rpc_request *req, uint32_t pipe,
                    struct mp_reader *r)
{
  const uint8_t *key;
  size_t key_len;
  uint32_t count;
  struct batch b;
  if (mp_read_bytes(r, &key, &key_len) < 0 ||
      key_len != PROTOCOL_SESSION_SIZE) {
    reply_error(req, "protocol", "malformed session");
    return;
  }
  struct session *s = session_find(&n->sessions, key);
  if (!s && n->sessions.count >= MAX_SESSIONS) {
    reply_error(req, "refused", "too many sessions on this node");
    return;
  }
  if (!s) s = session_new(&n->sessions, key, pipe);
  if (!s) {
    reply_error(req, "memory", "out of memory for a session");
    return;
  }
  if (s->pipe != pipe) {
    reply_error(req, "refused", "the session belongs to another connection");
    return;
  }
  int64_t number = s->number;
  if (read_jobs(n, s, r) < 0 || mp_read_array(r, &count) < 0) goto malformed;
  while (count--) {
    if (read_batch(r, &b) < 0) goto malformed;
    route(n, s, &b);
    /* out of memory for a refusal ends the session */
    if (!session_numbered(&n->sessions, number)) goto malformed;
  }
  session_hold(s, req);
  check_pause(n);
  return;
malformed:
  reply_error(req, "protocol", "malformed work, or out of memory");
}

static void on_request(void *arg, struct rpc_request *req, uint32_t pipe,
                       const uint8_t *data, size_t len)
{
  struct node *n = arg;
  struct mp_reader r = {data, data + len};
  uint32_t count;
  const uint8_t *name, *key;
  size_t name_len, key_len;
  int64_t version;
  if (mp_read_array(&r, &count) < 0 ||
      mp_read_bytes(&r, &name, &name_len) < 0 ||
      mp_read_int(&r, &version) < 0) {
    reply_error(req, "protocol", "not a moonfleet message");
  } else if (name_len == 6 && !memcmp(name, "status", 6)) {
    on_status(n, req);
  } else if (version != PROTOCOL_VERSION) {
    reply_error(req, "skew", "this node speaks another protocol version");
  } else if (name_len == 4 && !memcmp(name, "work", 4)) {
    on_work(n, req, pipe, &r);
  } else if (name_len == 3 && !memcmp(name, "end", 3) &&
             mp_read_bytes(&r, &key, &key_len) == 0 &&
             key_len == PROTOCOL_SESSION_SIZE) {
    struct session *s = session_find(&n->sessions, key);
    if (s) end_session(n, s);
    static const uint8_t ended[] = {0x91, 0xa5, 'e', 'n', 'd', 'e', 'd'};
    rpc_reply(req, ended, sizeof(ended));
  } else {
    reply_error(req, "protocol", "unknown message");
  }
}

/* ---- the program ---- */

static void on_signal(struct loop_io *io, uint32_t events)
{
  (void)events;
  struct node *n = (struct node *)((char *)io - offsetof(struct node, signals));
  struct signalfd_siginfo info;
  while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo == SIGCHLD)
      pool_reap(n->pool);
    else
      drain(n);
  }
}

static int watch_signals(struct node *n, struct err *e)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  n->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  n->signals.on_ready = on_signal;
  if (n->signals.fd < 0) return err_errno(e, "system", errno, "signalfd");
  return loop_io_add(n->loop, &n->signals, EPOLLIN, e);
}

static int check_listen(const struct serve_options *o, struct err *e)
{
  for (const char *const *url = o->listen; *url; url++)
    if (!rpc_is_local(*url))
      return err_set(e, "usage",
                     "cannot listen on %s: without TLS a node accepts loopback "
                     "and ipc addresses only (tcp://127.0.0.1:5440)",
                     *url);
  return 0;
}

static int start(struct node *n, struct err *e)
{
  static const struct pool_events pool_events = {on_worker_frame, on_worker_up,
                                                 on_worker_down};
  static const struct rpc_handlers handlers = {on_request, on_gone};
  const struct serve_options *o = n->options;
  /* a node that only this machine reaches may let jobs reach it back */
  struct pool_options pool = {
      .count = o->workers, .allow_loopback = true, .lua_path = o->lua_path};
  n->cancels = calloc((size_t)o->workers, sizeof(*n->cancels));
  if (!n->cancels) return err_set(e, "memory", "out of memory");
  for (int i = 0; i < o->workers; i++) {
    n->cancels[i].timer.on_expire = on_cancel_timeout;
    n->cancels[i].node = n;
    n->cancels[i].worker = i + 1;
  }
  if (getrandom(n->boot, sizeof(n->boot), 0) < 0)
    return err_errno(e, "system", errno, "getrandom");
  if (check_listen(o, e) < 0) return -1;
  n->loop = loop_new(e);
  if (!n->loop || watch_signals(n, e) < 0) return -1;
  n->server = rpc_listen(n->loop, o->listen, &handlers, n, e);
  if (!n->server) return -1;
  n->pool = pool_new(n->loop, &pool, &pool_events, n, e);
  return n->pool ? 0 : -1;
}

/* A private node's socket lies in a folder made for it; when its driver was
 * killed nobody else is left to remove that. */
static void remove_folder(const struct serve_options *o)
{
  char folder[128];
  const char *url = o->listen[0];
  if (!o->parent || strncmp(url, "ipc://", 6)) return;
  snprintf(folder, sizeof(folder), "%s", url + 6);
  char *slash = strrchr(folder, '/');
  if (!slash) return;
  unlink(folder);
  *slash = 0;
  rmdir(folder); /* only ever an empty one */
}

static void finish(struct node *n)
{
  while (n->sessions.first) session_free(&n->sessions, n->sessions.first);
  rpc_server_close(n->server);
  if (n->loop) {
    loop_timer_clear(n->loop, &n->leave);
    for (int i = 0; n->pool && i < pool_count(n->pool); i++)
      loop_timer_clear(n->loop, &n->cancels[i].timer);
    if (n->signals.fd > 0) {
      loop_io_remove(n->loop, &n->signals);
      close(n->signals.fd);
    }
  }
  pool_free(n->pool);
  loop_free(n->loop);
  free(n->cancels);
  remove_folder(n->options);
}

int serve_run(const struct serve_options *options, struct err *e)
{
  struct node n = {.options = options, .leave = {.on_expire = on_leave}};
  n.sessions.workers = options->workers;
  if (options->parent) {
    /* die with the driver; and if it died before this line, now */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != options->parent) {
      remove_folder(options);
      return 0;
    }
  }
  int rc = start(&n, e);
  if (rc == 0) {
    for (const char *const *url = options->listen; *url; url++)
      log_info("node ready", LOG_STR("name", options->name),
               LOG_STR("address", *url), LOG_INT("workers", options->workers),
               LOG_STR("release", options->release));
    if (options->ready_fd >= 0) {
      if (write(options->ready_fd, "ready\n", 6) < 0)
        log_warn("nobody waits for the node to be ready");
      close(options->ready_fd);
    }
    rc = loop_run(n.loop, e);
  }
  finish(&n);
  if (rc == 0) log_info("node stopped", LOG_STR("name", options->name));
  return rc;
}
