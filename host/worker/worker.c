/* SPDX-License-Identifier: MIT */
#include "worker/worker.h"

#include "base/container.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/oom.h"
#include "bindings/lib.h"
#include "event/frame.h"
#include "lua/preempt.h"
#include "lua/task.h"
#include "net/http.h"
#include "wire/message.h"
#include "wire/protocol.h"
#include "wire/task_page.h"
#include "worker/job_session.h"
#include "worker/metadata_probe.h"
#include "wrap/confine.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  /* Unsent bytes above which no further task is started. */
  MAX_UNSENT = 8 * 1024 * 1024,
  /* Lua memory of one session, at most half of what the process may have: there
   * must be room for bodies and results. */
  MAX_LUA = 512 * 1024 * 1024,
  /* Stack of a thread, which counts as data as a whole (default: 8 MiB). The
   * only threads are those of curl that look up a name each. */
  THREAD_STACK = 1024 * 1024,
};
/* How long the node may be unaware of a change in the number of running tasks.
 */
#define RUNNING_INTERVAL (200 * LOOP_MS)

const luaL_Reg worker_modules[] = {
    {"host.codec", luaopen_host_codec},
    {"host.digest", luaopen_host_digest},
    {"host.http", luaopen_host_http},
    {"host.job", luaopen_host_job},
    {"host.json", luaopen_host_json},
    {"host.log", luaopen_host_log},
    {"host.task", luaopen_host_task},
    {"host.xml", luaopen_host_xml},
    {NULL, NULL},
};

struct worker {
  struct loop *loop;
  struct frame_channel *node;
  struct vm_host vm_host;
  struct job_host job_host;
  char *name; /* of the node */
  /* of the options; "": none */
  char *lua_path, *allow_hosts, *modules, *path, *cpath;
  struct loop_hook
      hook; /* runs after those of tasks: starts tasks and reports */
  LIST_HEAD(sessions, job_session) sessions;
  struct loop_timer running_timer;
  struct log_limit log_limit;    /* of all jobs */
  int64_t running, running_sent; /* number of tasks; as the node knows it */
};

/* Exits at once, before the node finds the channel closed and kills us. Nothing
 * is lost: the node reports our tasks, and drivers retry them. */
static _Noreturn void die_of_memory(void)
{
  log_error("out of memory, exiting");
  _exit(TASK_PAGE_EXIT_MEMORY);
}

/* ---- to the node ---- */

static void send_out(void *arg, int64_t session, int64_t ended,
                     const struct buf *const *parts, size_t count)
{
  struct worker *w = arg;
  struct buf *frame = frame_begin(w->node);
  struct iovec events[FRAME_MAX_PARTS];
  size_t len = 0;
  for (size_t i = 0; i < count; i++) {
    events[i] = (struct iovec){parts[i]->data, parts[i]->len};
    frame->failed |= parts[i]->failed;
    len += parts[i]->len;
  }
  mp_write_array(frame, 4);
  mp_write_cstr(frame, "out");
  mp_write_int(frame, session);
  mp_write_int(frame, ended);
  mp_write_bin_head(frame, len);
  if (fault_at("records").what == FAULT_TRUNCATE)
    for (size_t i = 0; i < count; i++) events[i].iov_len /= 2;
  if (frame_end_with(w->node, events, (int)count) < 0) die_of_memory();
}

static int send_number(struct worker *w, const char *name, int64_t number)
{
  struct buf *b = frame_begin(w->node);
  mp_write_array(b, 2);
  mp_write_cstr(b, name);
  mp_write_int(b, number);
  return frame_end(w->node);
}

/* ---- sessions ---- */

static struct job_session *find_session(struct worker *w, int64_t number)
{
  struct job_session *s;
  LIST_FOREACH (s, &w->sessions, link)
    if (s->number == number) break;
  return s;
}

/* Makes the session if there is none; exits without memory. */
static struct job_session *get_session(struct worker *w, int64_t number)
{
  struct job_session *s = find_session(w, number);
  struct err e;
  if (s) return s;
  s = job_session_new(&w->job_host, number, &e);
  if (s) {
    LIST_INSERT_HEAD(&w->sessions, s, link);
    return s;
  }
  log_error(e.text);
  die_of_memory();
}

static struct job *find_job(struct worker *w, int64_t session, int64_t number)
{
  struct job_session *s = find_session(w, session);
  return s ? job_session_find(s, number) : NULL;
}

/* ---- from the node: each returns 0, or -1 when malformed ---- */

static int need_memory(int rc)
{
  if (rc < 0) die_of_memory();
  return 0;
}

/* ["blob", session, key, bytes] */
static int on_blob(void *arg, int64_t session, struct mp_reader *r)
{
  struct worker *w = arg;
  const uint8_t *key, *data;
  size_t key_len, len;
  if (mp_read_bytes(r, &key, &key_len) < 0 || mp_read_bytes(r, &data, &len) < 0)
    return -1;
  struct blob_store *blobs = &get_session(w, session)->blobs;
  return need_memory(blob_add(blobs, key, key_len, data, len));
}

/* ["drop", session, key] */
static int on_drop(void *arg, int64_t session, struct mp_reader *r)
{
  struct worker *w = arg;
  const uint8_t *key;
  size_t len;
  if (mp_read_bytes(r, &key, &len) < 0) return -1;
  struct job_session *s = find_session(w, session);
  struct blob *b = s ? blob_find(&s->blobs, key, len) : NULL;
  if (b) blob_drop(&s->blobs, b);
  return 0;
}

/* ["work", session, key, job, first, count, attempt, timeout, items] */
static int on_work(void *arg, int64_t session, struct mp_reader *r)
{
  struct worker *w = arg;
  int64_t job;
  const uint8_t *key;
  size_t key_len;
  struct job_batch b;
  double timeout;
  if (mp_read_bytes(r, &key, &key_len) < 0 || mp_read_int(r, &job) < 0 ||
      mp_read_int(r, &b.first) < 0 || mp_read_int(r, &b.count) < 0 ||
      mp_read_int(r, &b.attempt) < 0 || mp_read_seconds(r, &timeout) < 0 ||
      mp_read_bytes(r, &b.items, &b.len) < 0)
    return -1;
  b.timeout = (uint64_t)(timeout * (double)LOOP_S);
  b.number = task_page_queue(w->vm_host.task_page, b.count);
  return need_memory(
      job_session_add(get_session(w, session), job, key, key_len, &b));
}

/* ["cancel", session, job, first, count] */
static int on_cancel(void *arg, int64_t session, struct mp_reader *r)
{
  struct worker *w = arg;
  int64_t number, first, count;
  if (mp_read_int(r, &number) < 0 || mp_read_int(r, &first) < 0 ||
      mp_read_int(r, &count) < 0)
    return -1;
  struct job *j = find_job(w, session, number);
  return j && first >= 1 ? need_memory(job_cancel(j, first, count)) : 0;
}

/* ["close", session, job] */
static int on_close(void *arg, int64_t session, struct mp_reader *r)
{
  struct worker *w = arg;
  int64_t number;
  if (mp_read_int(r, &number) < 0) return -1;
  struct job *j = find_job(w, session, number);
  if (j) job_close(j);
  return 0;
}

/* ["reply", session, number, bytes] */
static int on_reply(void *arg, int64_t session, struct mp_reader *r)
{
  struct worker *w = arg;
  int64_t number;
  const uint8_t *reply;
  size_t len;
  if (mp_read_int(r, &number) < 0 || mp_read_bytes(r, &reply, &len) < 0)
    return -1;
  struct job_session *s = find_session(w, session);
  return s ? need_memory(upcall_reply(s, number, reply, len)) : 0;
}

static void end_session(struct job_session *s)
{
  LIST_REMOVE(s, link);
  job_session_free(s);
}

/* ["end", session] */
static int on_end(void *arg, int64_t session, struct mp_reader *r)
{
  struct worker *w = arg;
  (void)r;
  struct job_session *s = find_session(w, session);
  if (s) end_session(s);
  return 0;
}

/* ["sync", n] */
static int on_sync(void *arg, int64_t n, struct mp_reader *r)
{
  struct worker *w = arg;
  (void)r;
  return need_memory(send_number(w, "synced", n));
}

/* A sanitizer's shadow of the memory would count as data too. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool can_limit = false;
#else
static const bool can_limit = true;
#endif

static int limit_memory(int64_t bytes, struct err *e)
{
  struct rlimit limit;
  pthread_attr_t thread;
  oom_volunteer();
  if (!bytes || !can_limit) return 0;
  pthread_attr_init(&thread);
  pthread_attr_setstacksize(&thread, THREAD_STACK);
  pthread_setattr_default_np(&thread);
  pthread_attr_destroy(&thread);
  if (getrlimit(RLIMIT_DATA, &limit) < 0)
    return err_errno(e, "system", errno, "cannot read the memory limit");
  if ((rlim_t)bytes > limit.rlim_max) return 0; /* it is lower already */
  limit.rlim_cur = limit.rlim_max = (rlim_t)bytes;
  if (setrlimit(RLIMIT_DATA, &limit) < 0)
    return err_errno(e, "system", errno, "cannot limit memory");
  return 0;
}

static char *read_text(struct mp_reader *r)
{
  const uint8_t *text;
  size_t len;
  return mp_read_bytes(r, &text, &len) < 0 ? NULL
                                           : strndup((const char *)text, len);
}

/* NULL: "". */
static const char *some(const char *text)
{
  return *text ? text : NULL;
}

/* ["options", index, generation, parent, memory, log level, node, lua path,
 * allowed hosts, modules, path, cpath, probe]: the first frame. */
static int on_options(void *arg, int64_t index, struct mp_reader *r)
{
  struct worker *w = arg;
  int64_t generation, parent, memory, level, probe;
  struct err e;
  if (mp_read_int(r, &generation) < 0 || mp_read_int(r, &parent) < 0 ||
      mp_read_int(r, &memory) < 0 || mp_read_int(r, &level) < 0 ||
      !(w->name = read_text(r)) || !(w->lua_path = read_text(r)) ||
      !(w->allow_hosts = read_text(r)) || !(w->modules = read_text(r)) ||
      !(w->path = read_text(r)) || !(w->cpath = read_text(r)) ||
      mp_read_int(r, &probe) < 0)
    return -1;
  log_init("worker", (enum log_level)level);
  if (getppid() != parent) _exit(EXIT_SUCCESS); /* the node died before us */
  if (limit_memory(memory, &e) < 0 || preempt_start(&e) < 0) {
    log_error(e.text);
    _exit(EXIT_FAILURE);
  }
  w->vm_host.lua_path = some(w->lua_path);
  w->vm_host.allow_hosts = some(w->allow_hosts);
  w->vm_host.modules = some(w->modules);
  w->vm_host.path = some(w->path);
  w->vm_host.cpath = some(w->cpath);
  int64_t cap = memory && memory / 2 < MAX_LUA ? memory / 2 : MAX_LUA;
  w->job_host = (struct job_host){
      .vm = {.host = &w->vm_host,
             .modules = worker_modules,
             .memory_cap = (size_t)cap},
      .worker = {(int)index, generation, w->name},
      .send = send_out,
      .arg = w,
  };
  if (probe) metadata_probe();
  confine_process();
  return 0;
}

static void on_frame(void *arg, const uint8_t *data, size_t len)
{
  static const struct message_handler handlers[] = {
      {"work", on_work},     {"blob", on_blob},   {"drop", on_drop},
      {"cancel", on_cancel}, {"close", on_close}, {"reply", on_reply},
      {"end", on_end},       {"sync", on_sync},   {"options", on_options},
      {NULL, NULL},
  };
  if (message_dispatch(handlers, arg, data, len) == 0) return;
  /* the node is this same program, so this is a bug */
  log_error("malformed message from the node, exiting");
  _exit(EXIT_FAILURE);
}

static void on_node_end(void *arg, const struct err *reason)
{
  if (!strcmp(reason->kind, "memory")) die_of_memory();
  loop_stop(((struct worker *)arg)->loop);
}

/* ---- the end of each iteration ---- */

static void on_running_due(struct loop_timer *timer)
{
  struct worker *w = CONTAINER_OF(timer, struct worker, running_timer);
  if (w->running == w->running_sent) return;
  if (send_number(w, "running", w->running) == 0) w->running_sent = w->running;
}

static bool run_sessions(struct loop_hook *hook)
{
  struct worker *w = CONTAINER_OF(hook, struct worker, hook);
  struct job_session *s;
  const struct job *j;
  bool more = false;
  w->running = 0;
  LIST_FOREACH (s, &w->sessions, link) {
    more |= job_session_run(s, frame_queued(w->node) < MAX_UNSENT);
    LIST_FOREACH (j, &s->jobs, link) w->running += j->running;
  }
  if (w->running != w->running_sent && !w->running_timer.slot)
    loop_timer_set(w->loop, &w->running_timer, RUNNING_INTERVAL);
  return more;
}

/* ---- the program ---- */

int worker_run(struct err *e)
{
  static const struct frame_events events = {on_frame, on_node_end, NULL};
  struct worker w = {.hook = {.run = run_sessions},
                     .running_timer = {.on_expire = on_running_due}};
  struct stat node;
  int rc = -1;
  if (fstat(PROTOCOL_WORKER_FD, &node) < 0 || !S_ISSOCK(node.st_mode))
    return err_set(e, "usage", "workers are started by moonfleet serve");
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* a worker must not outlive its node */
  w.loop = w.vm_host.loop = loop_new(e);
  if (!w.loop) return -1;
  w.vm_host.log_limit = &w.log_limit;
  w.vm_host.task_page = task_page_open(TASK_PAGE_FD, e);
  if (!w.vm_host.task_page) goto out;
  w.node = frame_open(w.loop, PROTOCOL_WORKER_FD, PROTOCOL_MAX_FRAME, &events,
                      &w, e);
  if (!w.node) goto out;
  loop_expect_soon(w.loop, true); /* the node has the next task */
  loop_hook_add(w.loop, &w.hook);
  rc = loop_run(w.loop, e);
  loop_hook_remove(&w.hook);
  loop_timer_clear(w.loop, &w.running_timer);
out:
  while (!LIST_EMPTY(&w.sessions)) end_session(LIST_FIRST(&w.sessions));
  http_free(w.vm_host.http);
  frame_close(w.node);
  task_page_close(w.vm_host.task_page);
  loop_free(w.loop);
  free(w.name);
  free(w.lua_path);
  free(w.allow_hosts);
  free(w.modules);
  free(w.path);
  free(w.cpath);
  return rc;
}
