/* SPDX-License-Identifier: MIT */
#include "node/workers.h"

#include "base/container.h"
#include "base/log.h"
#include "base/oom.h"
#include "event/frame.h"
#include "event/process.h"
#include "wire/msgpack.h"
#include "wire/protocol.h"
#include "wire/task_page.h"
#include "wrap/confine.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Delays before a dead worker is replaced: at once the first time, doubling
 * up to the last while it keeps dying young. */
#define RESTART_FIRST (100 * LOOP_MS)
#define RESTART_LAST (5 * LOOP_S)
#define GROWN_UP (10 * LOOP_S)

/* A task that its worker ends in time says so itself. One that is still there
 * this long after its deadline cannot be ended from inside. */
#define GRACE (2 * LOOP_S)
/* How often that is looked at while workers have tasks. */
#define LOOK (250 * LOOP_MS)
/* A worker whose tasks all wait says nothing. It is asked for a word after a
 * third of this, and killed after all of it. Counted in looks, not by the
 * clock: while the node itself stands still nobody else is late. */
#define FROZEN (15 * LOOP_S)

struct slot {
  struct pool_worker worker; /* first: a pool_worker * is a slot * */
  struct pool *pool;
  struct frame_channel *channel;
  struct task_page *page;
  struct loop_timer restart;
  uint64_t started, delay;
  int64_t oom_kills;  /* of the machine, when it started */
  bool exited, ended; /* waitpid has spoken; the channel has ended */
  int status;
  bool killed;     /* by us; then perhaps */
  const char *why; /* for a task, */
  uint64_t turn;   /* in this turn of it */
  bool spoke;      /* since the last look */
  uint64_t quiet;  /* looks without a word of it */
};

struct pool {
  struct loop *loop;
  const struct serve_options *options;
  struct pool_events events;
  void *arg;
  struct loop_timer look;
  uint64_t frozen; /* looks */
  int count;
  bool closing;
  bool paused;
  struct slot slots[];
};

static void start_or_retry(struct slot *s);

/* ---- death ---- */

static void kill_slot(struct slot *s)
{
  if (!s->worker.alive || s->exited) return;
  s->killed = true;
  kill(s->worker.pid, SIGKILL);
}

static struct pool_death death_of(const struct slot *s)
{
  struct pool_death d = {0};
  struct task_identity t;
  uint64_t turn = task_page_read(s->page, &t);
  if (WIFSIGNALED(s->status)) d.signal = WTERMSIG(s->status);
  if (WIFEXITED(s->status)) d.code = WEXITSTATUS(s->status);
  d.has_task = turn != 0;
  if (s->why && turn == s->turn)
    d.why = s->why;
  else if (s->killed && d.signal == SIGKILL)
    d.has_task = false; /* for another reason: who is there is innocent */
  else if (d.code == TASK_PAGE_EXIT_MEMORY ||
           (d.signal == SIGKILL && !s->killed && oom_kills() > s->oom_kills))
    d.why = "memory";
  if (!d.has_task) return d;
  d.session = t.session;
  d.job = t.job;
  d.id = t.id;
  d.attempt = t.attempt;
  return d;
}

/* The worker is down once both its exit and the end of its channel have been
 * seen: what it wrote before dying counts. */
static void check_down(struct slot *s)
{
  struct pool *p = s->pool;
  if (!s->worker.alive || !s->exited || !s->ended) return;
  s->worker.alive = false;
  frame_close(s->channel);
  s->channel = NULL;
  struct pool_death death = death_of(s);
  log_warn("worker died", LOG_INT("worker", s->worker.index),
           LOG_INT("worker_pid", s->worker.pid),
           LOG_INT("signal", death.signal), LOG_INT("code", death.code),
           LOG_STR("why", death.why),
           LOG_INT("outstanding", s->worker.outstanding));
  p->events.on_down(p->arg, &s->worker, &death);
  task_page_free(s->page);
  s->page = NULL;
  s->worker.outstanding = s->worker.running = 0;
  if (loop_clock() - s->started > GROWN_UP) s->delay = 0;
  uint64_t delay = s->delay;
  s->delay = delay ? delay * 2 : RESTART_FIRST;
  if (s->delay > RESTART_LAST) s->delay = RESTART_LAST;
  if (delay)
    loop_timer_set(p->loop, &s->restart, delay);
  else
    start_or_retry(s);
}

static void on_frame(void *arg, const uint8_t *data, size_t len)
{
  struct slot *s = arg;
  s->spoke = true;
  s->pool->events.on_frame(s->pool->arg, &s->worker, data, len);
}

static void on_end(void *arg, const struct err *why)
{
  struct slot *s = arg;
  s->ended = true;
  if (strcmp(why->kind, "lost")) {
    log_error("worker not understood, killing it", LOG_STR("error", why->text),
              LOG_INT("worker", s->worker.index));
    kill_slot(s);
  }
  /* Whatever the reason, nobody can talk to it any more. One that is exiting
   * keeps its own code: this is not what it dies of. */
  if (s->worker.alive && !s->exited) kill(s->worker.pid, SIGKILL);
  check_down(s);
}

/* ---- tasks that do not end ---- */

/* It has tasks, none of which was on the processor at this look. */
static void look_for_life(struct slot *s)
{
  struct pool *p = s->pool;
  /* what it says while we do not read is not heard */
  if (s->spoke || p->paused) s->quiet = 0;
  s->spoke = false;
  s->quiet++;
  if (s->quiet == (p->frozen + 2) / 3) p->events.on_quiet(p->arg, &s->worker);
  if (s->quiet <= p->frozen || s->killed) return;
  log_warn("worker gives no sign of life, killing it",
           LOG_INT("worker", s->worker.index));
  s->why = "frozen";
  s->turn = 0;
  kill_slot(s);
}

static void on_look(struct loop_timer *timer)
{
  struct pool *p = CONTAINER_OF(timer, struct pool, look);
  bool busy = false;
  uint64_t now = loop_clock();
  for (int i = 0; i < p->count; i++) {
    struct slot *s = &p->slots[i];
    struct task_identity t;
    if (!s->worker.alive || !s->worker.outstanding) {
      s->quiet = 0;
      continue;
    }
    busy = true;
    uint64_t turn = task_page_read(s->page, &t);
    if (turn)
      s->quiet = 0;
    else
      look_for_life(s);
    if (!turn || !t.deadline || now < t.deadline + GRACE || s->killed) continue;
    log_warn("task does not end, killing its worker",
             LOG_INT("worker", s->worker.index), LOG_INT("id", t.id));
    s->why = "timeout";
    s->turn = turn;
    kill_slot(s);
  }
  if (busy) loop_timer_set(p->loop, &p->look, LOOK);
}

bool pool_kill_if_running(struct pool *p, struct pool_worker *w,
                          int64_t session, int64_t job, int64_t first,
                          int64_t count)
{
  (void)p;
  struct slot *s = (struct slot *)w;
  struct task_identity t;
  if (!w->alive || s->killed) return false;
  uint64_t turn = task_page_read(s->page, &t);
  if (!turn || t.session != session) return false;
  bool in_range = t.id >= first && t.id - first < count;
  if (job && (t.job != job || (t.id && !in_range))) return false;
  log_warn("task does not stop, killing its worker",
           LOG_INT("worker", w->index), LOG_INT("id", t.id));
  s->why = "cancelled";
  s->turn = turn;
  kill_slot(s);
  return true;
}

/* ---- starting ---- */

/* exec of this program as a worker, which finds `fd` at PROTOCOL_WORKER_FD and
 * `page` at TASK_PAGE_FD. */
static int spawn(struct slot *s, int fd, int page, struct err *e)
{
  char *argv[] = {(char[]){"moonfleet"}, (char[]){"worker"}, NULL};
  char **environment = confine_environment();
  struct process_options options = {
      .file = PROCESS_SELF,
      .argv = argv,
      .environment = environment,
      /* what a job prints must not mix with results on our stdout */
      .descriptors = (int[]){2, 2, fd, page},
      .count = TASK_PAGE_FD,
  };
  int rv = environment ? process_start(&options, &s->worker.pid) : ENOMEM;
  free(environment);
  return rv ? err_errno(e, "system", rv, "cannot start a worker") : 0;
}

/* The first frame. */
static int send_options(struct slot *s, struct err *e)
{
  const struct serve_options *o = s->pool->options;
  struct buf *b = frame_begin(s->channel);
  mp_write_array(b, 8);
  mp_write_cstr(b, "options");
  mp_write_int(b, s->worker.index);
  mp_write_int(b, s->worker.generation);
  mp_write_int(b, getpid());
  mp_write_int(b, o->worker_memory);
  mp_write_int(b, log_level());
  mp_write_cstr(b, o->name);
  mp_write_cstr(b, o->lua_path ? o->lua_path : "");
  if (frame_end(s->channel) == 0) return 0;
  return err_set(e, "memory", "out of memory for a worker");
}

static int start(struct slot *s, struct err *e)
{
  static const struct frame_events events = {on_frame, on_end};
  struct pool *p = s->pool;
  int fds[2], page = -1, rc = -1;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
    return err_errno(e, "system", errno, "socketpair");
  s->channel = frame_open(p->loop, fds[0], PROTOCOL_MAX_FRAME, &events, s, e);
  if (!s->channel) {
    close(fds[0]);
    goto out;
  }
  frame_pause(s->channel, p->paused);
  s->page = task_page_new(&page, e);
  s->worker.generation++;
  s->oom_kills = oom_kills();
  if (s->page && send_options(s, e) == 0) rc = spawn(s, fds[1], page, e);
out:
  close(fds[1]);
  if (page >= 0) close(page);
  if (rc < 0) {
    frame_close(s->channel);
    task_page_free(s->page);
    s->channel = NULL;
    s->page = NULL;
    return -1;
  }
  s->exited = s->ended = s->killed = false;
  s->why = NULL;
  s->quiet = 0;
  s->worker.alive = true;
  s->started = loop_clock();
  log_info("worker started", LOG_INT("worker", s->worker.index),
           LOG_INT("worker_pid", s->worker.pid));
  return 0;
}

static void start_or_retry(struct slot *s)
{
  struct pool *p = s->pool;
  struct err e;
  if (p->closing) return;
  if (start(s, &e) == 0) {
    p->events.on_up(p->arg, &s->worker);
    return;
  }
  log_error(e.text, LOG_INT("worker", s->worker.index));
  loop_timer_set(p->loop, &s->restart, RESTART_LAST);
}

static void on_restart(struct loop_timer *timer)
{
  start_or_retry(CONTAINER_OF(timer, struct slot, restart));
}

struct pool *pool_new(struct loop *loop, const struct serve_options *options,
                      const struct pool_events *events, void *arg,
                      struct err *e)
{
  size_t count = (size_t)options->workers;
  struct pool *p = calloc(1, sizeof(*p) + count * sizeof(struct slot));
  if (!p) {
    err_set(e, "memory", "out of memory");
    return NULL;
  }
  p->loop = loop;
  p->options = options;
  p->events = *events;
  p->arg = arg;
  p->look.on_expire = on_look;
  uint64_t frozen = options->frozen_after
                        ? (uint64_t)options->frozen_after * LOOP_MS
                        : FROZEN;
  p->frozen = frozen / LOOK;
  if (p->frozen < 3) p->frozen = 3; /* first it is asked */
  p->count = options->workers;
  for (int i = 0; i < p->count; i++) {
    struct slot *s = &p->slots[i];
    s->pool = p;
    s->worker.index = i + 1;
    s->restart.on_expire = on_restart;
    if (start(s, e) == 0) continue;
    pool_free(p);
    return NULL;
  }
  return p;
}

void pool_free(struct pool *p)
{
  if (!p) return;
  p->closing = true;
  loop_timer_clear(p->loop, &p->look);
  for (int i = 0; i < p->count; i++) {
    struct slot *s = &p->slots[i];
    loop_timer_clear(p->loop, &s->restart);
    if (s->worker.alive && !s->exited) kill(s->worker.pid, SIGKILL);
  }
  for (int i = 0; i < p->count; i++) {
    struct slot *s = &p->slots[i];
    if (s->worker.alive && !s->exited) waitpid(s->worker.pid, NULL, 0);
    frame_close(s->channel);
    task_page_free(s->page);
  }
  free(p);
}

int pool_count(const struct pool *p)
{
  return p->count;
}

struct pool_worker *pool_worker(struct pool *p, int64_t index)
{
  return index < 1 || index > p->count ? NULL : &p->slots[index - 1].worker;
}

struct buf *pool_begin(struct pool *p, struct pool_worker *w)
{
  (void)p;
  struct slot *s = (struct slot *)w;
  return w->alive && !s->ended ? frame_begin(s->channel) : NULL;
}

int pool_end(struct pool *p, struct pool_worker *w)
{
  int rc = frame_end(((struct slot *)w)->channel);
  /* the worker may have tasks from now on (if memory is out for a timer, the
   * next frame sets it) */
  if (rc == 0 && !p->look.slot) loop_timer_set(p->loop, &p->look, LOOK);
  return rc;
}

bool pool_waits(const struct pool_worker *w, uint64_t number)
{
  return task_page_is_queued(((const struct slot *)w)->page, number);
}

size_t pool_queued(const struct pool *p, const struct pool_worker *w)
{
  (void)p;
  const struct slot *s = (const struct slot *)w;
  return s->channel ? frame_queued(s->channel) : 0;
}

void pool_pause(struct pool *p, bool pause)
{
  p->paused = pause;
  for (int i = 0; i < p->count; i++)
    if (p->slots[i].channel) frame_pause(p->slots[i].channel, pause);
}

void pool_kill(struct pool *p, struct pool_worker *w)
{
  (void)p;
  kill_slot((struct slot *)w);
}

void pool_reap(struct pool *p)
{
  for (int i = 0; i < p->count; i++) {
    struct slot *s = &p->slots[i];
    if (!s->worker.alive || s->exited) continue;
    if (waitpid(s->worker.pid, &s->status, WNOHANG) != s->worker.pid) continue;
    s->exited = true;
    check_down(s);
  }
}
