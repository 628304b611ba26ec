/* SPDX-License-Identifier: MIT */
/* host.task: tasks, time and signals for Lua.
 *   spawn(f, ...)    runs f(...) as a new task; an error in it is logged
 *   sleep(seconds)   waits
 *   where()          "file:line: " of the innermost call that is not one of the
 *                    Lua library, "" when there is none
 *   yield()          lets other tasks and the loop run, then goes on
 *   signal()         an object: s:wait([seconds]) -> true, or false when the
 *                    time is over; s:notify() wakes all who wait now,
 *                    s:notify_one() one of them; or when nobody does, the next
 *                    who would: none gets lost */
#include "bindings/lib.h"

#include "base/container.h"
#include "event/loop.h"
#include "lua/class.h"
#include "lua/task.h"

#include <string.h>

static void log_failure(struct task *t, enum task_outcome outcome, lua_State *L,
                        int nresults, void *arg)
{
  (void)t, (void)nresults, (void)arg;
  if (outcome == TASK_ERROR) vm_log_error(L, "task failed");
}

LJMP static int l_spawn(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  int n = lua_gettop(L);
  struct task *t = task_new(L, log_failure, NULL);
  if (!lua_checkstack(t->co, n)) {
    task_cancel(t);
    return luaL_error(L, "too many arguments");
  }
  lua_xmove(L, t->co, n);
  task_start(t, n - 1);
  return 0;
}

/* A wait that may end by time, by a signal's notify, or both. */
struct pause {
  struct task_wait wait;
  struct loop_timer timer;
  struct loop *loop;
  struct signal *signal; /* NULL for sleep, or when no longer in its list */
  struct pause *prev, *next;
  bool timed_out;
};

struct signal {
  struct pause *waiting;
  bool pending; /* notified while nobody waited: the next wait ends at once */
};

#define SIGNAL "host.task.signal"

static void pause_end(struct pause *p)
{
  if (p->loop) loop_timer_clear(p->loop, &p->timer);
  if (!p->signal) return;
  *(p->prev ? &p->prev->next : &p->signal->waiting) = p->next;
  if (p->next) p->next->prev = p->prev;
  p->signal = NULL;
}

static void on_cancel(struct task_wait *w)
{
  pause_end((struct pause *)w);
}

static void on_time(struct loop_timer *timer)
{
  struct pause *p = CONTAINER_OF(timer, struct pause, timer);
  p->timed_out = true;
  pause_end(p);
  task_wake(&p->wait);
}

/* LJMP [-0, +1]. Without a finalizer, which would take as long as the wait does
 * in Lua: it stays on the stack of its task, and is ended by whatever wakes or
 * cancels that. */
LJMP static struct pause *push_pause(lua_State *L)
{
  struct pause *p = lua_newuserdatauv(L, sizeof(*p), 1);
  memset(p, 0, sizeof(*p));
  p->wait.cancel = on_cancel;
  p->timer.on_expire = on_time;
  return p;
}

LJMP static void pause_arm(lua_State *L, struct pause *p, lua_Number seconds)
{
  p->loop = vm_of(L)->host->loop;
  uint64_t ns = seconds >= 1e9 ? UINT64_MAX : (uint64_t)(seconds * 1e9);
  if (loop_timer_set(p->loop, &p->timer, ns) < 0)
    luaL_error(L, "not enough memory");
}

LJMP static lua_Number check_seconds(lua_State *L, int arg)
{
  lua_Number s = luaL_checknumber(L, arg);
  luaL_argcheck(L, s >= 0, arg, "seconds must not be negative");
  return s;
}

LJMP static int l_sleep(lua_State *L)
{
  lua_Number seconds = check_seconds(L, 1);
  task_check_can_wait(L, "sleep");
  struct pause *p = push_pause(L);
  pause_arm(L, p, seconds);
  return task_await(L, &p->wait, 0, NULL);
}

LJMP static int k_wait(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  lua_pushboolean(L, !((struct pause *)ctx)->timed_out);
  return 1;
}

LJMP static int l_signal_wait(lua_State *L)
{
  struct signal *s = luaL_checkudata(L, 1, SIGNAL);
  bool timed = !lua_isnoneornil(L, 2);
  lua_Number seconds = timed ? check_seconds(L, 2) : 0;
  task_check_can_wait(L, "signal:wait");
  if (s->pending) {
    s->pending = false;
    lua_pushboolean(L, 1);
    return 1;
  }
  struct pause *p = push_pause(L);
  lua_pushvalue(L, 1); /* the pause keeps its signal alive */
  lua_setiuservalue(L, -2, 1);
  if (timed) pause_arm(L, p, seconds);
  p->signal = s;
  p->next = s->waiting;
  if (s->waiting) s->waiting->prev = p;
  s->waiting = p;
  return task_await(L, &p->wait, (lua_KContext)p, k_wait);
}

static void wake_first(struct signal *s)
{
  struct pause *p = s->waiting;
  pause_end(p);
  task_wake(&p->wait);
}

LJMP static int l_signal_notify(lua_State *L)
{
  struct signal *s = luaL_checkudata(L, 1, SIGNAL);
  s->pending = !s->waiting;
  while (s->waiting) wake_first(s);
  return 0;
}

LJMP static int l_signal_notify_one(lua_State *L)
{
  struct signal *s = luaL_checkudata(L, 1, SIGNAL);
  s->pending = !s->waiting;
  if (s->waiting) wake_first(s);
  return 0;
}

LJMP static int l_signal(lua_State *L)
{
  class_new(L, SIGNAL, sizeof(struct signal), 0);
  return 1;
}

LJMP static int l_yield(lua_State *L)
{
  return task_yield(L);
}

LJMP static int l_where(lua_State *L)
{
  vm_where(L);
  return 1;
}

static const luaL_Reg signal_methods[] = {
    {"wait", l_signal_wait},
    {"notify", l_signal_notify},
    {"notify_one", l_signal_notify_one},
    {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"spawn", l_spawn},   {"sleep", l_sleep}, {"yield", l_yield},
    {"signal", l_signal}, {"where", l_where}, {NULL, NULL},
};

int luaopen_host_task(lua_State *L)
{
  class_add(L, SIGNAL, NULL, signal_methods);
  luaL_newlib(L, lib);
  return 1;
}
