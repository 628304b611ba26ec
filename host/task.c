/* SPDX-License-Identifier: MIT */
#include "task.h"

#include "log.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Resumes per loop turn, so that sockets and timers are looked at in between;
 * and the time after which a turn ends early. */
enum { TURN_TASKS = 512 };
#define TURN_TIME (2 * LOOP_MS)

/* Processor time after which a task gives way to the others. */
#define SLICE (5 * LOOP_MS)

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
  bool yielded; /* by host.task.yield, not by a wait */
  int nargs;
  struct task_wait *wait;
  task_done *done;
  void *arg;
  struct watch_task who;
  uint64_t busy, stopped;
  size_t allocated;
  struct task *prev, *next;             /* all live tasks */
  struct task *ready_prev, *ready_next; /* run queue */
};

struct task_set {
  struct vm *vm;
  struct loop *loop;
  struct watch *watch;
  struct loop_hook hook; /* runs the queue */
  struct task *live;
  struct task *ready_first, *ready_last;
  size_t count;
  struct task *running;
  int no_wait; /* resumes under way by code that cannot yield */
  struct {
    lua_State *co;
    int ref;
  } pool[POOL_SIZE];
  int pooled;
};

/* ---- slices ----
 *
 * A task that computes must not hold up the rest, nor its own time limit. A
 * standing count hook would halve Lua's speed, so a signal, every SLICE of
 * processor time, sets the hook; the hook takes itself off and yields. Code
 * that cannot yield (a sort comparator) goes on until it can. So does the Lua
 * library: what its tasks share (the state of a scheduler, say) may be half
 * changed then, and it is left again soon. */

/* For the signal handler, which no argument reaches: the innermost coroutine
 * running now. */
static lua_State *volatile current;

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer delivers signals only at calls it knows, and a loop in Lua
 * makes none: its build pays for a standing hook instead. */
static const bool standing_hook = true;

/* How a fortified Lua raises and yields. ThreadSanitizer knows longjmp alone:
 * of any other it takes all functions that are left for still running, and it
 * keeps a copy of that ever longer stack for each place that allocates. */
_Noreturn void __longjmp_chk(jmp_buf env, int value);
_Noreturn void __longjmp_chk(jmp_buf env, int value)
{
  longjmp(env, value);
}
#else
static const bool standing_hook = false;
#endif

static bool started; /* there are slices */
static timer_t timer;

/* How many returns of library functions are watched for the one that leads
 * back to other code, and how many of them are left. */
enum { RETURNS_WATCHED = 200 };
static int returns_left;

/* What follows `prefix` in the text, or NULL. */
static const char *skip(const char *text, const char *prefix)
{
  size_t len = strlen(prefix);
  return strncmp(text, prefix, len) ? NULL : text + len;
}

/* The chunk names are those of vm.c: of embedded files, and of --lua-path. */
static bool in_library(lua_State *L, lua_Debug *ar)
{
  const char *folder = vm_host(vm_of(L))->lua_path;
  if (!lua_getinfo(L, "S", ar)) return false;
  if (skip(ar->source, "@lua/fleet/")) return true;
  const char *file = folder ? skip(ar->source, "@") : NULL;
  file = file ? skip(file, folder) : NULL;
  return file && skip(file, "/fleet/");
}

static void on_slice_hook(lua_State *L, lua_Debug *ar);

/* Code that does little but call the library is in it whenever a slice ends.
 * So the end of such a slice is made up for when the library returns. */
static void on_return_hook(lua_State *L, lua_Debug *ar)
{
  lua_Debug caller;
  (void)ar;
  if (!lua_getstack(L, 1, &caller) || --returns_left <= 0)
    lua_sethook(L, NULL, 0, 0); /* the next slice may end outside */
  else if (!in_library(L, &caller))
    lua_sethook(L, on_slice_hook, LUA_MASKCOUNT, 1);
}

static void on_slice_hook(lua_State *L, lua_Debug *ar)
{
  struct task *t = task_running(vm_of(L));
  if (in_library(L, ar)) {
    if (standing_hook) return;
    returns_left = RETURNS_WATCHED;
    lua_sethook(L, on_return_hook, LUA_MASKRET, 0);
    return;
  }
  if (!standing_hook) lua_sethook(L, NULL, 0, 0);
  if (!t || !lua_isyieldable(L) || t->set->no_wait) return;
  t->yielded = true;
  lua_yield(L, 0);
}

static void enter(lua_State *L)
{
  if (standing_hook && started && !lua_gethook(L))
    lua_sethook(L, on_slice_hook, LUA_MASKCOUNT, 100000);
  current = L;
}

static int start_slice(void)
{
  struct itimerspec slice = {.it_value = {.tv_nsec = SLICE}};
  return timer_settime(timer, 0, &slice, NULL);
}

/* lua_sethook is what Lua's own interpreter calls in its signal handler. It
 * visits the whole stack, which can take longer than a slice: the next one
 * begins only then, or a deep recursion would get no further. */
static void on_slice(int signal_number)
{
  (void)signal_number;
  lua_State *L = current;
  int saved = errno;
  if (L && !lua_gethook(L)) lua_sethook(L, on_slice_hook, LUA_MASKCOUNT, 1);
  start_slice();
  errno = saved;
}

int task_slices_start(struct err *e)
{
  struct sigaction action = {.sa_handler = on_slice, .sa_flags = SA_RESTART};
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID,
                           .sigev_signo = SIGPROF};
  if (started) return 0;
  event._sigev_un._tid = gettid();
  /* the thread's own clock: an idle process gets no signals */
  if (!standing_hook &&
      (sigaction(SIGPROF, &action, NULL) < 0 ||
       timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) < 0 ||
       start_slice() < 0))
    return err_errno(e, "system", errno, "cannot start the slice timer");
  started = true;
  /* who asks for slices has them, too */
  if (current) enter(current);
  return 0;
}

/* ---- the set ---- */

static struct task_set *set_of_hook(struct loop_hook *hook)
{
  return (struct task_set *)((char *)hook - offsetof(struct task_set, hook));
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
  s->watch = vm_host(vm)->watch;
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
  loop_hook_remove(s->loop, &s->hook);
  free(s);
}

size_t task_live(const struct vm *vm)
{
  return vm_tasks(vm)->count;
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

void task_identify(struct task *t, const struct watch_task *who)
{
  t->who = *who;
}

const struct watch_task *task_who(const struct task *t)
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
  luaL_traceback(L, co, NULL, 0);
  lua_resetthread(co);
  lua_xmove(L, co, 1);
  lua_insert(co, -2);
  return 0;
}

/* The job's own coroutine.yield, with nobody to yield to. */
LJMP static int l_close_yielded(lua_State *L)
{
  lua_State *co = ((struct task *)vm_arg(L))->co;
  luaL_traceback(L, co, NULL, 0);
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

static lua_State *inner_of(lua_State *L);

/* Closes what is pending in a coroutine and in those it waits in. Each is
 * resumed from C, and Lua bounds the depth of that. */
static void close_waiting(lua_State *L)
{
  lua_State *inner = inner_of(L);
  if (inner) {
    close_waiting(inner);
    vm_mark(inner, false);
  }
  lua_resetthread(L);
}

bool task_can_cancel(const struct task *t)
{
  return t->state != TASK_RUNNING;
}

void task_cancel(struct task *t)
{
  struct task_set *s = t->set;
  t->stopped = loop_clock();
  const struct watch_task *before = watch_show(s->watch, &t->who, t->stopped);
  if (t->state == TASK_READY) ready_remove(t);
  t->state = TASK_RUNNING;
  if (t->wait) {
    t->wait->task = NULL;
    if (t->wait->cancel) t->wait->cancel(t->wait);
    t->wait = NULL;
  }
  struct task *running = s->running;
  s->running = t;
  close_waiting(t->co);
  s->running = running;
  lua_settop(t->co, 0);
  end(t, TASK_CANCELLED, 0);
  watch_show(s->watch, before, before ? loop_clock() : 0);
}

/* ---- running ---- */

static void resume(struct task *t)
{
  struct task_set *s = t->set;
  int nresults = 0;
  struct watch_task who = t->who; /* shown for longer than `t` may last */
  t->state = TASK_RUNNING;
  t->yielded = false;
  s->running = t;
  uint64_t start = loop_clock();
  const struct watch_task *before = watch_show(s->watch, &who, start);
  vm_meter_set(s->vm, t->allocated);
  enter(t->co);
  int rc = lua_resume(t->co, NULL, t->nargs, &nresults);
  current = NULL;
  t->allocated = vm_meter(s->vm);
  vm_meter_set(s->vm, 0);
  t->stopped = loop_clock();
  t->busy += t->stopped - start;
  s->running = NULL;
  if (rc == LUA_OK) {
    end(t, TASK_DONE, nresults);
  } else if (rc != LUA_YIELD) {
    end_with_error(t, l_close_failed);
  } else if (t->wait) {
    t->state = TASK_PARKED;
  } else if (t->yielded) {
    t->nargs = 0;
    ready_push(t);
  } else {
    end_with_error(t, l_close_yielded);
  }
  if (rc == LUA_ERRMEM) vm_collect(s->vm); /* the next would fail too */
  watch_show(s->watch, before, 0);
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
    luaL_error(L, "%s can only be called inside a task", what);
  if (!lua_isyieldable(L) || vm_tasks(vm)->no_wait)
    luaL_error(L,
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
  task_running(vm_of(L))->yielded = true;
  return lua_yieldk(L, 0, 0, k_nothing);
}

/* ---- coroutines that pass our waits outward ----
 *
 * A wait inside a coroutine made by the task yields to that coroutine's
 * resume, not to the loop. So resume and wrap look at why the coroutine
 * yielded: for a wait they yield too, and resume it again once woken. Until
 * then it is marked, as the tasks' own coroutines always are: other tasks, who
 * see it suspended, may neither resume nor close it, since the wait lives on
 * its stack. A cancelled task closes those it waits in. */

static bool is_host_yield(lua_State *L)
{
  struct task *t = task_running(vm_of(L));
  return t && (t->wait || t->yielded);
}

static int resume_again(lua_State *L, int status, lua_KContext ctx);

/* A resumer that cannot yield could not pass a wait outward: there is none. */
static int resume_inner(lua_State *L, lua_State *co, int nargs, int *nresults)
{
  struct task_set *s = vm_tasks(vm_of(L));
  int blocked = !lua_isyieldable(L);
  bool slicing = current != NULL; /* else the host runs it, to close say */
  s->no_wait += blocked;
  enter(co);
  int rc = lua_resume(co, L, nargs, nresults);
  if (slicing)
    enter(L);
  else
    current = NULL;
  s->no_wait -= blocked;
  return rc;
}

/* LJMP [-nargs, +results]: resumes co (at index 1 of L or its upvalue) with
 * the `nargs` values on top of L. Returns the number of results, -1 with an
 * error message on top; does not return when the wait is passed outward. */
LJMP static int pass_resume(lua_State *L, lua_State *co, int nargs,
                            lua_KContext ctx)
{
  int nresults;
  if (!lua_checkstack(co, nargs)) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  lua_xmove(L, co, nargs);
  int rc = resume_inner(L, co, nargs, &nresults);
  if (rc == LUA_YIELD && is_host_yield(L)) {
    lua_settop(co, lua_gettop(co) - nresults);
    vm_mark(co, true);
    return lua_yieldk(L, 0, ctx, resume_again);
  }
  if (rc != LUA_OK && rc != LUA_YIELD) {
    lua_xmove(co, L, 1);
    return -1;
  }
  if (!lua_checkstack(L, nresults + 1)) {
    lua_pop(co, nresults);
    lua_pushliteral(L, "too many results to resume");
    return -1;
  }
  lua_xmove(co, L, nresults);
  return nresults;
}

LJMP static lua_State *check_co(lua_State *L)
{
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co, 1, "coroutine");
  return co;
}

/* As Lua's auxstatus in the one point that resume needs: may it run? */
static const char *not_resumable(lua_State *L, lua_State *co)
{
  if (L == co || vm_marked(co)) return "cannot resume non-suspended coroutine";
  switch (lua_status(co)) {
  case LUA_YIELD: return NULL;
  case LUA_OK: {
    lua_Debug ar;
    if (lua_getstack(co, 0, &ar))
      return "cannot resume non-suspended coroutine";
    return lua_gettop(co) == 0 ? "cannot resume dead coroutine" : NULL;
  }
  default: return "cannot resume dead coroutine";
  }
}

/* ctx: 0 for coroutine.resume, 1 for a wrap function. */
LJMP static int finish_resume(lua_State *L, lua_State *co, int n,
                              lua_KContext ctx)
{
  if (n >= 0) {
    if (ctx) return n;
    lua_pushboolean(L, 1);
    lua_insert(L, -(n + 1));
    return n + 1;
  }
  if (!ctx) {
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
  }
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD) { /* as auxwrap: close it */
    status = lua_resetthread(co);
    lua_xmove(co, L, 1);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static lua_State *co_of(lua_State *L, lua_KContext ctx)
{
  return ctx ? lua_tothread(L, lua_upvalueindex(1)) : lua_tothread(L, 1);
}

LJMP static int resume_again(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  lua_State *co = co_of(L, ctx);
  vm_mark(co, false);
  return finish_resume(L, co, pass_resume(L, co, 0, ctx), ctx);
}

LJMP static int start_resume(lua_State *L, lua_State *co, int nargs,
                             lua_KContext ctx)
{
  const char *why = not_resumable(L, co);
  if (why) {
    lua_pushstring(L, why);
    return finish_resume(L, co, -1, ctx);
  }
  return finish_resume(L, co, pass_resume(L, co, nargs, ctx), ctx);
}

LJMP static int l_resume(lua_State *L)
{
  lua_State *co = check_co(L);
  return start_resume(L, co, lua_gettop(L) - 1, 0);
}

LJMP static int l_wrapped(lua_State *L)
{
  return start_resume(L, co_of(L, 1), lua_gettop(L), 1);
}

/* The coroutine that L, suspended, waits in, or NULL: these functions yield
 * for no other reason. */
static lua_State *inner_of(lua_State *L)
{
  lua_Debug ar;
  if (lua_status(L) != LUA_YIELD || !lua_checkstack(L, 2) ||
      !lua_getstack(L, 0, &ar))
    return NULL;
  lua_getinfo(L, "f", &ar);
  lua_CFunction f = lua_tocfunction(L, -1);
  const char *name = NULL;
  if (f == l_wrapped)
    name = lua_getupvalue(L, -1, 1);
  else if (f == l_resume)
    name = lua_getlocal(L, &ar, 1);
  lua_State *inner = name ? lua_tothread(L, -1) : NULL;
  lua_pop(L, name ? 2 : 1);
  return inner;
}

LJMP static int l_wrap(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  lua_pushcclosure(L, l_wrapped, 1);
  return 1;
}

/* Upvalue: Lua's own coroutine.close. */
LJMP static int l_close(lua_State *L)
{
  if (vm_marked(check_co(L)))
    return luaL_error(L, "cannot close a coroutine that waits");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

LJMP void task_open_coroutine(lua_State *L)
{
  lua_getglobal(L, "coroutine");
  lua_getfield(L, -1, "close");
  lua_pushcclosure(L, l_close, 1);
  lua_setfield(L, -2, "close");
  lua_pushcfunction(L, l_resume);
  lua_setfield(L, -2, "resume");
  lua_pushcfunction(L, l_wrap);
  lua_setfield(L, -2, "wrap");
  lua_pop(L, 1);
}
