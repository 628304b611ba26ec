/* SPDX-License-Identifier: MIT */
#include "worker/job.h"

#include "base/container.h"
#include "lua/codec.h"
#include "lua/task.h"
#include "wire/protocol.h"
#include "worker/task_output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Records are sent once there are this many bytes, even inside a turn: they and
 * one more value always fit a frame. */
enum { FULL_RECORDS = 512 * 1024 };

struct batch {
  struct batch *next;
  int64_t id, left, attempt; /* next task to start, tasks left */
  uint64_t number;           /* its number, by task_page_queue */
  uint64_t timeout;
  struct mp_reader items;
  uint8_t data[];
};

struct work; /* one running task */

struct job {
  struct job *next;
  struct job_host *host;
  int64_t number;
  bool silent; /* records of tasks are of no use any more */
  /* what runner.lua's prepare gave */
  enum { PREPARING, READY, BROKEN } state;
  struct task *preparing;
  struct task_identity who;  /* the preparation */
  struct task_output output; /* by it */
  int map;                   /* registry reference */
  int64_t concurrency;
  struct buf broken; /* the error of a failed prepare, encoded */
  /* tasks */
  struct batch *first, **last;
  struct work *running_list, *idle;
  int64_t running, queued;
  uint64_t now; /* while tasks are started */
  /* since the last report */
  struct buf records;
  struct output_queue outputs;
  int64_t ended;
  uint64_t busy, wall;
  bool starved_sent; /* until new work comes */
};

struct work {
  struct work *prev, *next;
  struct job *job;
  struct task *task;
  struct task_identity who;
  struct task_output output;
  struct loop_timer timer;
  uint64_t started, timeout;
  bool timed_out;
};

/* ---- running tasks ---- */

static void send_full(struct job *j)
{
  if (j->records.len + j->outputs.records.len > FULL_RECORDS)
    job_report(j, false);
}

static void on_timeout(struct loop_timer *timer)
{
  struct work *w = CONTAINER_OF(timer, struct work, timer);
  w->timed_out = true;
  task_cancel(w->task);
}

static void record_cancelled(struct work *w)
{
  char text[64];
  struct buf *b = &w->job->records;
  if (!w->timed_out) {
    record_failure(b, w->who.id, w->who.attempt, "cancelled",
                   "the task was cancelled", true);
    return;
  }
  snprintf(text, sizeof(text), "the task took longer than %g s",
           (double)w->timeout / (double)LOOP_S);
  record_failure(b, w->who.id, w->who.attempt, "timeout", text, true);
}

static void on_task_done(struct task *t, enum task_outcome outcome,
                         lua_State *L, int nresults, void *arg)
{
  struct work *w = arg;
  struct job *j = w->job;
  struct vm *vm = j->host->vm;
  int64_t id = w->who.id, attempt = w->who.attempt;
  j->busy += t->busy;
  j->wall += t->stopped - w->started;
  j->ended++;
  loop_timer_clear(vm->host->loop, &w->timer);
  if (j->silent)
    ;
  else if (outcome == TASK_DONE)
    record_results(&j->records, id, attempt, vm, L, nresults);
  else if (outcome == TASK_ERROR)
    record_raised(&j->records, id, attempt, vm, L);
  else
    record_cancelled(w);
  task_output_end(&j->outputs, &w->output);
  *(w->prev ? &w->prev->next : &j->running_list) = w->next;
  if (w->next) w->next->prev = w->prev;
  w->next = j->idle;
  j->idle = w;
  j->running--;
  send_full(j);
}

static struct work *work_new(struct job *j)
{
  struct work *w = j->idle;
  if (w)
    j->idle = w->next;
  else
    w = malloc(sizeof(*w));
  if (!w) return NULL;
  *w = (struct work){.job = j, .timer = {.on_expire = on_timeout}};
  return w;
}

/* LJMP: starts the next task of the first batch. Whatever raises here (only
 * memory can) leaves `j->first` at the task it was at. */
LJMP static void start_one(lua_State *L, struct job *j)
{
  struct batch *b = j->first;
  struct mp_reader r = b->items;
  struct err e;
  task_page_dequeue(j->host->vm->host->task_page, b->number);
  lua_settop(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, j->map);
  if (codec_decode(L, &r, &e) != 0) luaL_error(L, "malformed item");
  struct work *w = work_new(j);
  if (!w) luaL_error(L, "not enough memory");
  w->next = j->idle; /* ours again if task_new raises */
  j->idle = w;
  struct task *t = task_new(L, on_task_done, w);
  j->idle = w->next;
  w->task = t;
  w->started = j->now;
  w->timeout = b->timeout;
  w->who =
      (struct task_identity){j->host->session, j->number, b->id, b->attempt,
                             b->timeout ? w->started + b->timeout : 0};
  task_identify(t, &w->who);
  task_output_begin(&w->output, &w->who);
  w->prev = NULL;
  w->next = j->running_list;
  if (w->next) w->next->prev = w;
  j->running_list = w;
  if (b->timeout)
    loop_timer_set(j->host->vm->host->loop, &w->timer, b->timeout);
  lua_xmove(L, t->co, 2);
  task_start(t, 1);
  j->running++;
}

/* Takes the next task off a batch; a batch that is over off the queue. */
static void advance(struct job *j, struct batch **at)
{
  struct batch *b = *at;
  task_page_dequeue(j->host->vm->host->task_page, b->number);
  b->id++;
  b->number++;
  b->left--;
  j->queued--;
  mp_skip(&b->items);
  if (b->left) return;
  *at = b->next;
  if (!b->next) j->last = at;
  free(b);
}

LJMP static int l_start(lua_State *L)
{
  struct job *j = vm_arg(L);
  while (j->first && j->running < j->concurrency) {
    start_one(L, j);
    advance(j, &j->first);
  }
  return 0;
}

/* As many tasks as fill one message; whether there are more. */
static bool fail_queued(struct job *j)
{
  while (j->first && j->records.len <= FULL_RECORDS) {
    record_error(&j->records, j->first->id, j->first->attempt, &j->broken);
    j->ended++;
    advance(j, &j->first);
  }
  send_full(j);
  return j->first != NULL;
}

bool job_start_tasks(struct job *j)
{
  struct err e;
  if (!j->first || j->state == PREPARING) return false;
  if (j->state == BROKEN) return fail_queued(j);
  if (j->running >= j->concurrency) return false;
  /* a finalizer that runs now is of none of them */
  struct task_page_writer *task_page = j->host->vm->host->task_page;
  struct task_identity who = {.session = j->host->session, .job = j->number};
  j->now = loop_clock();
  if (j->first->timeout) who.deadline = j->now + j->first->timeout;
  task_page_set(task_page, &who, j->now);
  int rc = vm_pcall(j->host->vm, l_start, j, &e);
  task_page_set(task_page, NULL, 0);
  if (rc < 0) {
    record_failure(&j->records, j->first->id, j->first->attempt, e.kind, e.text,
                   false);
    j->ended++;
    advance(j, &j->first);
  }
  return true;
}

static struct batch *batch_new(const struct job_batch *from)
{
  struct batch *b = malloc(sizeof(*b) + from->len);
  if (!b) return NULL;
  memcpy(b->data, from->items, from->len);
  b->next = NULL;
  b->id = from->first;
  b->left = from->count;
  b->attempt = from->attempt;
  b->number = from->number;
  b->timeout = from->timeout;
  b->items = (struct mp_reader){b->data, b->data + from->len};
  return b;
}

int job_add(struct job *j, const struct job_batch *from)
{
  struct batch *b = batch_new(from);
  if (!b) return -1;
  *j->last = b;
  j->last = &b->next;
  j->queued += b->left;
  j->starved_sent = false;
  return 0;
}

/* ---- cancelling ---- */

static void cancel_running(struct job *j, int64_t first, int64_t count)
{
  for (struct work *w = j->running_list, *next; w; w = next) {
    next = w->next;
    if (w->who.id >= first && w->who.id - first < count) task_cancel(w->task);
  }
}

/* Makes what follows the first `count` tasks of a batch a batch of its own. */
static int split(struct job *j, struct batch *b, int64_t count)
{
  struct mp_reader rest = b->items;
  for (int64_t i = 0; i < count; i++) mp_skip(&rest);
  struct job_batch from = {.first = b->id + count,
                           .count = b->left - count,
                           .attempt = b->attempt,
                           .timeout = b->timeout,
                           .number = b->number + (uint64_t)count,
                           .items = rest.at,
                           .len = (size_t)(rest.end - rest.at)};
  struct batch *other = batch_new(&from);
  if (!other) return -1;
  other->next = b->next;
  b->next = other;
  b->left = count;
  if (!other->next) j->last = &other->next;
  return 0;
}

static int cancel_queued(struct job *j, int64_t first, int64_t count)
{
  for (struct batch **at = &j->first, *b; (b = *at);) {
    int64_t before = first > b->id ? first - b->id : 0; /* tasks that stay */
    if (before >= b->left || b->id + before - first >= count) {
      at = &b->next;
    } else if (before) {
      if (split(j, b, before) < 0) return -1;
      at = &b->next;
    } else {
      record_failure(&j->records, b->id, b->attempt, "cancelled",
                     "the task was cancelled", false);
      j->ended++;
      advance(j, at);
      send_full(j);
    }
  }
  return 0;
}

int job_cancel(struct job *j, int64_t first, int64_t count)
{
  cancel_running(j, first, count);
  return cancel_queued(j, first, count);
}

/* ---- preparing ---- */

struct prepared {
  struct job *job;
  lua_State *co; /* map, concurrency are on top of its stack */
};

LJMP static int l_keep_prepared(lua_State *L)
{
  struct prepared *p = vm_arg(L);
  struct job *j = p->job;
  luaL_checkstack(L, 4, "prepare");
  lua_xmove(p->co, L, 2);
  j->concurrency = luaL_checkinteger(L, 3);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  j->map = luaL_ref(L, LUA_REGISTRYINDEX);
  j->state = READY;
  return 0;
}

static void break_job(struct job *j, const char *kind, const char *text)
{
  j->state = BROKEN;
  buf_clear(&j->broken);
  record_put_error(&j->broken, kind, text, false);
}

static void on_prepared(struct task *t, enum task_outcome outcome, lua_State *L,
                        int nresults, void *arg)
{
  (void)t;
  struct job *j = arg;
  struct err e;
  j->preparing = NULL;
  task_output_end(&j->outputs, &j->output);
  if (outcome == TASK_CANCELLED) return; /* the job is being freed */
  if (outcome == TASK_DONE && nresults == 2 && !lua_isnil(L, -2)) {
    struct prepared p = {j, L};
    if (vm_pcall(j->host->vm, l_keep_prepared, &p, &e) < 0)
      break_job(j, e.kind, e.text);
  } else if (outcome == TASK_DONE && nresults != 2) {
    break_job(j, "protocol", "the job was not prepared");
  } else {
    /* an error raised (below it the traceback), or nil and an error */
    j->state = BROKEN;
    record_encode_error(&j->broken, j->host->vm, L, outcome == TASK_ERROR,
                        false);
  }
}

struct preparation {
  struct job *job;
  struct mp_reader definition;
};

LJMP static int l_prepare(lua_State *L)
{
  struct preparation *p = vm_arg(L);
  struct job *j = p->job;
  struct err e;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "fleet.worker.runner");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "prepare");
  if (codec_decode(L, &p->definition, &e) != 0)
    return luaL_error(L, "malformed job definition");
  struct task *t = task_new(L, on_prepared, j);
  task_identify(t, &j->who);
  lua_xmove(L, t->co, 2);
  task_start(t, 1);
  j->preparing = t;
  return 0;
}

/* ---- the job ---- */

struct job *job_new(struct job_host *host, int64_t number,
                    const uint8_t *definition, size_t len)
{
  struct job *j = calloc(1, sizeof(*j));
  if (!j) return NULL;
  j->host = host;
  j->number = number;
  j->last = &j->first;
  j->map = LUA_NOREF;
  j->who = (struct task_identity){.session = host->session, .job = number};
  task_output_begin(&j->output, &j->who);
  output_queue_init(&j->outputs, &host->worker);
  buf_init(&j->broken, PROTOCOL_MAX_FRAME);
  buf_init(&j->records, PROTOCOL_MAX_FRAME);
  if (!definition) {
    break_job(j, "protocol", "the job's definition has not come");
    return j;
  }
  struct preparation p = {j, {definition, definition + len}};
  struct task_page_writer *task_page = host->vm->host->task_page;
  struct err e;
  task_page_set(task_page, &j->who, 0);
  if (vm_pcall(host->vm, l_prepare, &p, &e) < 0) break_job(j, e.kind, e.text);
  task_page_set(task_page, NULL, 0);
  return j;
}

void job_silence(struct job *j)
{
  j->silent = true;
}

void job_close(struct job *j)
{
  job_silence(j);
  buf_clear(&j->records); /* whatever a buf that failed has lost */
  if (j->preparing) task_cancel(j->preparing);
  while (j->running_list) task_cancel(j->running_list->task);
  output_queue_clear(&j->outputs);
  for (const struct batch *b = j->first; b; b = b->next)
    for (int64_t i = 0; i < b->left; i++)
      task_page_dequeue(j->host->vm->host->task_page, b->number + (uint64_t)i);
  j->ended += j->queued;
  if (j->ended) job_report(j, false);
  luaL_unref(j->host->vm->L, LUA_REGISTRYINDEX, j->map);
  job_free(j);
}

void job_free(struct job *j)
{
  for (struct batch *b = j->first, *next; b; b = next) {
    next = b->next;
    free(b);
  }
  for (struct work *w = j->idle, *next; w; w = next) {
    next = w->next;
    free(w);
  }
  task_output_end(&j->outputs, &j->output);
  output_queue_free(&j->outputs);
  buf_free(&j->broken);
  buf_free(&j->records);
  free(j);
}

int64_t job_number(const struct job *j)
{
  return j->number;
}

struct job **job_next(struct job *j)
{
  return &j->next;
}

int64_t job_running(const struct job *j)
{
  return j->running;
}

/* ---- output and reports ---- */

/* The one for whom `t` speaks, NULL when it has ended. */
static struct task_output *output_of(struct job *j, const struct task *t)
{
  const struct task_identity *who = &t->identity;
  struct work *w = t->done == on_task_done ? t->arg : NULL;
  if (j->silent) return NULL;
  if (who->id == 0) return j->preparing ? &j->output : NULL;
  if (!w) /* a task that a task has made */
    for (w = j->running_list; w; w = w->next)
      if (w->who.id == who->id && w->who.attempt == who->attempt) break;
  return w ? &w->output : NULL;
}

void job_print(struct job *j, struct task *t, const char *text, size_t len)
{
  struct task_output *s = output_of(j, t);
  if (s) task_output_print(&j->outputs, s, text, len);
  send_full(j);
}

int job_progress(struct job *j, struct task *t, lua_State *L, int idx,
                 struct err *e)
{
  struct task_output *s = output_of(j, t);
  if (!s) return 0;
  int rc = codec_encode(L, idx, "progress", task_output_progress(s), e);
  task_output_progress_end(&j->outputs, s);
  return rc;
}

static bool is_starved(const struct job *j)
{
  return !j->starved_sent && j->state == READY && j->running && !j->queued &&
         j->running < j->concurrency && !task_ready(j->host->vm);
}

/* The report, which comes before the records it counts. */
static void put_report(struct job *j, struct buf *b, bool starved)
{
  const struct record_worker *from = &j->host->worker;
  record_event(b, from, "report", 6);
  mp_put_int(b, "job", j->number);
  mp_put_int(b, "n", j->ended);
  mp_put_float(b, "cpu", (double)j->busy / (double)LOOP_S);
  mp_put_float(b, "wall", (double)j->wall / (double)LOOP_S);
  mp_put_int(b, "bytes", (int64_t)j->records.len);
  if (!starved) return;
  record_event(b, from, "starved", 3);
  mp_put_int(b, "job", j->number);
  mp_put_int(b, "running", j->running);
}

bool job_report(struct job *j, bool room)
{
  bool starved = is_starved(j);
  struct buf report;
  bool more = room && output_queue_add_progress(&j->outputs, FULL_RECORDS);
  if (!j->ended && !starved && !j->outputs.records.len) return more;
  buf_init(&report, 512);
  put_report(j, &report, starved);
  const struct buf *parts[] = {&j->outputs.records, &report, &j->records};
  j->host->send(j->host->arg, j->host->session, j->ended, parts, 3);
  buf_free(&report);
  output_queue_clear(&j->outputs);
  j->ended = 0;
  j->busy = j->wall = 0;
  j->starved_sent |= starved;
  buf_reset(&j->records);
  return more;
}
