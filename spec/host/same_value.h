/* SPDX-License-Identifier: MIT */
/* Equality of Lua values as a codec must keep it: type and subtype, NaN, the
 * sign of zero, tables by their keys and values. */
#ifndef MF_SAME_VALUE_H
#define MF_SAME_VALUE_H

#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>

static inline bool same_number(lua_State *L, int a, int b)
{
  lua_Number x = lua_tonumber(L, a), y = lua_tonumber(L, b);
  if (lua_isinteger(L, a) != lua_isinteger(L, b)) return false;
  if (isnan(x) || isnan(y)) return isnan(x) && isnan(y);
  return lua_rawequal(L, a, b) && !signbit(x) == !signbit(y);
}

static inline bool same_value(lua_State *L, int a, int b)
{
  int count = 0;
  a = lua_absindex(L, a);
  b = lua_absindex(L, b);
  if (lua_type(L, a) != lua_type(L, b)) return false;
  if (lua_type(L, a) == LUA_TNUMBER) return same_number(L, a, b);
  if (lua_type(L, a) != LUA_TTABLE) return lua_rawequal(L, a, b);
  luaL_checkstack(L, 8, "same_value");
  for (lua_pushnil(L); lua_next(L, b); lua_pop(L, 1)) count++;
  for (lua_pushnil(L); lua_next(L, a); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    lua_rawget(L, b);
    bool same = same_value(L, -2, -1);
    lua_pop(L, 1);
    if (!same) {
      lua_pop(L, 2);
      return false;
    }
    count--;
  }
  return count == 0;
}

#endif
