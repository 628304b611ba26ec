/* SPDX-License-Identifier: MIT */
/* host.child: tasks that somebody waits for and may stop.
 *   start(f, ...)   runs f(...) as a task of its own
 *   c:wait()        waits for its end: true and the results of f; or false, the
 *                   error and the traceback
 *   c:cancel()      ends it, also one that computes: waiting for it then gives
 *                   false and an error of kind "cancelled"
 *   preempt()       from now on tasks that compute give way to others, which
 *                   cancel needs. Only code that cannot wait (a sort
 *                   comparator, one long call of C) does not */
#include "bindings/lib.h"

#include "lua/class.h"
#include "lua/preempt.h"
#include "lua/task.h"

#define CHILD "host.child"

/* Its user value: what wait returns, a list. While the task lives, the box is
 * in the registry under its address. */
struct box {
  struct task *task; /* NULL when it has ended */
  struct task_wait wait;
};

struct end {
  struct box *box;
  lua_State *co;
  enum task_outcome outcome;
  int nresults;
};

LJMP static void push_cancelled(lua_State *L)
{
  struct err e;
  err_set(&e, "cancelled", "stopped on request");
  vm_push_error(L, &e);
}

/* [argument: struct end] */
LJMP static int l_keep(lua_State *L)
{
  struct end *end = vm_arg(L);
  int n = 1;
  luaL_checkstack(L, end->nresults + 8, "results");
  lua_rawgetp(L, LUA_REGISTRYINDEX, end->box);
  lua_createtable(L, end->nresults + 1, 1);
  lua_pushboolean(L, end->outcome == TASK_DONE);
  lua_rawseti(L, -2, 1);
  if (end->outcome == TASK_DONE) {
    lua_xmove(end->co, L, end->nresults);
    for (n += end->nresults; lua_gettop(L) > 3;)
      lua_rawseti(L, 3, lua_gettop(L) - 2);
  } else if (end->outcome == TASK_ERROR) {
    lua_xmove(end->co, L, 2);
    lua_rawseti(L, 3, 2); /* the error was on top */
    lua_rawseti(L, 3, 3);
    n = 3;
  } else {
    push_cancelled(L);
    lua_rawseti(L, 3, 2);
    n = 2;
  }
  lua_pushinteger(L, n);
  lua_setfield(L, 3, "n");
  lua_setiuservalue(L, 2, 1);
  return 0;
}

LJMP static int l_release(lua_State *L)
{
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, vm_arg(L));
  return 0;
}

static void on_done(struct task *t, enum task_outcome outcome, lua_State *co,
                    int nresults, void *arg)
{
  (void)t;
  struct box *b = arg;
  struct end end = {b, co, outcome, nresults};
  struct err e;
  struct vm *vm = vm_of(co);
  b->task = NULL;
  vm_pcall(vm, l_keep, &end, &e); /* without memory: no results are there */
  task_wake(&b->wait);
  vm_pcall(vm, l_release, b, &e);
}

LJMP static int l_start(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  int n = lua_gettop(L);
  struct box *b = class_new(L, CHILD, sizeof(*b), 1);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, b);
  lua_insert(L, 1);
  b->task = task_new(L, on_done, b);
  if (!lua_checkstack(b->task->co, n)) {
    task_cancel(b->task);
    return luaL_error(L, "too many arguments");
  }
  lua_xmove(L, b->task->co, n);
  task_start(b->task, n - 1);
  return 1;
}

LJMP static int k_wait(lua_State *L, int status, lua_KContext ctx)
{
  (void)status, (void)ctx;
  lua_settop(L, 1);
  if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE)
    return luaL_error(L, "not enough memory");
  lua_getfield(L, 2, "n");
  int n = (int)lua_tointeger(L, -1);
  luaL_checkstack(L, n, "results");
  for (int i = 1; i <= n; i++) lua_rawgeti(L, 2, i);
  return n;
}

LJMP static int l_wait(lua_State *L)
{
  struct box *b = luaL_checkudata(L, 1, CHILD);
  if (!b->task) return k_wait(L, LUA_OK, 0);
  luaL_argcheck(L, !b->wait.task, 1, "another task waits for it");
  task_check_can_wait(L, "child:wait");
  return task_await(L, &b->wait, 0, k_wait);
}

LJMP static int l_cancel(lua_State *L)
{
  struct box *b = luaL_checkudata(L, 1, CHILD);
  luaL_argcheck(L, !b->task || task_can_cancel(b->task), 1,
                "a task cannot cancel itself");
  if (b->task) task_cancel(b->task);
  return 0;
}

LJMP static int l_preempt(lua_State *L)
{
  struct err e;
  if (preempt_start(&e) < 0) return luaL_error(L, "%s", e.text);
  return 0;
}

static const luaL_Reg methods[] = {
    {"wait", l_wait},
    {"cancel", l_cancel},
    {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"start", l_start},
    {"preempt", l_preempt},
    {NULL, NULL},
};

int luaopen_host_child(lua_State *L)
{
  class_add(L, CHILD, NULL, methods);
  luaL_newlib(L, lib);
  return 1;
}
