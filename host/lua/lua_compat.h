/* SPDX-License-Identifier: MIT */
/* Lua's headers, and one call for each thing that its versions do differently.
 */
#ifndef MF_LUA_COMPAT_H
#define MF_LUA_COMPAT_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

/* Marks functions that may raise a Lua error (longjmp). A caller must not own
 * anything then that only C code would free. */
#define LJMP

#if LUA_VERSION_NUM != 504 && LUA_VERSION_NUM != 505
#error "moonfleet builds with Lua 5.4 or 5.5: make LUA=5.4"
#endif

/* Makes a state whose strings are hashed with a random seed. NULL when memory
 * is out. */
static inline lua_State *lua_compat_newstate(lua_Alloc allocate, void *ud)
{
#if LUA_VERSION_NUM >= 505
  return lua_newstate(allocate, ud, luaL_makeseed(NULL));
#else
  return lua_newstate(allocate, ud);
#endif
}

/* LJMP: collects garbage as if `bytes` (at least 1024) more had been allocated.
 */
static inline void lua_compat_gc_step(lua_State *L, size_t bytes)
{
#if LUA_VERSION_NUM >= 505
  /* a call makes one basic step, whatever its argument */
  enum { BASIC_STEP_BYTES = 16384 };
  bool finished = false; /* a cycle */
  for (size_t done = 0; done < bytes && !finished; done += BASIC_STEP_BYTES)
    finished = lua_gc(L, LUA_GCSTEP, (size_t)0);
#else
  size_t kib = bytes >> 10; /* Lua multiplies it as an int */
  lua_gc(L, LUA_GCSTEP, kib < INT32_MAX >> 10 ? (int)kib : INT32_MAX >> 10);
#endif
}

#endif
