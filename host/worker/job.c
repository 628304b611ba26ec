/* SPDX-License-Identifier: MIT */
#include "worker/job.h"

#include "base/container.h"
#include "lua/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of events above which they are sent at once, even inside an iteration:
 * they and one more value always fit a frame. */
enum { FLUSH_BYTES = 512 * 1024 };

struct batch {
  TAILQ_ENTRY(batch) link;
  int64_t id, left, attempt; /* next task to start, tasks left */
  uint64_t number;           /* its number, by task_page_queue */
  uint64_t timeout;
  struct mp_reader items;
  uint8_t data[];
};

struct running_task {
  LIST_ENTRY(running_task) link;
  struct job *job;
  struct task *task;
  struct task_output output;
  struct loop_timer timer;
  uint64_t started, timeout;
  bool timed_out;
};

static struct task_page_writer *page_of(const struct job *j)
{
  return j->session->vm->host->task_page;
}

/* ---- running tasks ---- */

static void flush_full(struct job *j)
{
  if (j->events.len + j->outputs.events.len > FLUSH_BYTES) job_report(j, false);
}

static void on_timeout(struct loop_timer *timer)
{
  struct running_task *r = CONTAINER_OF(timer, struct running_task, timer);
  r->timed_out = true;
  task_cancel(r->task);
}

static void put_cancelled(struct buf *b, const struct running_task *r)
{
  char text[64];
  const struct task_identity *task = &r->task->identity;
  if (!r->timed_out) {
    outcome_failure(b, task->id, task->attempt, "cancelled",
                    "the task was cancelled", true);
    return;
  }
  snprintf(text, sizeof(text), "the task took longer than %g s",
           (double)r->timeout / (double)LOOP_S);
  outcome_failure(b, task->id, task->attempt, "timeout", text, true);
}

/* Counts a task for the metrics of the node. */
static void count(struct task_page_writer *page, enum task_outcome outcome,
                  bool ok, const struct running_task *r, const struct task *t)
{
  struct meters *m = task_page_meters(page);
  bool cancelled = outcome == TASK_CANCELLED && !r->timed_out;
  meters_add(m,
             ok          ? METER_TASKS_OK
             : cancelled ? METER_TASKS_CANCELLED
                         : METER_TASKS_FAILED,
             1);
  meters_add(m, METER_CPU, t->busy);
  meters_add_time(m, METER_TASK_TIME, t->stopped - r->started);
}

static void on_task_done(struct task *t, enum task_outcome outcome,
                         lua_State *L, int nresults, void *arg)
{
  struct running_task *r = arg;
  struct job *j = r->job;
  struct vm *vm = j->session->vm;
  int64_t id = t->identity.id, attempt = t->identity.attempt;
  bool ok = false;
  j->busy += t->busy;
  j->wall += t->stopped - r->started;
  j->ended++;
  loop_timer_clear(vm->host->loop, &r->timer);
  if (j->silent)
    ;
  else if (outcome == TASK_DONE)
    ok = outcome_results(&j->events, id, attempt, vm, L, nresults);
  else if (outcome == TASK_ERROR)
    outcome_raised(&j->events, id, attempt, vm, L);
  else
    put_cancelled(&j->events, r);
  count(page_of(j), outcome, ok, r, t);
  task_output_end(&j->outputs, &r->output);
  LIST_REMOVE(r, link);
  free(j->spare);
  j->spare = r;
  j->running--;
  flush_full(j);
}

/* LJMP: starts the next task of the first batch. When it raises (only memory
 * can) the batch is unchanged. */
LJMP static void start_one(lua_State *L, struct job *j)
{
  struct batch *b = TAILQ_FIRST(&j->batches);
  struct mp_reader items = b->items;
  struct err e;
  task_page_dequeue(page_of(j), b->number);
  lua_settop(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, j->map);
  if (codec_decode(L, &items, &e) != 0) luaL_error(L, "malformed item");
  if (!j->spare) j->spare = malloc(sizeof(*j->spare));
  if (!j->spare) luaL_error(L, "not enough memory");
  struct task *t = task_new(L, on_task_done, j->spare);
  struct running_task *r = j->spare;
  j->spare = NULL;
  *r = (struct running_task){.job = j,
                             .task = t,
                             .timer = {.on_expire = on_timeout},
                             .started = j->now,
                             .timeout = b->timeout};
  t->identity =
      (struct task_identity){j->session->number, j->number, b->id, b->attempt,
                             b->timeout ? r->started + b->timeout : 0};
  task_output_begin(&r->output, &t->identity);
  LIST_INSERT_HEAD(&j->running_tasks, r, link);
  if (b->timeout)
    loop_timer_set(j->session->vm->host->loop, &r->timer, b->timeout);
  lua_xmove(L, t->co, 2);
  task_start(t, 1);
  j->running++;
}

/* Takes the next task off a batch, and frees a batch that has no more. */
static void advance(struct job *j, struct batch *b)
{
  task_page_dequeue(page_of(j), b->number);
  b->id++;
  b->number++;
  b->left--;
  j->queued--;
  mp_skip(&b->items);
  if (b->left) return;
  TAILQ_REMOVE(&j->batches, b, link);
  free(b);
}

LJMP static int l_start(lua_State *L)
{
  struct job *j = vm_arg(L);
  while (!TAILQ_EMPTY(&j->batches) && j->running < j->concurrency) {
    start_one(L, j);
    advance(j, TAILQ_FIRST(&j->batches));
  }
  return 0;
}

static void fail_queued(struct job *j, struct batch *b, const char *kind,
                        const char *text)
{
  outcome_failure(&j->events, b->id, b->attempt, kind, text, false);
  j->ended++;
  advance(j, b);
}

/* Fails as many tasks as fill one message; returns whether there are more. */
static bool fail_some(struct job *j)
{
  struct batch *b;
  while ((b = TAILQ_FIRST(&j->batches)) && j->events.len <= FLUSH_BYTES) {
    outcome_error(&j->events, b->id, b->attempt, &j->error);
    j->ended++;
    advance(j, b);
  }
  flush_full(j);
  return b != NULL;
}

bool job_start_tasks(struct job *j)
{
  struct err e;
  const struct batch *b = TAILQ_FIRST(&j->batches);
  if (!b || j->state == JOB_PREPARING) return false;
  if (j->state == JOB_BROKEN) return fail_some(j);
  if (j->running >= j->concurrency) return false;
  j->now = loop_clock();
  /* a finalizer that runs now belongs to none of the tasks */
  struct task_identity identity = {.session = j->session->number,
                                   .job = j->number,
                                   .deadline =
                                       b->timeout ? j->now + b->timeout : 0};
  task_page_set(page_of(j), &identity, j->now);
  int rc = vm_pcall(j->session->vm, l_start, j, &e);
  task_page_set(page_of(j), NULL, 0);
  if (rc < 0) fail_queued(j, TAILQ_FIRST(&j->batches), e.kind, e.text);
  return true;
}

static struct batch *batch_new(const struct job_batch *from)
{
  struct batch *b = malloc(sizeof(*b) + from->len);
  if (!b) return NULL;
  memcpy(b->data, from->items, from->len);
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
  TAILQ_INSERT_TAIL(&j->batches, b, link);
  j->queued += b->left;
  j->starved_sent = false;
  return 0;
}

/* ---- cancelling ---- */

static void cancel_running(struct job *j, int64_t first, int64_t count)
{
  struct running_task *r = LIST_FIRST(&j->running_tasks), *next;
  for (; r; r = next) {
    int64_t id = r->task->identity.id;
    next = LIST_NEXT(r, link);
    if (id >= first && id - first < count) task_cancel(r->task);
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
  TAILQ_INSERT_AFTER(&j->batches, b, other, link);
  b->left = count;
  return 0;
}

static int cancel_queued(struct job *j, int64_t first, int64_t count)
{
  struct batch *b = TAILQ_FIRST(&j->batches), *next;
  for (; b; b = next) {
    int64_t before = first > b->id ? first - b->id : 0; /* tasks that stay */
    if (before && before < b->left && split(j, b, before) < 0) return -1;
    next = TAILQ_NEXT(b, link);
    if (before) continue;
    for (int64_t n = b->left; n > 0 && b->id - first < count; n--) {
      fail_queued(j, b, "cancelled", "the task was cancelled");
      flush_full(j);
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

struct preparation {
  struct job *job;
  struct mp_reader definition; /* for l_prepare */
  lua_State *co; /* for l_keep_prepared: map and concurrency are on its stack */
};

LJMP static int l_keep_prepared(lua_State *L)
{
  const struct preparation *p = vm_arg(L);
  struct job *j = p->job;
  luaL_checkstack(L, 4, "prepare");
  lua_xmove(p->co, L, 2);
  j->concurrency = luaL_checkinteger(L, 3);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  j->map = luaL_ref(L, LUA_REGISTRYINDEX);
  j->state = JOB_READY;
  return 0;
}

static void break_job(struct job *j, const char *kind, const char *text)
{
  j->state = JOB_BROKEN;
  buf_clear(&j->error);
  outcome_put_error(&j->error, kind, text, false);
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
    struct preparation p = {.job = j, .co = L};
    if (vm_pcall(j->session->vm, l_keep_prepared, &p, &e) < 0)
      break_job(j, e.kind, e.text);
  } else if (outcome == TASK_DONE && nresults != 2) {
    break_job(j, "protocol", "the job was not prepared");
  } else {
    /* an error raised (below it the traceback), or nil and an error */
    j->state = JOB_BROKEN;
    outcome_encode_error(&j->error, j->session->vm, L, outcome == TASK_ERROR,
                         false);
  }
}

LJMP static int l_prepare(lua_State *L)
{
  struct preparation *p = vm_arg(L);
  struct job *j = p->job;
  struct err e;
  vm_push_library(L, "fleet.worker.runner", "prepare");
  if (codec_decode(L, &p->definition, &e) != 0)
    return luaL_error(L, "malformed job definition");
  struct task *t = task_new(L, on_prepared, j);
  t->identity =
      (struct task_identity){.session = j->session->number, .job = j->number};
  task_output_begin(&j->output, &t->identity);
  lua_xmove(L, t->co, 2);
  task_start(t, 1);
  j->preparing = t;
  return 0;
}

/* ---- the job ---- */

struct job *job_new(struct job_session *s, int64_t number,
                    const uint8_t *definition, size_t len)
{
  struct job *j = calloc(1, sizeof(*j));
  if (!j) return NULL;
  j->session = s;
  j->number = number;
  j->map = LUA_NOREF;
  TAILQ_INIT(&j->batches);
  output_queue_init(&j->outputs, &s->host->worker);
  buf_init(&j->error, PROTOCOL_MAX_FRAME);
  buf_init(&j->events, PROTOCOL_MAX_FRAME);
  LIST_INSERT_HEAD(&s->jobs, j, link);
  if (!definition) {
    break_job(j, "protocol", "the job definition is missing");
    return j;
  }
  struct preparation p = {.job = j,
                          .definition = {definition, definition + len}};
  struct task_identity identity = {.session = s->number, .job = number};
  struct err e;
  task_page_set(page_of(j), &identity, 0);
  if (vm_pcall(s->vm, l_prepare, &p, &e) < 0) break_job(j, e.kind, e.text);
  task_page_set(page_of(j), NULL, 0);
  return j;
}

void job_close(struct job *j)
{
  const struct batch *b;
  j->silent = true;
  buf_clear(&j->events); /* it may have failed */
  if (j->preparing) task_cancel(j->preparing);
  while (!LIST_EMPTY(&j->running_tasks))
    task_cancel(LIST_FIRST(&j->running_tasks)->task);
  buf_reset(&j->outputs.events);
  TAILQ_FOREACH (b, &j->batches, link)
    for (int64_t i = 0; i < b->left; i++)
      task_page_dequeue(page_of(j), b->number + (uint64_t)i);
  j->ended += j->queued;
  if (j->ended) job_report(j, false);
  luaL_unref(j->session->vm->L, LUA_REGISTRYINDEX, j->map);
  job_free(j);
}

void job_free(struct job *j)
{
  struct batch *b;
  while ((b = TAILQ_FIRST(&j->batches))) {
    TAILQ_REMOVE(&j->batches, b, link);
    free(b);
  }
  LIST_REMOVE(j, link);
  free(j->spare);
  task_output_end(&j->outputs, &j->output);
  buf_free(&j->outputs.events);
  buf_free(&j->error);
  buf_free(&j->events);
  free(j);
}

/* ---- output and reports ---- */

/* The output that `t` writes to, or NULL when there is none any more. */
static struct task_output *output_of(struct job *j, const struct task *t)
{
  const struct task_identity *task = &t->identity;
  struct running_task *r = t->done == on_task_done ? t->arg : NULL;
  if (j->silent) return NULL;
  if (task->id == 0) return j->preparing ? &j->output : NULL;
  if (!r) /* a task made by another */
    LIST_FOREACH (r, &j->running_tasks, link)
      if (r->task->identity.id == task->id &&
          r->task->identity.attempt == task->attempt)
        break;
  return r ? &r->output : NULL;
}

void job_print(struct job *j, struct task *t, const char *text, size_t len)
{
  struct task_output *output = output_of(j, t);
  if (output) task_output_print(&j->outputs, output, text, len);
  flush_full(j);
}

int job_progress(struct job *j, struct task *t, lua_State *L, int idx,
                 struct err *e)
{
  struct task_output *output = output_of(j, t);
  if (!output) return 0;
  return task_output_progress(&j->outputs, output, L, idx, e);
}

static bool is_starved(const struct job *j)
{
  return !j->starved_sent && j->state == JOB_READY && j->running &&
         !j->queued && j->running < j->concurrency &&
         !task_ready(j->session->vm);
}

/* Writes the report, which comes before the results that it counts. */
static void put_report(struct job *j, struct buf *b, bool starved)
{
  const struct worker_identity *worker = &j->session->host->worker;
  mp_write_array(b, 9);
  mp_write_int(b, 0);
  mp_write_cstr(b, "report");
  mp_write_int(b, worker->index);
  mp_write_int(b, worker->generation);
  mp_write_int(b, j->number);
  mp_write_int(b, j->ended);
  mp_write_float(b, (double)j->busy / (double)LOOP_S);
  mp_write_float(b, (double)j->wall / (double)LOOP_S);
  mp_write_int(b, (int64_t)j->events.len);
  if (!starved) return;
  event_begin(b, worker, "starved", 3);
  mp_put_int(b, "job", j->number);
  mp_put_int(b, "running", j->running);
}

bool job_report(struct job *j, bool room)
{
  const struct job_host *host = j->session->host;
  bool starved = is_starved(j);
  struct buf report;
  bool more = room && output_queue_add_progress(&j->outputs, FLUSH_BYTES);
  if (!j->ended && !starved && !j->outputs.events.len) return more;
  buf_init(&report, 512);
  put_report(j, &report, starved);
  const struct buf *parts[] = {&j->outputs.events, &report, &j->events};
  host->send(host->arg, j->session->number, j->ended, parts, 3);
  buf_free(&report);
  buf_reset(&j->outputs.events);
  buf_reset(&j->events);
  j->ended = 0;
  j->busy = j->wall = 0;
  j->starved_sent |= starved;
  return more;
}
