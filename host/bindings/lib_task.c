/* SPDX-License-Identifier: MIT */
/* host.task: tasks, time and events for Lua.
 *   spawn(f, ...)    runs f(...) as a new task; an error in it is logged
 *   start(f, ...)    the same, with a handle for the task:
 *     t:join()       waits for its end: true and the results of f; or false,
 *                    the error and the traceback
 *     t:cancel()     ends it, even while it computes; join then returns false
 *                    and an error of kind "cancelled"
 *   preempt()        from now on tasks that compute give way to others, which
 *                    cancel needs. Code that cannot wait (a sort comparator,
 *                    one long call of C) does not
 *   sleep(seconds)   waits
 *   yield()          lets other tasks and the loop run, then continues
 *   where()          "file:line: " of the innermost call outside the Lua
 *                    library, "" if there is none
 *   event()          e:wait([seconds]) returns true, or false at a timeout;
 *                    e:notify() wakes all waiting tasks, e:notify_one() one of
 *                    them. If no task waits, the next wait returns at once */
#include "bindings/lib.h"

#include "base/container.h"
#include "event/loop.h"
#include "lua/class.h"
#include "lua/preempt.h"
#include "lua/task.h"

#include <string.h>
#include <sys/queue.h>

#define TASK "host.task.task"
#define EVENT "host.task.event"

/* ---- tasks ---- */

static void log_failure(struct task *t, enum task_outcome outcome, lua_State *L,
                        int nresults, void *arg)
{
  (void)t, (void)nresults, (void)arg;
  if (outcome == TASK_ERROR) vm_log_error(L, "task failed");
}

/* LJMP [-n, +0]: starts a task with the `n` topmost values, a function and its
 * arguments. */
LJMP static struct task *start(lua_State *L, int n, task_done *done, void *arg)
{
  struct task *t = task_new(L, done, arg);
  if (!lua_checkstack(t->co, n)) {
    task_cancel(t);
    luaL_error(L, "too many arguments");
  }
  lua_xmove(L, t->co, n);
  task_start(t, n - 1);
  return t;
}

LJMP static int l_spawn(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  start(L, lua_gettop(L), log_failure, NULL);
  return 0;
}

/* While the task lives, its handle is in the registry under its address. */
struct lua_task {
  struct task *task;  /* NULL when it has ended */
  lua_State *results; /* has what join returns; the user value */
  enum task_outcome outcome;
  bool no_memory; /* for the results */
  struct task_wait wait;
};

static void on_done(struct task *t, enum task_outcome outcome, lua_State *co,
                    int nresults, void *arg)
{
  (void)t;
  struct lua_task *handle = arg;
  int n = outcome == TASK_ERROR ? 2 : nresults;
  handle->task = NULL;
  handle->outcome = outcome;
  handle->no_memory = !lua_checkstack(handle->results, n + 1);
  if (!handle->no_memory) lua_xmove(co, handle->results, n);
  if (outcome == TASK_ERROR && !handle->no_memory)
    lua_insert(handle->results, 1); /* the error above its traceback */
  task_wake(&handle->wait);
  lua_settop(co, 0);
  lua_pushnil(co);
  lua_rawsetp(co, LUA_REGISTRYINDEX, handle);
}

LJMP static int l_start(lua_State *L)
{
  int n = lua_gettop(L);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  struct lua_task *handle = class_new(L, TASK, sizeof(*handle), 1);
  handle->results = lua_newthread(L);
  lua_setiuservalue(L, -2, 1);
  /* what may raise first: then nothing is left of it */
  lua_pushboolean(L, false);
  lua_rawsetp(L, LUA_REGISTRYINDEX, handle);
  lua_insert(L, 1);
  handle->task = start(L, n, on_done, handle);
  lua_pushvalue(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, handle);
  return 1;
}

LJMP static int k_join(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_task *handle = (struct lua_task *)ctx;
  if (handle->no_memory) return luaL_error(L, "not enough memory");
  lua_pushboolean(L, handle->outcome == TASK_DONE);
  if (handle->outcome == TASK_CANCELLED) {
    struct err e;
    err_set(&e, "cancelled", "stopped on request");
    vm_push_error(L, &e);
    return 2;
  }
  int n = lua_gettop(handle->results);
  luaL_checkstack(L, n, "results");
  for (int i = 1; i <= n; i++) {
    lua_pushvalue(handle->results, i);
    lua_xmove(handle->results, L, 1);
  }
  return n + 1;
}

LJMP static int l_join(lua_State *L)
{
  struct lua_task *handle = luaL_checkudata(L, 1, TASK);
  if (!handle->task) return k_join(L, LUA_OK, (lua_KContext)handle);
  luaL_argcheck(L, !handle->wait.task, 1, "another task waits for it");
  task_check_can_wait(L, "task:join");
  return task_await(L, &handle->wait, (lua_KContext)handle, k_join);
}

LJMP static int l_cancel(lua_State *L)
{
  struct lua_task *handle = luaL_checkudata(L, 1, TASK);
  luaL_argcheck(L, !handle->task || task_can_cancel(handle->task), 1,
                "a task cannot cancel itself");
  if (handle->task) task_cancel(handle->task);
  return 0;
}

LJMP static int l_preempt(lua_State *L)
{
  struct err e;
  if (preempt_start(&e) < 0) return luaL_error(L, "%s", e.text);
  return 0;
}

LJMP static int l_where(lua_State *L)
{
  vm_where(L);
  return 1;
}

/* ---- time and events ---- */

LIST_HEAD(waiters, waiter);

/* One wait, ended by time, by its event, or by the first of both. */
struct waiter {
  struct task_wait wait;
  struct loop_timer timer;
  struct loop *loop;
  struct event *event; /* NULL for sleep, and when no longer in its list */
  LIST_ENTRY(waiter) entry;
  bool timed_out;
  bool used; /* of the one in the event */
};

struct event {
  struct waiters waiters;
  bool pending; /* notified while no task waited: the next wait ends at once */
  struct waiter first; /* nearly always only one task waits */
};

static void waiter_end(struct waiter *w)
{
  if (w->loop) loop_timer_clear(w->loop, &w->timer);
  if (w->event) LIST_REMOVE(w, entry);
  w->event = NULL;
}

static void on_cancel(struct task_wait *wait)
{
  struct waiter *w = CONTAINER_OF(wait, struct waiter, wait);
  waiter_end(w);
  w->used = false;
}

static void on_time(struct loop_timer *timer)
{
  struct waiter *w = CONTAINER_OF(timer, struct waiter, timer);
  w->timed_out = true;
  waiter_end(w);
  task_wake(&w->wait);
}

static void waiter_init(struct waiter *w)
{
  memset(w, 0, sizeof(*w));
  w->wait.cancel = on_cancel;
  w->timer.on_expire = on_time;
}

/* LJMP [-0, +1]. Without a finalizer, which would take as long as the wait does
 * in Lua: it stays on the stack of its task, and is ended by whatever wakes or
 * cancels that. */
LJMP static struct waiter *push_waiter(lua_State *L)
{
  struct waiter *w = lua_newuserdatauv(L, sizeof(*w), 1);
  waiter_init(w);
  return w;
}

LJMP static void set_timeout(lua_State *L, struct waiter *w, lua_Number seconds)
{
  w->loop = vm_of(L)->host->loop;
  uint64_t ns = seconds >= 1e9 ? UINT64_MAX : (uint64_t)(seconds * 1e9);
  if (loop_timer_set(w->loop, &w->timer, ns) < 0)
    luaL_error(L, "not enough memory");
}

LJMP static lua_Number check_seconds(lua_State *L, int arg)
{
  lua_Number s = luaL_checknumber(L, arg);
  luaL_argcheck(L, s >= 0, arg, "seconds must not be negative");
  return s;
}

LJMP static int k_wait(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct waiter *w = (struct waiter *)ctx;
  w->used = false;
  lua_pushboolean(L, !w->timed_out);
  return 1;
}

LJMP static int l_sleep(lua_State *L)
{
  lua_Number seconds = check_seconds(L, 1);
  task_check_can_wait(L, "sleep");
  struct waiter *w = push_waiter(L);
  set_timeout(L, w, seconds);
  return task_await(L, &w->wait, 0, NULL);
}

LJMP static int l_event_wait(lua_State *L)
{
  struct event *e = luaL_checkudata(L, 1, EVENT);
  bool timed = !lua_isnoneornil(L, 2);
  lua_Number seconds = timed ? check_seconds(L, 2) : 0;
  task_check_can_wait(L, "event:wait");
  if (e->pending) {
    e->pending = false;
    lua_pushboolean(L, 1);
    return 1;
  }
  struct waiter *w = &e->first; /* the event is on the stack as long */
  if (w->used) {
    w = push_waiter(L);
    lua_pushvalue(L, 1); /* the waiter keeps its event alive */
    lua_setiuservalue(L, -2, 1);
  } else {
    waiter_init(w);
    w->used = true;
  }
  if (timed) set_timeout(L, w, seconds);
  w->event = e;
  LIST_INSERT_HEAD(&e->waiters, w, entry);
  return task_await(L, &w->wait, (lua_KContext)w, k_wait);
}

LJMP static int notify(lua_State *L, bool all)
{
  struct event *e = luaL_checkudata(L, 1, EVENT);
  struct waiter *w = LIST_FIRST(&e->waiters);
  e->pending = !w;
  for (; w; w = all ? LIST_FIRST(&e->waiters) : NULL) {
    waiter_end(w);
    task_wake(&w->wait);
  }
  return 0;
}

LJMP static int l_event_notify(lua_State *L)
{
  return notify(L, true);
}

LJMP static int l_event_notify_one(lua_State *L)
{
  return notify(L, false);
}

LJMP static int l_event(lua_State *L)
{
  class_new(L, EVENT, sizeof(struct event), 0);
  return 1;
}

static const luaL_Reg task_methods[] = {
    {"join", l_join},
    {"cancel", l_cancel},
    {NULL, NULL},
};

static const luaL_Reg event_methods[] = {
    {"wait", l_event_wait},
    {"notify", l_event_notify},
    {"notify_one", l_event_notify_one},
    {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"spawn", l_spawn}, {"start", l_start},    {"preempt", l_preempt},
    {"sleep", l_sleep}, {"yield", task_yield}, {"where", l_where},
    {"event", l_event}, {NULL, NULL},
};

int luaopen_host_task(lua_State *L)
{
  class_add(L, TASK, NULL, task_methods);
  return class_module(L, EVENT, NULL, event_methods, lib);
}
