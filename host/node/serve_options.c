/* SPDX-License-Identifier: MIT */
#include "node/serve_options.h"

#include "lua/vm.h"

#include <stdlib.h>
#include <string.h>

/* All read a field of the table on top. */

LJMP static char *copy_field(lua_State *L, const char *key)
{
  lua_getfield(L, -1, key);
  const char *text = lua_tostring(L, -1);
  char *copy = text ? strdup(text) : NULL;
  if (text && !copy) luaL_error(L, "not enough memory");
  lua_pop(L, 1);
  return copy;
}

LJMP static int int_field(lua_State *L, const char *key, int otherwise)
{
  lua_getfield(L, -1, key);
  int n = lua_isnil(L, -1) ? otherwise : (int)luaL_checkinteger(L, -1);
  lua_pop(L, 1);
  return n;
}

LJMP static bool bool_field(lua_State *L, const char *key)
{
  lua_getfield(L, -1, key);
  bool b = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return b;
}

LJMP static int64_t size_field(lua_State *L, const char *key)
{
  lua_getfield(L, -1, key);
  int64_t n = luaL_optinteger(L, -1, 0);
  lua_pop(L, 1);
  return n;
}

/* NULL at the end; what has been copied counts even when memory runs out. */
LJMP static void copy_list(lua_State *L, const char *key,
                           const char *const **to)
{
  lua_getfield(L, -1, key);
  size_t n = (size_t)luaL_len(L, -1);
  const char **list = calloc(n + 1, sizeof(*list));
  if (!list) luaL_error(L, "not enough memory");
  *to = list;
  for (size_t i = 0; list && i < n; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    const char *text = lua_tostring(L, -1);
    list[i] = text ? strdup(text) : NULL;
    if (!list[i]) luaL_error(L, "not enough memory");
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

LJMP void serve_options_read(lua_State *L, struct serve_options *o)
{
  luaL_checktype(L, -1, LUA_TTABLE);
  luaL_checkstack(L, 8, "options");
  o->name = copy_field(L, "name");
  o->release = copy_field(L, "release");
  o->lua_path = copy_field(L, "lua_path");
  o->zone = copy_field(L, "zone");
  o->instance = copy_field(L, "instance");
  o->keeper = bool_field(L, "keeper");
  o->workers = int_field(L, "workers", 1);
  o->worker_memory = size_field(L, "worker_memory");
  o->lease = size_field(L, "lease");
  o->frozen_after = size_field(L, "frozen_after");
  o->ready_fd = int_field(L, "ready_fd", -1);
  o->ipc_mode = int_field(L, "ipc_mode", 0600);
  o->parent = int_field(L, "parent", 0);
  copy_list(L, "listen", &o->listen);
}

void serve_options_free(struct serve_options *o)
{
  for (size_t i = 0; o->listen && o->listen[i]; i++)
    free((void *)(uintptr_t)o->listen[i]);
  free((void *)(uintptr_t)o->listen);
  free((void *)(uintptr_t)o->name);
  free((void *)(uintptr_t)o->release);
  free((void *)(uintptr_t)o->lua_path);
  free((void *)(uintptr_t)o->zone);
  free((void *)(uintptr_t)o->instance);
}
