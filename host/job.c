/* SPDX-License-Identifier: MIT */
#include "job.h"

#include "codec.h"
#include "lib.h"
#include "protocol.h"
#include "task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  MEMORY_CAP = 512 * 1024 * 1024, /* Lua memory of one job's state */
  MAX_TRACEBACK = 8 * 1024,
  /* Records are sent once there are this many bytes, even inside a turn: they
   * and one more value always fit a frame. */
  FULL_RECORDS = 512 * 1024,
};

struct batch {
  struct batch *next;
  int64_t id, left, attempt; /* next task to start, tasks left */
  struct mp_reader items;
  uint8_t data[];
};

struct work; /* one running task */

struct job {
  struct job *next;
  int64_t session;
  char *key;
  size_t key_len;
  job_on_full *on_full;
  void *arg;
  struct vm *vm;
  struct buf definition;
  /* what runner.lua's prepare gave */
  enum { PREPARING, READY, BROKEN } state;
  int map; /* registry reference */
  int64_t concurrency;
  uint64_t timeout;  /* ns; 0: none */
  struct buf broken; /* the error of a failed prepare, encoded */
  /* tasks */
  struct batch *first, **last;
  struct work *running_list, *idle;
  int64_t running, queued;
  /* since the last report */
  struct buf records;
  int64_t ended;
  uint64_t busy, wall;
  bool hungry_said; /* until new work comes */
};

struct work {
  struct work *prev, *next;
  struct job *job;
  struct task *task;
  struct loop_timer timer;
  int64_t id, attempt;
  uint64_t started;
  bool timed_out;
};

/* ---- errors as bytes ---- */

struct error_source {
  lua_State *co;  /* the error value is on top of its stack */
  bool traceback; /* the traceback is below it */
  bool begun;     /* else the item never ran */
  struct buf *out;
};

static void put_error(struct buf *b, const char *kind, const char *message,
                      bool begun, const char *traceback)
{
  mp_write_map(b, traceback ? 4 : 3);
  mp_write_cstr(b, "kind");
  mp_write_cstr(b, kind);
  mp_write_cstr(b, "message");
  mp_write_cstr(b, message);
  mp_write_cstr(b, "applied");
  mp_write_cstr(b, begun ? "yes" : "no");
  if (!traceback) return;
  mp_write_cstr(b, "traceback");
  size_t len = strlen(traceback);
  mp_write_str(b, traceback, len < MAX_TRACEBACK ? len : MAX_TRACEBACK);
}

/* LJMP: an error table, as the job made it, travels whole (its `applied`
 * included, when its item ran); anything else becomes the message of a
 * "raise". */
LJMP static int l_encode_error(lua_State *L)
{
  struct error_source *s = lua_touserdata(L, 1);
  struct err e;
  lua_State *co = s->co;
  luaL_checkstack(L, 8, "error");
  if (!lua_checkstack(co, 2)) return luaL_error(L, "stack overflow");
  lua_pushvalue(co, -1);
  lua_xmove(co, L, 1); /* error */
  const char *trace = NULL;
  if (s->traceback) {
    lua_pushvalue(co, -2);
    lua_xmove(co, L, 1);
    trace = lua_tostring(L, 3);
  }
  if (lua_istable(L, 2)) {
    lua_getfield(L, 2, "kind");
    lua_getfield(L, 2, "message");
    bool is_error =
        lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING;
    if (is_error && !s->begun) {
      lua_pushliteral(L, "applied");
      lua_pushliteral(L, "no");
      lua_rawset(L, 2);
    }
    if (is_error && codec_encode(L, 2, "error", s->out, &e) == 0) return 0;
  }
  const char *text;
  if (lua_isstring(L, 2) || luaL_getmetafield(L, 2, "__tostring"))
    text = luaL_tolstring(L, 2, NULL);
  else /* as lua.c says it */
    text =
        lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 2));
  bool memory = lua_type(L, 2) == LUA_TSTRING &&
                strstr(text, "not enough memory") != NULL;
  put_error(s->out, memory ? "memory" : "raise", text, s->begun, trace);
  return 0;
}

static void encode_error(struct job *j, lua_State *co, bool traceback,
                         bool begun, struct buf *out)
{
  struct error_source s = {co, traceback, begun, out};
  struct err e;
  if (out->failed) return; /* what stands before the error is lost already */
  size_t start = out->len, max = out->max;
  out->max = start + PROTOCOL_MAX_VALUE;
  if (vm_pcall(j->vm, l_encode_error, &s, &e) < 0 || out->failed) {
    bool memory = !out->failed && !strcmp(e.kind, "memory");
    out->len = start; /* __tostring raised, it is too large, or memory is out */
    out->failed = false;
    put_error(out, memory ? "memory" : "raise",
              "the task failed, and so did describing its error", begun, NULL);
  }
  out->max = max;
}

/* ---- records ---- */

static size_t begin_record(struct job *j, int64_t id, int64_t attempt, bool ok)
{
  size_t start = j->records.len;
  mp_write_array(&j->records, 4);
  mp_write_int(&j->records, id);
  mp_write_int(&j->records, attempt);
  mp_write_bool(&j->records, ok);
  j->ended++;
  return start;
}

static void record_failure(struct job *j, int64_t id, int64_t attempt,
                           const char *kind, const char *message)
{
  begin_record(j, id, attempt, false);
  put_error(&j->records, kind, message, true, NULL);
}

/* The results of map are `nresults` values at the top of co: a first value,
 * or nil and an error. */
static void record_results(struct work *w, lua_State *co, int nresults)
{
  struct job *j = w->job;
  struct err e;
  int first = lua_gettop(co) - nresults + 1;
  if (nresults >= 2 && lua_isnil(co, first) && !lua_isnil(co, first + 1)) {
    begin_record(j, w->id, w->attempt, false);
    lua_settop(co, first + 1);
    encode_error(j, co, false, true, &j->records);
    return;
  }
  size_t start = begin_record(j, w->id, w->attempt, true);
  if (nresults == 0) {
    mp_write_nil(&j->records);
    return;
  }
  size_t max = j->records.max;
  j->records.max = j->records.len + PROTOCOL_MAX_VALUE;
  int rc = codec_encode(co, first, "result", &j->records, &e);
  j->records.max = max;
  if (rc == 0) return;
  j->records.len = start;
  j->records.failed = false;
  j->ended--;
  if (!strcmp(e.kind, "too_large")) /* codec.c knows another limit */
    err_set(&e, "too_large", "the result takes more than %d bytes",
            PROTOCOL_MAX_VALUE);
  record_failure(j, w->id, w->attempt, e.kind, e.text);
}

/* ---- running tasks ---- */

static void on_timeout(struct loop_timer *timer)
{
  struct work *w =
      (struct work *)((char *)timer - offsetof(struct work, timer));
  w->timed_out = true;
  task_cancel(w->task);
}

static void on_task_done(struct task *t, enum task_outcome outcome,
                         lua_State *L, int nresults, void *arg)
{
  struct work *w = arg;
  struct job *j = w->job;
  j->busy += task_busy(t);
  j->wall += loop_clock() - w->started;
  loop_timer_clear(vm_host(j->vm)->loop, &w->timer);
  if (outcome == TASK_DONE) {
    record_results(w, L, nresults);
  } else if (outcome == TASK_ERROR) {
    begin_record(j, w->id, w->attempt, false);
    encode_error(j, L, true, true, &j->records);
  } else if (w->timed_out) {
    char text[64];
    snprintf(text, sizeof(text), "the task took longer than %g s",
             (double)j->timeout / (double)LOOP_S);
    record_failure(j, w->id, w->attempt, "timeout", text);
  }
  *(w->prev ? &w->prev->next : &j->running_list) = w->next;
  if (w->next) w->next->prev = w->prev;
  w->next = j->idle;
  j->idle = w;
  j->running--;
  if (j->records.len > FULL_RECORDS) j->on_full(j->arg, j);
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
  w->id = b->id;
  w->attempt = b->attempt;
  w->started = loop_clock();
  w->prev = NULL;
  w->next = j->running_list;
  if (w->next) w->next->prev = w;
  j->running_list = w;
  if (j->timeout) loop_timer_set(vm_host(j->vm)->loop, &w->timer, j->timeout);
  lua_xmove(L, task_thread(t), 2);
  task_start(t, 1);
  j->running++;
}

/* Takes the next task off the queue. */
static void advance(struct job *j)
{
  struct batch *b = j->first;
  b->id++;
  b->left--;
  j->queued--;
  mp_skip(&b->items);
  if (b->left) return;
  j->first = b->next;
  if (!j->first) j->last = &j->first;
  free(b);
}

LJMP static int l_start(lua_State *L)
{
  struct job *j = lua_touserdata(L, 1);
  while (j->first && j->running < j->concurrency) {
    start_one(L, j);
    advance(j);
  }
  return 0;
}

static void fail_queued(struct job *j)
{
  while (j->first) {
    begin_record(j, j->first->id, j->first->attempt, false);
    buf_add(&j->records, j->broken.data, j->broken.len);
    advance(j);
    if (j->records.len > FULL_RECORDS) j->on_full(j->arg, j);
  }
}

bool job_start_tasks(struct job *j)
{
  struct err e;
  if (!j->first || j->state == PREPARING) return false;
  if (j->state == BROKEN) {
    fail_queued(j);
    return false;
  }
  if (j->running >= j->concurrency) return false;
  if (vm_pcall(j->vm, l_start, j, &e) < 0) {
    begin_record(j, j->first->id, j->first->attempt, false);
    put_error(&j->records, e.kind, e.text, false, NULL);
    advance(j);
  }
  return true;
}

int job_add(struct job *j, int64_t first, int64_t count, int64_t attempt,
            const uint8_t *items, size_t len)
{
  struct batch *b = malloc(sizeof(*b) + len);
  if (!b) return -1;
  memcpy(b->data, items, len);
  b->next = NULL;
  b->id = first;
  b->left = count;
  b->attempt = attempt;
  b->items = (struct mp_reader){b->data, b->data + len};
  *j->last = b;
  j->last = &b->next;
  j->queued += count;
  j->hungry_said = false;
  return 0;
}

/* ---- preparing ---- */

struct prepared {
  struct job *job;
  lua_State *co; /* map, concurrency, timeout are its results */
};

LJMP static int l_keep_prepared(lua_State *L)
{
  struct prepared *p = lua_touserdata(L, 1);
  struct job *j = p->job;
  luaL_checkstack(L, 4, "prepare");
  lua_xmove(p->co, L, 3);
  j->concurrency = luaL_checkinteger(L, 3);
  lua_Number timeout = luaL_optnumber(L, 4, 0);
  j->timeout = timeout > 0 && timeout < 1e9 ? (uint64_t)(timeout * 1e9) : 0;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  j->map = luaL_ref(L, LUA_REGISTRYINDEX);
  j->state = READY;
  return 0;
}

static void break_job(struct job *j, const struct err *e)
{
  j->state = BROKEN;
  buf_clear(&j->broken);
  put_error(&j->broken, e->kind, e->text, false, NULL);
}

static void on_prepared(struct task *t, enum task_outcome outcome, lua_State *L,
                        int nresults, void *arg)
{
  (void)t;
  struct job *j = arg;
  struct err e;
  if (outcome == TASK_DONE && nresults == 3) {
    struct prepared p = {j, L};
    if (vm_pcall(j->vm, l_keep_prepared, &p, &e) < 0) break_job(j, &e);
  } else if (outcome == TASK_CANCELLED) {
    return; /* the job is being freed */
  } else {
    /* an error raised (below it the traceback), or nil and an error */
    j->state = BROKEN;
    encode_error(j, L, outcome == TASK_ERROR, false, &j->broken);
  }
}

LJMP static int l_prepare(lua_State *L)
{
  struct job *j = lua_touserdata(L, 1);
  struct mp_reader r = {j->definition.data,
                        j->definition.data + j->definition.len};
  struct err e;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "fleet.runner");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "prepare");
  if (codec_decode(L, &r, &e) != 0)
    return luaL_error(L, "malformed job definition");
  struct task *t = task_new(L, on_prepared, j);
  lua_xmove(L, task_thread(t), 2);
  task_start(t, 1);
  return 0;
}

/* ---- the job ---- */

struct job *job_new(struct vm_host *host, int64_t session, const uint8_t *key,
                    size_t key_len, const uint8_t *definition,
                    size_t definition_len, job_on_full *on_full, void *arg,
                    struct err *e)
{
  struct vm_options options = {
      .host = host, .modules = lib_for_jobs, .memory_cap = MEMORY_CAP};
  struct job *j = calloc(1, sizeof(*j));
  if (!j) goto memory;
  j->session = session;
  j->on_full = on_full;
  j->arg = arg;
  j->last = &j->first;
  buf_init(&j->definition, PROTOCOL_MAX_FRAME);
  buf_init(&j->broken, PROTOCOL_MAX_FRAME);
  buf_init(&j->records, PROTOCOL_MAX_FRAME);
  j->key_len = key_len;
  j->key = malloc(key_len + 1);
  if (!j->key || buf_add(&j->definition, definition, definition_len) < 0)
    goto memory;
  memcpy(j->key, key, key_len);
  j->vm = vm_new(&options, e);
  if (!j->vm) goto fail;
  struct err why;
  if (vm_pcall(j->vm, l_prepare, j, &why) < 0) break_job(j, &why);
  return j;
memory:
  err_set(e, "memory", "out of memory for a job");
fail:
  job_free(j);
  return NULL;
}

void job_free(struct job *j)
{
  if (!j) return;
  vm_free(j->vm); /* cancels the tasks: each on_task_done runs once more */
  for (struct batch *b = j->first, *next; b; b = next) {
    next = b->next;
    free(b);
  }
  for (struct work *w = j->idle, *next; w; w = next) {
    next = w->next;
    free(w);
  }
  buf_free(&j->definition);
  buf_free(&j->broken);
  buf_free(&j->records);
  free(j->key);
  free(j);
}

bool job_is(const struct job *j, int64_t session, const uint8_t *key,
            size_t key_len)
{
  return j->session == session && j->key_len == key_len &&
         !memcmp(j->key, key, key_len);
}

int64_t job_session(const struct job *j)
{
  return j->session;
}

struct job **job_next(struct job *j)
{
  return &j->next;
}

int64_t job_running(const struct job *j)
{
  return j->running;
}

/* ---- reporting ---- */

static bool is_hungry(const struct job *j)
{
  return !j->hungry_said && j->state == READY && j->running && !j->queued &&
         j->running < j->concurrency && !task_ready(j->vm);
}

bool job_has_report(const struct job *j)
{
  return j->ended || is_hungry(j);
}

static void put_seconds(struct buf *b, const char *key, uint64_t ns)
{
  mp_write_cstr(b, key);
  mp_write_float(b, (double)ns / 1e9);
}

static void put_head(struct buf *b, const char *name,
                     const struct job_reporter *who, size_t fields)
{
  mp_write_array(b, 4);
  mp_write_int(b, 0);
  mp_write_cstr(b, name);
  mp_write_int(b, who->worker);
  mp_write_map(b, fields);
  mp_write_cstr(b, "generation");
  mp_write_int(b, who->generation);
}

void job_report(struct job *j, const struct job_reporter *who,
                struct buf *frame)
{
  struct buf head;
  bool hungry = is_hungry(j);
  buf_init(&head, 512);
  put_head(&head, "report", who, 5);
  mp_write_cstr(&head, "n");
  mp_write_int(&head, j->ended);
  put_seconds(&head, "cpu", j->busy);
  put_seconds(&head, "wall", j->wall);
  mp_write_cstr(&head, "bytes");
  mp_write_int(&head, (int64_t)j->records.len);
  if (hungry) {
    put_head(&head, "hungry", who, 2);
    mp_write_cstr(&head, "running");
    mp_write_int(&head, j->running);
    j->hungry_said = true;
  }
  mp_write_array(frame, 4);
  mp_write_cstr(frame, "out");
  mp_write_int(frame, j->session);
  mp_write_int(frame, j->ended);
  mp_write_bin_head(frame, head.len + j->records.len);
  buf_add(frame, head.data, head.len);
  buf_add(frame, j->records.data, j->records.len);
  if (head.failed) frame->failed = true;
  buf_free(&head);
  j->ended = 0;
  j->busy = j->wall = 0;
  if (j->records.failed) frame->failed = true;
  if (j->records.cap > 1024 * 1024)
    buf_free(&j->records);
  else
    buf_clear(&j->records);
}
