/* SPDX-License-Identifier: MIT */
#include "lua/class.h"

#include <string.h>

void class_add(lua_State *L, const char *name, lua_CFunction release,
               const luaL_Reg *methods)
{
  luaL_newmetatable(L, name); /* sets __name */
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  if (release) {
    lua_pushcfunction(L, release);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__gc");
    lua_setfield(L, -2, "__close");
  }
  if (methods) lua_newtable(L);
  for (const luaL_Reg *m = methods; m && m->name; m++) {
    lua_pushcfunction(L, m->func);
    lua_setfield(L, strncmp(m->name, "__", 2) ? -2 : -3, m->name);
  }
  if (methods) lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

void *class_new(lua_State *L, const char *name, size_t size, int user_values)
{
  void *object = lua_newuserdatauv(L, size, user_values);
  memset(object, 0, size);
  luaL_setmetatable(L, name);
  return object;
}

void *class_upvalue(lua_State *L, int n)
{
  return lua_touserdata(L, lua_upvalueindex(n));
}

void class_set(lua_State *L, const char *name)
{
  luaL_setmetatable(L, name);
}
