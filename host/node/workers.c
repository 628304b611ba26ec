/* SPDX-License-Identifier: MIT */
#include "node/workers.h"

#include "base/container.h"
#include "base/log.h"
#include "base/oom.h"
#include "event/frame.h"
#include "event/process.h"
#include "node/worker_cgroup.h"
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

/* A dead worker is replaced at once the first time, then after delays that
 * double while it keeps dying before STABLE_AFTER. */
#define RESTART_MIN (100 * LOOP_MS)
#define RESTART_MAX (5 * LOOP_S)
#define STABLE_AFTER (10 * LOOP_S)

/* A worker ends a task in time by itself. One that is still there this long
 * after its deadline cannot be ended from inside. */
#define GRACE (2 * LOOP_S)
/* How often workers that have tasks are polled. */
#define POLL_INTERVAL (250 * LOOP_MS)
/* Liveness timeout of a worker whose tasks are all waiting. It is pinged after
 * a third of the timeout and killed at the end. Counted in polls, so that a
 * node that stood still does not suspect its workers. */
#define FROZEN_AFTER (15 * LOOP_S)

struct workers {
  struct loop *loop;
  const struct serve_options *options;
  struct worker_events events;
  void *arg;
  struct loop_timer poll;
  uint64_t frozen_after; /* polls */
  int cgroup;            /* see worker_cgroup.h */
  bool guarded;          /* it should be that of moonfleet-workers.service */
  int count;
  bool closing;
  bool leaving; /* see workers_give_up */
  bool paused;
  uint64_t ended[METERS]; /* what workers have counted that have ended */
  uint64_t deaths[WORKERS_CAUSES];
  struct worker_process list[];
};

static void start_or_retry(struct worker_process *w);

/* ---- death ---- */

static void kill_worker(struct worker_process *w, const char *reason,
                        uint64_t turn)
{
  if (!w->alive || w->exited) return;
  w->killed = true;
  if (reason) {
    w->kill_reason = reason;
    w->kill_turn = turn;
  }
  kill(w->pid, SIGKILL);
}

static struct worker_death death_of(const struct worker_process *w)
{
  struct worker_death d = {0};
  uint64_t turn = task_page_read(w->page, &d.task);
  if (WIFSIGNALED(w->status)) d.signal = WTERMSIG(w->status);
  if (WIFEXITED(w->status)) d.code = WEXITSTATUS(w->status);
  d.has_task = turn != 0 && !w->workers->leaving;
  if (w->killed && w->workers->leaving)
    d.why = "draining";
  else if (w->kill_reason && turn == w->kill_turn)
    d.why = w->kill_reason;
  else if (w->killed && d.signal == SIGKILL)
    d.has_task = false; /* the task that ran is not the reason */
  else if (d.code == TASK_PAGE_EXIT_MEMORY ||
           (d.signal == SIGKILL && !w->killed && oom_kills() > w->oom_kills))
    d.why = "memory";
  return d;
}

static enum workers_cause cause_of(const struct worker_death *d)
{
  static const char *const causes[] = {[WORKERS_TIMEOUT] = "timeout",
                                       [WORKERS_CANCELLED] = "cancelled",
                                       [WORKERS_FROZEN] = "frozen",
                                       [WORKERS_MEMORY] = "memory"};
  int i = 0;
  while (i < WORKERS_CRASH && (!d->why || strcmp(d->why, causes[i]))) i++;
  return (enum workers_cause)i;
}

/* The worker is down once both its exit and the end of its channel have been
 * seen: what it wrote before dying counts. */
static void check_down(struct worker_process *w)
{
  struct workers *p = w->workers;
  if (!w->alive || !w->exited || !w->ended) return;
  w->alive = false;
  frame_close(w->channel);
  w->channel = NULL;
  struct worker_death death = death_of(w);
  log_warn("worker died", LOG_INT("worker", w->index),
           LOG_INT("worker_pid", w->pid), LOG_INT("signal", death.signal),
           LOG_INT("code", death.code), LOG_STR("why", death.why),
           LOG_INT("outstanding", w->outstanding));
  p->events.on_down(p->arg, w, &death);
  p->deaths[cause_of(&death)]++;
  task_page_sum(w->page, p->ended);
  task_page_free(w->page);
  w->page = NULL;
  w->outstanding = w->running = 0;
  if (loop_clock() - w->started > STABLE_AFTER) w->delay = 0;
  uint64_t delay = w->delay;
  w->delay = delay ? delay * 2 : RESTART_MIN;
  if (w->delay > RESTART_MAX) w->delay = RESTART_MAX;
  if (delay)
    loop_timer_set(p->loop, &w->restart, delay);
  else
    start_or_retry(w);
}

static void on_frame(void *arg, const uint8_t *data, size_t len)
{
  struct worker_process *w = arg;
  w->heard = true;
  w->workers->events.on_frame(w->workers->arg, w, data, len);
}

static void on_end(void *arg, const struct err *why)
{
  struct worker_process *w = arg;
  w->ended = true;
  if (strcmp(why->kind, "lost")) {
    log_error("protocol error on worker channel; killing worker",
              LOG_STR("error", why->text), LOG_INT("worker", w->index));
    kill_worker(w, NULL, 0);
  }
  /* In any case nothing can be sent to it any more. A worker that is exiting
   * keeps its own exit code: this is not what it dies of. */
  if (w->alive && !w->exited) kill(w->pid, SIGKILL);
  check_down(w);
}

static void on_drained(void *arg)
{
  struct worker_process *w = arg;
  w->workers->events.on_drained(w->workers->arg, w);
}

/* ---- tasks that do not end ---- */

/* The worker has tasks, none of which is on the processor at this poll. */
static void check_alive(struct worker_process *w)
{
  struct workers *p = w->workers;
  /* frames are not seen while the channel is not read */
  if (w->heard || p->paused) w->quiet = 0;
  w->heard = false;
  w->quiet++;
  if (w->quiet == (p->frozen_after + 2) / 3) p->events.on_quiet(p->arg, w);
  if (w->quiet <= p->frozen_after || w->killed) return;
  log_warn("worker gives no sign of life, killing it",
           LOG_INT("worker", w->index));
  kill_worker(w, "frozen", 0);
}

/* Returns whether the worker has tasks. */
static bool poll_worker(struct worker_process *w)
{
  struct task_identity t;
  if (!w->alive || !w->outstanding) {
    w->quiet = 0;
    return false;
  }
  uint64_t turn = task_page_read(w->page, &t);
  if (!turn) {
    check_alive(w);
    return true;
  }
  w->quiet = 0;
  if (t.deadline && loop_clock() >= t.deadline + GRACE && !w->killed) {
    log_warn("task does not end, killing its worker",
             LOG_INT("worker", w->index), LOG_INT("id", t.id));
    kill_worker(w, "timeout", turn);
  }
  return true;
}

static void on_poll(struct loop_timer *timer)
{
  struct workers *p = CONTAINER_OF(timer, struct workers, poll);
  bool busy = false;
  for (int i = 0; i < p->count; i++) busy |= poll_worker(&p->list[i]);
  if (busy) loop_timer_set(p->loop, &p->poll, POLL_INTERVAL);
}

bool workers_kill_if_running(struct worker_process *w, int64_t session,
                             int64_t job, int64_t first, int64_t count)
{
  struct task_identity t;
  if (!w->alive || w->killed) return false;
  uint64_t turn = task_page_read(w->page, &t);
  if (!turn || t.session != session) return false;
  bool in_range = t.id >= first && t.id - first < count;
  if (job && (t.job != job || (t.id && !in_range))) return false;
  log_warn("task does not stop, killing its worker",
           LOG_INT("worker", w->index), LOG_INT("id", t.id));
  kill_worker(w, "cancelled", turn);
  return true;
}

/* ---- starting ---- */

/* exec of this program as a worker, which finds `fd` at PROTOCOL_WORKER_FD and
 * `page` at TASK_PAGE_FD. */
static int spawn(struct worker_process *w, int fd, int page, struct err *e)
{
  static const char *const argv[] = {"moonfleet", "worker", NULL};
  char **environment = confine_environment();
  struct process_options options = {
      .file = PROCESS_SELF,
      .argv = argv,
      .environment = environment,
      /* what a job prints must not mix with results on our stdout */
      .descriptors = (int[]){2, 2, fd, page},
      .count = TASK_PAGE_FD,
  };
  int rv = environment ? process_start(&options, &w->pid) : ENOMEM;
  free(environment);
  return rv ? err_errno(e, "system", rv, "cannot start a worker (needs /proc)")
            : 0;
}

/* The first frame. */
static int send_options(struct worker_process *w, struct err *e)
{
  const struct serve_options *o = w->workers->options;
  struct buf *b = frame_begin(w->channel);
  mp_write_array(b, 13);
  mp_write_cstr(b, "options");
  mp_write_int(b, w->index);
  mp_write_int(b, w->generation);
  mp_write_int(b, getpid());
  mp_write_int(b, o->worker_memory);
  mp_write_int(b, log_level());
  mp_write_cstr(b, o->name);
  mp_write_cstr(b, o->lua_path ? o->lua_path : "");
  mp_write_cstr(b, o->allow_hosts ? o->allow_hosts : "");
  mp_write_cstr(b, o->modules ? o->modules : "");
  mp_write_cstr(b, o->path ? o->path : "");
  mp_write_cstr(b, o->cpath ? o->cpath : "");
  mp_write_int(b, w->workers->guarded && w->index == 1 && w->generation == 1);
  if (frame_end(w->channel) == 0) return 0;
  return err_set(e, "memory", "out of memory for a worker");
}

static int start(struct worker_process *w, struct err *e)
{
  static const struct frame_events events = {on_frame, on_end, on_drained};
  struct workers *p = w->workers;
  int fds[2], page = -1, rc = -1;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
    return err_errno(e, "system", errno, "socketpair");
  w->channel = frame_open(p->loop, fds[0], PROTOCOL_MAX_FRAME, &events, w, e);
  if (!w->channel) {
    close(fds[0]);
    goto out;
  }
  frame_pause(w->channel, p->paused);
  w->page = task_page_new(&page, e);
  w->generation++;
  w->oom_kills = oom_kills();
  if (w->page) rc = spawn(w, fds[1], page, e);
  if (rc == 0) {
    worker_cgroup_move(&p->cgroup, w->pid); /* before it begins to work */
    rc = send_options(w, e);
    if (rc < 0) {
      kill(w->pid, SIGKILL);
      waitpid(w->pid, NULL, 0);
    }
  }
out:
  close(fds[1]);
  if (page >= 0) close(page);
  if (rc < 0) {
    frame_close(w->channel);
    task_page_free(w->page);
    w->channel = NULL;
    w->page = NULL;
    return -1;
  }
  w->exited = w->ended = w->killed = false;
  w->kill_reason = NULL;
  w->quiet = 0;
  w->alive = true;
  w->started = loop_clock();
  log_info("worker started", LOG_INT("worker", w->index),
           LOG_INT("worker_pid", w->pid));
  return 0;
}

static void start_or_retry(struct worker_process *w)
{
  struct workers *p = w->workers;
  struct err e;
  if (p->closing || p->leaving) return;
  if (start(w, &e) == 0) {
    p->events.on_up(p->arg, w);
    return;
  }
  log_error(e.text, LOG_INT("worker", w->index));
  loop_timer_set(p->loop, &w->restart, RESTART_MAX);
}

static void on_restart(struct loop_timer *timer)
{
  start_or_retry(CONTAINER_OF(timer, struct worker_process, restart));
}

struct workers *workers_new(struct loop *loop,
                            const struct serve_options *options,
                            const struct worker_events *events, void *arg,
                            struct err *e)
{
  size_t count = (size_t)options->workers;
  struct workers *p = err_calloc(
      sizeof(*p) + count * sizeof(struct worker_process), "the workers", e);
  if (!p) return NULL;
  p->loop = loop;
  p->options = options;
  p->events = *events;
  p->arg = arg;
  p->poll.on_expire = on_poll;
  uint64_t frozen = options->frozen_after
                        ? (uint64_t)options->frozen_after * LOOP_MS
                        : FROZEN_AFTER;
  p->frozen_after = frozen / POLL_INTERVAL;
  if (p->frozen_after < 3) p->frozen_after = 3; /* it is pinged first */
  p->count = options->workers;
  p->cgroup = worker_cgroup_open(options->worker_cgroup);
  p->guarded = p->cgroup >= 0 && !strcmp(options->worker_cgroup, "stdout");
  for (int i = 0; i < p->count; i++) {
    struct worker_process *w = &p->list[i];
    w->workers = p;
    w->index = i + 1;
    not_begun_init(&w->not_begun);
    STAILQ_INIT(&w->cancels);
    w->restart.on_expire = on_restart;
    if (start(w, e) == 0) continue;
    workers_free(p);
    return NULL;
  }
  return p;
}

void workers_free(struct workers *p)
{
  if (!p) return;
  p->closing = true;
  loop_timer_clear(p->loop, &p->poll);
  for (int i = 0; i < p->count; i++) {
    struct worker_process *w = &p->list[i];
    loop_timer_clear(p->loop, &w->restart);
    if (w->alive && !w->exited) kill(w->pid, SIGKILL);
  }
  for (int i = 0; i < p->count; i++) {
    struct worker_process *w = &p->list[i];
    if (w->alive && !w->exited) waitpid(w->pid, NULL, 0);
    frame_close(w->channel);
    task_page_free(w->page);
  }
  if (p->cgroup >= 0) close(p->cgroup);
  free(p);
}

void workers_count(const struct workers *p, uint64_t totals[METERS],
                   uint64_t deaths[WORKERS_CAUSES])
{
  for (int i = 0; i < METERS; i++) totals[i] += p->ended[i];
  memcpy(deaths, p->deaths, sizeof(p->deaths));
  for (int i = 0; i < p->count; i++)
    if (p->list[i].page) task_page_sum(p->list[i].page, totals);
}

struct worker_process *workers_get(struct workers *p, int64_t index)
{
  return index < 1 || index > p->count ? NULL : &p->list[index - 1];
}

struct worker_process *workers_next(struct workers *p,
                                    const struct worker_process *w)
{
  return p ? workers_get(p, w ? w->index + 1 : 1) : NULL;
}

struct buf *workers_begin(struct worker_process *w)
{
  return w->alive && !w->ended ? frame_begin(w->channel) : NULL;
}

int workers_end(struct worker_process *w, const struct iovec *parts, int count)
{
  struct workers *p = w->workers;
  int rc = frame_end_with(w->channel, parts, count);
  /* the worker may have tasks from now on (if memory is out for a timer, the
   * next frame sets it) */
  if (rc == 0 && !p->poll.slot)
    loop_timer_set(p->loop, &p->poll, POLL_INTERVAL);
  return rc;
}

bool workers_is_queued(const void *worker, uint64_t number)
{
  const struct worker_process *w = worker;
  return task_page_is_queued(w->page, number);
}

size_t workers_unread(const struct worker_process *w)
{
  return w->channel ? frame_queued(w->channel) : 0;
}

void workers_pause(struct workers *p, bool pause)
{
  p->paused = pause;
  for (int i = 0; i < p->count; i++)
    if (p->list[i].channel) frame_pause(p->list[i].channel, pause);
}

void workers_give_up(struct workers *p)
{
  p->leaving = true;
  for (int i = 0; i < p->count; i++)
    if (p->list[i].outstanding) workers_kill(&p->list[i]);
}

void workers_kill(struct worker_process *w)
{
  kill_worker(w, NULL, 0);
}

void workers_reap(struct workers *p)
{
  for (int i = 0; i < p->count; i++) {
    struct worker_process *w = &p->list[i];
    if (!w->alive || w->exited) continue;
    if (waitpid(w->pid, &w->status, WNOHANG) != w->pid) continue;
    w->exited = true;
    check_down(w);
  }
}
