/* SPDX-License-Identifier: MIT */
#include "lua/task.h"

#include "base/container.h"
#include "lua/coroutine.h"
#include "lua/preempt.h"

#include <stdlib.h>

/* Resumes per loop turn, so that sockets and timers are looked at in between;
 * and the time after which a turn ends early. */
enum { TURN_TASKS = 512 };
#define TURN_TIME (2 * LOOP_MS)

/* Coroutines kept for reuse: making one costs more than a trivial task. */
enum { POOL_SIZE = 256 };

enum task_state {
  TASK_NEW,     /* task_start not called yet */
  TASK_READY,   /* in the run queue */
  TASK_RUNNING, /* inside lua_resume, or its variables are being closed */
  TASK_PARKED,  /* waits for task_wake */
};

struct task {
  struct task_set *set;
  lua_State *co;
  int ref; /* anchors co in the registry */
  enum task_state state;
  int nargs;
  struct task_wait *wait;
  task_done *done;
  void *arg;
  struct task_identity who;
  uint64_t busy, stopped;
  size_t allocated;
  struct task *prev, *next;             /* all live tasks */
  struct task *ready_prev, *ready_next; /* run queue */
};

struct task_set {
  struct vm *vm;
  struct loop *loop;
  struct task_page_writer *task_page;
  struct loop_hook hook; /* runs the queue */
  struct task *live;
  struct task *ready_first, *ready_last;
  size_t count;
  struct task *running;
  struct {
    lua_State *co;
    int ref;
  } pool[POOL_SIZE];
  int pooled;
};

/* ---- the set ---- */

static struct task_set *set_of_hook(struct loop_hook *hook)
{
  return CONTAINER_OF(hook, struct task_set, hook);
}

static void ready_push(struct task *t)
{
  struct task_set *s = t->set;
  t->state = TASK_READY;
  t->ready_next = NULL;
  t->ready_prev = s->ready_last;
  *(s->ready_last ? &s->ready_last->ready_next : &s->ready_first) = t;
  s->ready_last = t;
}

static void ready_remove(struct task *t)
{
  struct task_set *s = t->set;
  *(t->ready_prev ? &t->ready_prev->ready_next : &s->ready_first) =
      t->ready_next;
  *(t->ready_next ? &t->ready_next->ready_prev : &s->ready_last) =
      t->ready_prev;
}

static void live_remove(struct task *t)
{
  struct task_set *s = t->set;
  *(t->prev ? &t->prev->next : &s->live) = t->next;
  if (t->next) t->next->prev = t->prev;
  s->count--;
}

static bool run_ready(struct loop_hook *hook);

struct task_set *task_set_new(struct vm *vm)
{
  struct task_set *s = calloc(1, sizeof(*s));
  if (!s) return NULL;
  s->vm = vm;
  s->loop = vm_host(vm)->loop;
  s->task_page = vm_host(vm)->task_page;
  s->hook.run = run_ready;
  loop_hook_add(s->loop, &s->hook);
  return s;
}

void task_set_cancel(struct task_set *s)
{
  while (s->live) task_cancel(s->live);
}

void task_set_free(struct task_set *s)
{
  if (!s) return;
  loop_hook_remove(&s->hook);
  free(s);
}

bool task_ready(const struct vm *vm)
{
  return vm_tasks(vm)->ready_first != NULL;
}

struct task *task_running(struct vm *vm)
{
  return vm_tasks(vm)->running;
}

uint64_t task_busy(const struct task *t)
{
  return t->busy;
}

uint64_t task_stopped(const struct task *t)
{
  return t->stopped;
}

lua_State *task_thread(struct task *t)
{
  return t->co;
}

void task_identify(struct task *t, const struct task_identity *who)
{
  t->who = *who;
}

const struct task_identity *task_who(const struct task *t)
{
  return &t->who;
}

void *task_arg(const struct task *t, task_done *done)
{
  return t->done == done ? t->arg : NULL;
}

/* ---- one task ---- */

LJMP struct task *task_new(lua_State *L, task_done *done, void *arg)
{
  struct task_set *s = vm_tasks(vm_of(L));
  lua_State *co;
  int ref;
  if (s->pooled) {
    co = s->pool[--s->pooled].co;
    ref = s->pool[s->pooled].ref;
  } else {
    co = lua_newthread(L);
    vm_mark(co, true);
    ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  struct task *t = calloc(1, sizeof(*t));
  if (!t) {
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    luaL_error(L, "not enough memory");
    return NULL;
  }
  t->set = s;
  t->co = co;
  t->ref = ref;
  t->done = done;
  t->arg = arg;
  if (s->running) {
    t->who = s->running->who;
    t->who.deadline = 0;
  }
  t->next = s->live;
  if (s->live) s->live->prev = t;
  s->live = t;
  s->count++;
  return t;
}

void task_start(struct task *t, int nargs)
{
  t->nargs = nargs;
  ready_push(t);
}

/* Takes the task off all lists, tells its owner, gives the coroutine back. */
static void end(struct task *t, enum task_outcome outcome, int nresults)
{
  struct task_set *s = t->set;
  lua_State *L = vm_state(s->vm);
  live_remove(t);
  t->done(t, outcome, t->co, nresults, t->arg);
  /* only a coroutine that ended normally may run another function */
  if (outcome == TASK_DONE && s->pooled < POOL_SIZE) {
    lua_settop(t->co, 0);
    s->pool[s->pooled].co = t->co;
    s->pool[s->pooled++].ref = t->ref;
  } else {
    luaL_unref(L, LUA_REGISTRYINDEX, t->ref);
  }
  free(t);
}

/* Both leave on the coroutine, emptied, the traceback and above it the error.
 * Its to-be-closed variables are closed, after the traceback was taken, and an
 * error in that replaces the first one, as in a block that is left. */
LJMP static int l_close_failed(lua_State *L)
{
  lua_State *co = ((struct task *)vm_arg(L))->co;
  vm_traceback(L, co);
  lua_resetthread(co);
  lua_xmove(L, co, 1);
  lua_insert(co, -2);
  return 0;
}

/* The job's own coroutine.yield, with nobody to yield to. */
LJMP static int l_close_yielded(lua_State *L)
{
  lua_State *co = ((struct task *)vm_arg(L))->co;
  vm_traceback(L, co);
  lua_pushliteral(L, "coroutine.yield outside a coroutine");
  lua_resetthread(co);
  lua_settop(co, 0);
  lua_xmove(L, co, 2);
  return 0;
}

static void end_with_error(struct task *t, lua_CFunction close)
{
  struct err e;
  if (vm_pcall(t->set->vm, close, t, &e) < 0) { /* no memory: no traceback */
    lua_resetthread(t->co);
    lua_settop(t->co, 1);
    lua_pushboolean(t->co, 0);
    lua_insert(t->co, -2);
  }
  end(t, TASK_ERROR, 0);
}

bool task_can_cancel(const struct task *t)
{
  return t->state != TASK_RUNNING;
}

void task_cancel(struct task *t)
{
  struct task_set *s = t->set;
  t->stopped = loop_clock();
  const struct task_identity *before =
      task_page_set(s->task_page, &t->who, t->stopped);
  if (t->state == TASK_READY) ready_remove(t);
  t->state = TASK_RUNNING;
  if (t->wait) {
    t->wait->task = NULL;
    if (t->wait->cancel) t->wait->cancel(t->wait);
    t->wait = NULL;
  }
  struct task *running = s->running;
  s->running = t;
  coroutine_close(t->co);
  s->running = running;
  lua_settop(t->co, 0);
  end(t, TASK_CANCELLED, 0);
  task_page_set(s->task_page, before, before ? loop_clock() : 0);
}

/* ---- running ---- */

static void resume(struct task *t)
{
  struct task_set *s = t->set;
  struct vm_turn *turn = vm_turn(s->vm);
  int nresults = 0;
  struct task_identity who = t->who; /* shown for longer than `t` may last */
  t->state = TASK_RUNNING;
  s->running = t;
  *turn = (struct vm_turn){.in_task = true};
  uint64_t start = loop_clock();
  const struct task_identity *before = task_page_set(s->task_page, &who, start);
  vm_meter_set(s->vm, t->allocated);
  preempt_enter(t->co);
  int rc = lua_resume(t->co, NULL, t->nargs, &nresults);
  preempt_enter(NULL);
  t->allocated = vm_meter(s->vm);
  vm_meter_set(s->vm, 0);
  t->stopped = loop_clock();
  t->busy += t->stopped - start;
  s->running = NULL;
  turn->in_task = false;
  if (rc == LUA_OK) {
    end(t, TASK_DONE, nresults);
  } else if (rc != LUA_YIELD) {
    end_with_error(t, l_close_failed);
  } else if (t->wait) {
    t->state = TASK_PARKED;
  } else if (turn->host_yield) {
    t->nargs = 0;
    ready_push(t);
  } else {
    end_with_error(t, l_close_yielded);
  }
  if (rc == LUA_ERRMEM) vm_collect(s->vm); /* the next would fail too */
  task_page_set(s->task_page, before, 0);
}

static bool run_ready(struct loop_hook *hook)
{
  struct task_set *s = set_of_hook(hook);
  if (!s->ready_first) return false;
  uint64_t until = loop_clock() + TURN_TIME;
  for (int i = 0; i < TURN_TASKS && s->ready_first; i++) {
    struct task *t = s->ready_first;
    ready_remove(t);
    resume(t);
    if (i % 16 == 15 && loop_clock() > until) break;
  }
  return s->ready_first != NULL;
}

/* ---- waiting ---- */

LJMP void task_check_can_wait(lua_State *L, const char *what)
{
  struct vm *vm = vm_of(L);
  if (!task_running(vm))
    vm_misuse(L, "%s can only be called inside a task", what);
  if (!lua_isyieldable(L) || vm_turn(vm)->no_wait)
    vm_misuse(L,
              "%s cannot wait here: not inside a table.sort comparator, a "
              "string.gsub callback, __gc, __tostring or a module being "
              "required",
              what);
}

LJMP int task_await(lua_State *L, struct task_wait *w, lua_KContext ctx,
                    lua_KFunction k)
{
  struct task *t = task_running(vm_of(L));
  w->task = t;
  t->wait = w;
  vm_turn(vm_of(L))->host_yield = true;
  return lua_yieldk(L, 0, ctx, k);
}

void task_wake(struct task_wait *w)
{
  struct task *t = w->task;
  if (!t) return;
  w->task = NULL;
  t->wait = NULL;
  t->nargs = 0;
  ready_push(t);
}

LJMP static int k_nothing(lua_State *L, int status, lua_KContext ctx)
{
  (void)L, (void)status, (void)ctx;
  return 0;
}

LJMP int task_yield(lua_State *L)
{
  task_check_can_wait(L, "task.yield");
  vm_turn(vm_of(L))->host_yield = true;
  return lua_yieldk(L, 0, 0, k_nothing);
}
