/* SPDX-License-Identifier: MIT */
#include "lua/coroutine.h"

#include "lua/preempt.h"

/* A wait inside a coroutine that a task has made yields to that coroutine's
 * resume, not to the loop. So resume and wrap check why the coroutine yielded:
 * for a wait they yield as well, and resume it again once woken. Until then it
 * is locked, as the tasks' own coroutines always are: other tasks, which see it
 * suspended, must neither resume nor close it, since the wait is on its stack.
 * A cancelled task closes the coroutines that it waits in. */

static int resume_again(lua_State *L, int status, lua_KContext ctx);

/* A caller that cannot yield could not pass a wait outward, so `co` must not
 * wait.
 */
static int resume_inner(lua_State *L, lua_State *co, int nargs, int *nresults)
{
  struct vm *vm = vm_of(L);
  int blocked = !lua_isyieldable(L);
  vm->no_wait += blocked;
  /* not always L: the host, or a task that cancels another, may close L */
  lua_State *before = preempt_enter(co);
  int rc = lua_resume(co, L, nargs, nresults);
  preempt_enter(before);
  vm->no_wait -= blocked;
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
  if (rc == LUA_YIELD && vm_of(L)->host_yield) {
    lua_settop(co, lua_gettop(co) - nresults);
    vm_lock_coroutine(co, true);
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

/* Returns why `co` cannot be resumed, or NULL; as Lua's auxstatus. */
static const char *not_resumable(lua_State *L, lua_State *co)
{
  if (L == co || vm_is_locked(co))
    return "cannot resume non-suspended coroutine";
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
  vm_lock_coroutine(co, false);
  return finish_resume(L, co, pass_resume(L, co, 0, ctx), ctx);
}

LJMP static int start_resume(lua_State *L, lua_State *co, int nargs,
                             lua_KContext ctx)
{
  const char *reason = not_resumable(L, co);
  if (reason) {
    lua_pushstring(L, reason);
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

/* The coroutine that the suspended L waits in, or NULL. Our functions yield for
 * no other reason. */
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

void coroutine_close(lua_State *L)
{
  lua_State *inner = inner_of(L);
  if (inner) {
    coroutine_close(inner);
    vm_lock_coroutine(inner, false);
  }
  lua_resetthread(L);
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
  if (vm_is_locked(check_co(L)))
    return luaL_error(L, "cannot close a coroutine that waits");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

LJMP void coroutine_open(lua_State *L)
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
