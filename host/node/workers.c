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
 * node that stood still does not blame its workers. */
#define FROZEN_AFTER (15 * LOOP_S)

struct slot {
  struct worker_process worker; /* first: a worker_process * is a slot * */
  struct workers *workers;
  struct frame_channel *channel;
  struct task_page *page;
  struct loop_timer restart;
  uint64_t started, delay;
  int64_t oom_kills;  /* of the machine, when it started */
  bool exited, ended; /* it was reaped; its channel has ended */
  int status;
  bool killed;             /* by us */
  const char *kill_reason; /* NULL unless the kill is charged to a task */
  uint64_t kill_turn;      /* the turn of the task page that was killed */
  bool heard;              /* a frame has come since the last poll */
  uint64_t quiet;          /* polls without a frame */
};

struct workers {
  struct loop *loop;
  const struct serve_options *options;
  struct worker_events events;
  void *arg;
  struct loop_timer poll;
  uint64_t frozen_after; /* polls */
  int count;
  bool closing;
  bool paused;
  struct slot slots[];
};

static void start_or_retry(struct slot *s);

static struct slot *slot_of(struct worker_process *w)
{
  return CONTAINER_OF(w, struct slot, worker);
}

/* ---- death ---- */

static void kill_slot(struct slot *s, const char *reason, uint64_t turn)
{
  if (!s->worker.alive || s->exited) return;
  s->killed = true;
  if (reason) {
    s->kill_reason = reason;
    s->kill_turn = turn;
  }
  kill(s->worker.pid, SIGKILL);
}

static struct worker_death death_of(const struct slot *s)
{
  struct worker_death d = {0};
  struct task_identity t;
  uint64_t turn = task_page_read(s->page, &t);
  if (WIFSIGNALED(s->status)) d.signal = WTERMSIG(s->status);
  if (WIFEXITED(s->status)) d.code = WEXITSTATUS(s->status);
  d.has_task = turn != 0;
  if (s->kill_reason && turn == s->kill_turn)
    d.why = s->kill_reason;
  else if (s->killed && d.signal == SIGKILL)
    d.has_task = false; /* the task that ran is not the reason */
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
  struct workers *p = s->workers;
  if (!s->worker.alive || !s->exited || !s->ended) return;
  s->worker.alive = false;
  frame_close(s->channel);
  s->channel = NULL;
  struct worker_death death = death_of(s);
  log_warn("worker died", LOG_INT("worker", s->worker.index),
           LOG_INT("worker_pid", s->worker.pid),
           LOG_INT("signal", death.signal), LOG_INT("code", death.code),
           LOG_STR("why", death.why),
           LOG_INT("outstanding", s->worker.outstanding));
  p->events.on_down(p->arg, &s->worker, &death);
  task_page_free(s->page);
  s->page = NULL;
  s->worker.outstanding = s->worker.running = 0;
  if (loop_clock() - s->started > STABLE_AFTER) s->delay = 0;
  uint64_t delay = s->delay;
  s->delay = delay ? delay * 2 : RESTART_MIN;
  if (s->delay > RESTART_MAX) s->delay = RESTART_MAX;
  if (delay)
    loop_timer_set(p->loop, &s->restart, delay);
  else
    start_or_retry(s);
}

static void on_frame(void *arg, const uint8_t *data, size_t len)
{
  struct slot *s = arg;
  s->heard = true;
  s->workers->events.on_frame(s->workers->arg, &s->worker, data, len);
}

static void on_end(void *arg, const struct err *why)
{
  struct slot *s = arg;
  s->ended = true;
  if (strcmp(why->kind, "lost")) {
    log_error("protocol error on worker channel; killing worker",
              LOG_STR("error", why->text), LOG_INT("worker", s->worker.index));
    kill_slot(s, NULL, 0);
  }
  /* In any case nothing can be sent to it any more. A worker that is exiting
   * keeps its own exit code: this is not what it dies of. */
  if (s->worker.alive && !s->exited) kill(s->worker.pid, SIGKILL);
  check_down(s);
}

/* ---- tasks that do not end ---- */

/* The worker has tasks, none of which is on the processor at this poll. */
static void check_alive(struct slot *s)
{
  struct workers *p = s->workers;
  /* frames are not seen while the channel is not read */
  if (s->heard || p->paused) s->quiet = 0;
  s->heard = false;
  s->quiet++;
  if (s->quiet == (p->frozen_after + 2) / 3)
    p->events.on_quiet(p->arg, &s->worker);
  if (s->quiet <= p->frozen_after || s->killed) return;
  log_warn("worker gives no sign of life, killing it",
           LOG_INT("worker", s->worker.index));
  kill_slot(s, "frozen", 0);
}

/* Returns whether the worker has tasks. */
static bool poll_worker(struct slot *s)
{
  struct task_identity t;
  if (!s->worker.alive || !s->worker.outstanding) {
    s->quiet = 0;
    return false;
  }
  uint64_t turn = task_page_read(s->page, &t);
  if (!turn) {
    check_alive(s);
    return true;
  }
  s->quiet = 0;
  if (t.deadline && loop_clock() >= t.deadline + GRACE && !s->killed) {
    log_warn("task does not end, killing its worker",
             LOG_INT("worker", s->worker.index), LOG_INT("id", t.id));
    kill_slot(s, "timeout", turn);
  }
  return true;
}

static void on_poll(struct loop_timer *timer)
{
  struct workers *p = CONTAINER_OF(timer, struct workers, poll);
  bool busy = false;
  for (int i = 0; i < p->count; i++) busy |= poll_worker(&p->slots[i]);
  if (busy) loop_timer_set(p->loop, &p->poll, POLL_INTERVAL);
}

bool workers_kill_if_running(struct worker_process *w, int64_t session,
                             int64_t job, int64_t first, int64_t count)
{
  struct slot *s = slot_of(w);
  struct task_identity t;
  if (!w->alive || s->killed) return false;
  uint64_t turn = task_page_read(s->page, &t);
  if (!turn || t.session != session) return false;
  bool in_range = t.id >= first && t.id - first < count;
  if (job && (t.job != job || (t.id && !in_range))) return false;
  log_warn("task does not stop, killing its worker",
           LOG_INT("worker", w->index), LOG_INT("id", t.id));
  kill_slot(s, "cancelled", turn);
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
  const struct serve_options *o = s->workers->options;
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
  struct workers *p = s->workers;
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
  s->kill_reason = NULL;
  s->quiet = 0;
  s->worker.alive = true;
  s->started = loop_clock();
  log_info("worker started", LOG_INT("worker", s->worker.index),
           LOG_INT("worker_pid", s->worker.pid));
  return 0;
}

static void start_or_retry(struct slot *s)
{
  struct workers *p = s->workers;
  struct err e;
  if (p->closing) return;
  if (start(s, &e) == 0) {
    p->events.on_up(p->arg, &s->worker);
    return;
  }
  log_error(e.text, LOG_INT("worker", s->worker.index));
  loop_timer_set(p->loop, &s->restart, RESTART_MAX);
}

static void on_restart(struct loop_timer *timer)
{
  start_or_retry(CONTAINER_OF(timer, struct slot, restart));
}

struct workers *workers_new(struct loop *loop,
                            const struct serve_options *options,
                            const struct worker_events *events, void *arg,
                            struct err *e)
{
  size_t count = (size_t)options->workers;
  struct workers *p = calloc(1, sizeof(*p) + count * sizeof(struct slot));
  if (!p) {
    err_set(e, "memory", "out of memory");
    return NULL;
  }
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
  for (int i = 0; i < p->count; i++) {
    struct slot *s = &p->slots[i];
    s->workers = p;
    s->worker.index = i + 1;
    STAILQ_INIT(&s->worker.cancels);
    s->restart.on_expire = on_restart;
    if (start(s, e) == 0) continue;
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

struct worker_process *workers_get(struct workers *p, int64_t index)
{
  return index < 1 || index > p->count ? NULL : &p->slots[index - 1].worker;
}

struct worker_process *workers_next(struct workers *p,
                                    const struct worker_process *w)
{
  return p ? workers_get(p, w ? w->index + 1 : 1) : NULL;
}

struct buf *workers_begin(struct worker_process *w)
{
  const struct slot *s = slot_of(w);
  return w->alive && !s->ended ? frame_begin(s->channel) : NULL;
}

int workers_end(struct worker_process *w)
{
  struct workers *p = slot_of(w)->workers;
  int rc = frame_end(slot_of(w)->channel);
  /* the worker may have tasks from now on (if memory is out for a timer, the
   * next frame sets it) */
  if (rc == 0 && !p->poll.slot)
    loop_timer_set(p->loop, &p->poll, POLL_INTERVAL);
  return rc;
}

bool workers_is_queued(const struct worker_process *w, uint64_t number)
{
  return task_page_is_queued(((const struct slot *)w)->page, number);
}

size_t workers_unread(const struct worker_process *w)
{
  const struct slot *s = (const struct slot *)w;
  return s->channel ? frame_queued(s->channel) : 0;
}

void workers_pause(struct workers *p, bool pause)
{
  p->paused = pause;
  for (int i = 0; i < p->count; i++)
    if (p->slots[i].channel) frame_pause(p->slots[i].channel, pause);
}

void workers_kill(struct worker_process *w)
{
  kill_slot(slot_of(w), NULL, 0);
}

void workers_reap(struct workers *p)
{
  for (int i = 0; i < p->count; i++) {
    struct slot *s = &p->slots[i];
    if (!s->worker.alive || s->exited) continue;
    if (waitpid(s->worker.pid, &s->status, WNOHANG) != s->worker.pid) continue;
    s->exited = true;
    check_down(s);
  }
}
