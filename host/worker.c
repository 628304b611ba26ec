/* SPDX-License-Identifier: MIT */
#include "worker.h"

#include "frame.h"
#include "http.h"
#include "job.h"
#include "log.h"
#include "msgpack.h"
#include "protocol.h"
#include "task.h"
#include "vm.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Unsent bytes above which no further task is started. */
enum { MAX_UNSENT = 8 * 1024 * 1024 };
/* How old may be what the node knows of the number of running tasks. */
#define RUNNING_DELAY (200 * LOOP_MS)

struct worker {
  const struct worker_options *options;
  struct loop *loop;
  struct frame_channel *node;
  struct vm_host host;
  struct loop_hook hook; /* runs after the jobs' hooks: starts and flushes */
  struct job *jobs;
  struct loop_timer tell;
  int64_t running, told; /* tasks; and as the node knows it */
};

static struct job **find_job(struct worker *w, int64_t session,
                             const uint8_t *key, size_t len)
{
  struct job **at = &w->jobs;
  while (*at && !job_is(*at, session, key, len)) at = job_next(*at);
  return at;
}

static void report(void *arg, struct job *j)
{
  struct worker *w = arg;
  struct job_reporter who = {w->options->index, w->options->generation};
  if (!job_has_report(j)) return;
  job_report(j, &who, frame_begin(w->node));
  if (frame_end(w->node) == 0) return;
  log_error("out of memory for results, giving up");
  _exit(EXIT_FAILURE);
}

/* ["job", session, key, definition] */
static int on_job(struct worker *w, struct mp_reader *r)
{
  struct err e;
  int64_t session;
  const uint8_t *key, *definition;
  size_t key_len, len;
  if (mp_read_int(r, &session) < 0 || mp_read_bytes(r, &key, &key_len) < 0 ||
      mp_read_bytes(r, &definition, &len) < 0)
    return -1;
  struct job **at = find_job(w, session, key, key_len);
  if (*at) return 0;
  *at =
      job_new(&w->host, session, key, key_len, definition, len, report, w, &e);
  if (!*at) {
    log_error(e.text);
    return -1;
  }
  /* a new state has added its hook behind ours: go last again */
  loop_hook_remove(w->loop, &w->hook);
  loop_hook_add(w->loop, &w->hook);
  return 0;
}

/* ["work", session, job, first, count, attempt, items] */
static int on_work(struct worker *w, struct mp_reader *r)
{
  int64_t session, first, count, attempt;
  const uint8_t *key, *items;
  size_t key_len, len;
  if (mp_read_int(r, &session) < 0 || mp_read_bytes(r, &key, &key_len) < 0 ||
      mp_read_int(r, &first) < 0 || mp_read_int(r, &count) < 0 ||
      mp_read_int(r, &attempt) < 0 || mp_read_bytes(r, &items, &len) < 0)
    return -1;
  struct job *j = *find_job(w, session, key, key_len);
  return j ? job_add(j, first, count, attempt, items, len) : -1;
}

/* ["end", session] */
static int on_end_session(struct worker *w, struct mp_reader *r)
{
  int64_t session;
  if (mp_read_int(r, &session) < 0) return -1;
  for (struct job **at = &w->jobs, *j; (j = *at);) {
    if (job_session(j) != session) {
      at = job_next(j);
      continue;
    }
    *at = *job_next(j);
    job_free(j);
  }
  struct buf *b = frame_begin(w->node);
  mp_write_array(b, 2);
  mp_write_cstr(b, "ended");
  mp_write_int(b, session);
  return frame_end(w->node);
}

static void on_frame(void *arg, const uint8_t *data, size_t len)
{
  struct worker *w = arg;
  struct mp_reader r = {data, data + len};
  uint32_t count;
  const uint8_t *name;
  size_t n;
  int rc = -1;
  if (mp_read_array(&r, &count) == 0 && mp_read_bytes(&r, &name, &n) == 0) {
    if (n == 4 && !memcmp(name, "work", 4))
      rc = on_work(w, &r);
    else if (n == 3 && !memcmp(name, "job", 3))
      rc = on_job(w, &r);
    else if (n == 3 && !memcmp(name, "end", 3))
      rc = on_end_session(w, &r);
  }
  if (rc == 0) return;
  /* The node is this very program, so this is out of memory or a bug. Dying
   * loses nothing: the node reports our tasks, and drivers retry them. */
  log_error("cannot take a message from the node, giving up");
  _exit(EXIT_FAILURE);
}

static void on_node_end(void *arg, const struct err *why)
{
  (void)why;
  loop_stop(((struct worker *)arg)->loop);
}

static void on_tell(struct loop_timer *timer)
{
  struct worker *w =
      (struct worker *)((char *)timer - offsetof(struct worker, tell));
  if (w->running == w->told) return;
  struct buf *b = frame_begin(w->node);
  mp_write_array(b, 2);
  mp_write_cstr(b, "running");
  mp_write_int(b, w->running);
  if (frame_end(w->node) == 0) w->told = w->running;
}

/* The end of every loop turn: start what there is room for, send what ended. */
static bool on_turn(struct loop_hook *hook)
{
  struct worker *w =
      (struct worker *)((char *)hook - offsetof(struct worker, hook));
  bool started = false;
  w->running = 0;
  for (struct job *j = w->jobs; j; j = *job_next(j)) {
    if (frame_queued(w->node) < MAX_UNSENT) started |= job_start_tasks(j);
    report(w, j);
    w->running += job_running(j);
  }
  if (w->running != w->told && !w->tell.slot)
    loop_timer_set(w->loop, &w->tell, RUNNING_DELAY);
  return started; /* their first resumes are due now */
}

int worker_run(const struct worker_options *options, struct err *e)
{
  static const struct frame_events events = {on_frame, on_node_end};
  struct worker w = {.options = options,
                     .hook = {.run = on_turn},
                     .tell = {.on_expire = on_tell}};
  /* a worker without its node is of no use */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (options->parent && getppid() != options->parent) return 0;
  if (task_slices_start(e) < 0) return -1;
  w.loop = loop_new(e);
  if (!w.loop) return -1;
  w.host.loop = w.loop;
  w.host.allow_loopback = options->allow_loopback;
  w.host.lua_path = options->lua_path;
  int rc = -1;
  w.node = frame_open(w.loop, PROTOCOL_WORKER_FD, PROTOCOL_MAX_FRAME, &events,
                      &w, e);
  if (!w.node) goto out;
  loop_hook_add(w.loop, &w.hook);
  rc = loop_run(w.loop, e);
  loop_hook_remove(w.loop, &w.hook);
  loop_timer_clear(w.loop, &w.tell);
out:
  while (w.jobs) {
    struct job *next = *job_next(w.jobs);
    job_free(w.jobs);
    w.jobs = next;
  }
  http_free(w.host.http);
  frame_close(w.node);
  loop_free(w.loop);
  return rc;
}
