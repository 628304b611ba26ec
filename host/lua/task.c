/* SPDX-License-Identifier: MIT */
#include "lua/task.h"

#include "base/container.h"
#include "lua/coroutine.h"
#include "lua/preempt.h"

#include <stdlib.h>

/* Limits of one loop iteration, so that sockets and timers are served in
 * between: resumes, and their time, which is checked at every 16th resume. */
enum { MAX_RESUMES = 512 };
#define MAX_RESUME_TIME (2 * LOOP_MS)

/* Coroutines kept for reuse: making one costs more than a trivial task. */
enum { MAX_POOLED = 256 };

struct task_set {
  struct vm *vm;
  struct loop_hook hook; /* runs the ready tasks */
  LIST_HEAD(live, task) live;
  TAILQ_HEAD(ready, task) ready;
  struct {
    lua_State *co;
    int ref;
  } pool[MAX_POOLED];
  int pooled;
};

/* ---- the set ---- */

static bool run_ready(struct loop_hook *hook);

struct task_set *task_set_new(struct vm *vm)
{
  struct task_set *s = calloc(1, sizeof(*s));
  if (!s) return NULL;
  s->vm = vm;
  s->hook.run = run_ready;
  LIST_INIT(&s->live);
  TAILQ_INIT(&s->ready);
  loop_hook_add(vm->host->loop, &s->hook);
  return s;
}

void task_set_cancel(struct task_set *s)
{
  while (!LIST_EMPTY(&s->live)) task_cancel(LIST_FIRST(&s->live));
}

void task_set_free(struct task_set *s)
{
  if (!s) return;
  loop_hook_remove(&s->hook);
  free(s);
}

bool task_ready(const struct vm *vm)
{
  return !TAILQ_EMPTY(&vm->tasks->ready);
}

static void make_ready(struct task *t, int nargs)
{
  t->state = TASK_READY;
  t->nargs = nargs;
  TAILQ_INSERT_TAIL(&t->set->ready, t, ready_link);
}

/* ---- one task ---- */

LJMP struct task *task_new(lua_State *L, task_done *done, void *arg)
{
  struct task_set *s = vm_of(L)->tasks;
  lua_State *co;
  int ref;
  if (s->pooled) {
    co = s->pool[--s->pooled].co;
    ref = s->pool[s->pooled].ref;
  } else {
    co = lua_newthread(L);
    vm_lock_coroutine(co, true);
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
  if (s->vm->running) {
    t->identity = s->vm->running->identity;
    t->identity.deadline = 0;
  }
  LIST_INSERT_HEAD(&s->live, t, live_link);
  return t;
}

void task_start(struct task *t, int nargs)
{
  make_ready(t, nargs);
}

/* Takes the task off the list, calls `done`, returns the coroutine to the pool.
 */
static void end(struct task *t, enum task_outcome outcome, int nresults)
{
  struct task_set *s = t->set;
  LIST_REMOVE(t, live_link);
  t->done(t, outcome, t->co, nresults, t->arg);
  /* only a coroutine that ended normally may run another function */
  if (outcome == TASK_DONE && s->pooled < MAX_POOLED) {
    lua_settop(t->co, 0);
    s->pool[s->pooled].co = t->co;
    s->pool[s->pooled++].ref = t->ref;
  } else {
    luaL_unref(s->vm->L, LUA_REGISTRYINDEX, t->ref);
  }
  free(t);
}

/* This and l_close_yielded leave two values on the coroutine: the traceback and
 * above it the error. Its to-be-closed variables are closed after the traceback
 * was taken; an error in that replaces the first one, as when a block is left.
 */
LJMP static int l_close_failed(lua_State *L)
{
  lua_State *co = ((struct task *)vm_arg(L))->co;
  vm_traceback(L, co);
  lua_resetthread(co);
  lua_xmove(L, co, 1);
  lua_insert(co, -2);
  return 0;
}

/* For a task that called coroutine.yield outside a coroutine of its own. */
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
  struct vm *vm = t->set->vm;
  struct task_page_writer *page = vm->host->task_page;
  t->stopped = loop_clock();
  const struct task_identity *before =
      task_page_set(page, &t->identity, t->stopped);
  if (t->state == TASK_READY) TAILQ_REMOVE(&t->set->ready, t, ready_link);
  t->state = TASK_RUNNING;
  if (t->wait) {
    t->wait->task = NULL;
    if (t->wait->cancel) t->wait->cancel(t->wait);
    t->wait = NULL;
  }
  struct task *running = vm->running;
  vm->running = t;
  coroutine_close(t->co);
  vm->running = running;
  lua_settop(t->co, 0);
  end(t, TASK_CANCELLED, 0);
  task_page_set(page, before, before ? loop_clock() : 0);
}

/* ---- running ---- */

static void resume(struct task *t)
{
  struct vm *vm = t->set->vm;
  struct task_page_writer *page = vm->host->task_page;
  int nresults = 0;
  struct task_identity shown = t->identity; /* `t` may end before the page */
  t->state = TASK_RUNNING;
  vm->running = t;
  vm->host_yield = false;
  vm->no_wait = 0;
  uint64_t start = loop_clock();
  const struct task_identity *before = task_page_set(page, &shown, start);
  vm->allocated = t->allocated;
  preempt_enter(t->co);
  int rc = lua_resume(t->co, NULL, t->nargs, &nresults);
  preempt_enter(NULL);
  /* until the next resume, only closers and finalizers run, which do not wait
   */
  bool is_host_yield = vm->host_yield;
  vm->host_yield = false;
  t->allocated = vm->allocated;
  vm->allocated = 0;
  t->stopped = loop_clock();
  t->busy += t->stopped - start;
  vm->running = NULL;
  if (rc == LUA_OK) {
    end(t, TASK_DONE, nresults);
  } else if (rc != LUA_YIELD) {
    end_with_error(t, l_close_failed);
  } else if (t->wait) {
    t->state = TASK_PARKED;
  } else if (is_host_yield) {
    make_ready(t, 0);
  } else {
    end_with_error(t, l_close_yielded);
  }
  if (rc == LUA_ERRMEM) vm_collect(vm); /* the next would fail, too */
  task_page_set(page, before, 0);
}

static bool run_ready(struct loop_hook *hook)
{
  struct task_set *s = CONTAINER_OF(hook, struct task_set, hook);
  if (TAILQ_EMPTY(&s->ready)) return false;
  uint64_t until = loop_clock() + MAX_RESUME_TIME;
  for (int i = 0; i < MAX_RESUMES && !TAILQ_EMPTY(&s->ready); i++) {
    struct task *t = TAILQ_FIRST(&s->ready);
    TAILQ_REMOVE(&s->ready, t, ready_link);
    resume(t);
    if (i % 16 == 15 && loop_clock() > until) break;
  }
  return !TAILQ_EMPTY(&s->ready);
}

/* ---- waiting ---- */

LJMP void task_check_can_wait(lua_State *L, const char *what)
{
  struct vm *vm = vm_of(L);
  if (!vm->running) vm_misuse(L, "%s cannot wait here: only a task can", what);
  if (!lua_isyieldable(L) || vm->no_wait)
    vm_misuse(L,
              "%s cannot wait here: not inside a table.sort comparator, a "
              "string.gsub callback, __gc, __tostring or a module being "
              "required",
              what);
}

LJMP static int k_nothing(lua_State *L, int status, lua_KContext ctx)
{
  (void)L, (void)status, (void)ctx;
  return 0;
}

LJMP int task_await(lua_State *L, struct task_wait *w, lua_KContext ctx,
                    lua_KFunction k)
{
  struct vm *vm = vm_of(L);
  w->task = vm->running;
  w->task->wait = w;
  vm->host_yield = true;
  return lua_yieldk(L, 0, ctx, k ? k : k_nothing);
}

void task_wake(struct task_wait *w)
{
  struct task *t = w->task;
  if (!t) return;
  w->task = NULL;
  t->wait = NULL;
  make_ready(t, 0);
}

LJMP int task_yield(lua_State *L)
{
  task_check_can_wait(L, "task.yield");
  vm_of(L)->host_yield = true;
  return lua_yieldk(L, 0, 0, k_nothing);
}
