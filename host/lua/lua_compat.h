/* SPDX-License-Identifier: MIT */
/* What differs between the versions of Lua that the program builds with, as
 * calls that mean the same on each. */
#ifndef MF_LUA_COMPAT_H
#define MF_LUA_COMPAT_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#if LUA_VERSION_NUM != 504 && LUA_VERSION_NUM != 505
#error "moonfleet builds with Lua 5.4 or 5.5: make LUA=5.4"
#endif

/* A state whose strings are hashed with a random seed; NULL without memory. */
static inline lua_State *lua_compat_newstate(lua_Alloc allocate, void *ud)
{
#if LUA_VERSION_NUM >= 505
  return lua_newstate(allocate, ud, luaL_makeseed(NULL));
#else
  return lua_newstate(allocate, ud);
#endif
}

/* LJMP: collects as if `bytes` (at least 1024) more had been allocated. */
static inline void lua_compat_gc_step(lua_State *L, size_t bytes)
{
#if LUA_VERSION_NUM >= 505
  /* one basic step a call, whatever the size; so many bytes pay for one */
  enum { BASIC_STEP = 16384 };
  bool over = false;
  for (size_t paid = 0; paid < bytes && !over; paid += BASIC_STEP)
    over = lua_gc(L, LUA_GCSTEP, (size_t)0); /* the end of a cycle */
#else
  size_t kib = bytes >> 10; /* Lua multiplies it as an int */
  lua_gc(L, LUA_GCSTEP, kib < INT32_MAX >> 10 ? (int)kib : INT32_MAX >> 10);
#endif
}

#endif
