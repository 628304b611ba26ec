/* SPDX-License-Identifier: MIT */
#include "lua/class.h"

#include <string.h>

/* The upvalue of all methods of a type. */
struct class
{
  const char *name;
  void (*release)(void *object);
};

int class_release(lua_State *L)
{
  const struct class *c = class_upvalue(L, 1);
  c->release(luaL_checkudata(L, 1, c->name));
  return 0;
}

/* LJMP [-0, +0]: with the metatable and the upvalue on top. */
static void add_method(lua_State *L, const char *name, lua_CFunction f)
{
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, f, 1);
  if (strncmp(name, "__", 2) != 0 && luaL_getsubtable(L, -3, "__index") >= 0) {
    lua_insert(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
  } else {
    lua_setfield(L, -3, name);
  }
}

void class_add(lua_State *L, const char *name, void (*release)(void *object),
               const luaL_Reg *methods)
{
  luaL_newmetatable(L, name); /* sets __name */
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  struct class *c = lua_newuserdatauv(L, sizeof(*c), 0);
  *c = (struct class){name, release};
  if (release) {
    add_method(L, "__gc", class_release);
    add_method(L, "__close", class_release);
  }
  for (; methods && methods->name; methods++)
    add_method(L, methods->name, methods->func);
  lua_pop(L, 2);
}

int class_module(lua_State *L, const char *name, void (*release)(void *object),
                 const luaL_Reg *methods, const luaL_Reg *functions)
{
  class_add(L, name, release, methods);
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  return 1;
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
