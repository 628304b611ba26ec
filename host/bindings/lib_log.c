/* SPDX-License-Identifier: MIT */
/* host.log: the structured log.
 *   write(level, message [, fields])  writes a line. `fields` is a table with
 *                    string keys; its strings, numbers and booleans are written
 *                    in the order of the keys. Workers are limited as in log.h
 *   enabled(level)   whether write() would write a line of this level
 *   start()          the text that any other line on stderr must begin with */
#include "bindings/lib.h"

#include "base/log.h"
#include "lua/vm.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_FIELDS = 16 };

LJMP static enum log_level check_level(lua_State *L, int arg)
{
  static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
  return (enum log_level)luaL_checkoption(L, arg, NULL, levels);
}

static int by_key(const void *a, const void *b)
{
  const struct log_field *x = a, *y = b;
  return strcmp(x->key, y->key);
}

LJMP static int l_write(lua_State *L)
{
  enum log_level level = check_level(L, 1);
  const char *message = luaL_checkstring(L, 2);
  struct log_field fields[MAX_FIELDS + 1] = {{0}};
  int n = 0;
  if (!log_enabled(level)) return 0;
  if (!lua_isnoneornil(L, 3)) {
    luaL_checktype(L, 3, LUA_TTABLE);
    luaL_checkstack(L, 2 * MAX_FIELDS + 4, "log fields");
    /* Every key and text stays on the stack until the line is written, because
     * a __tostring may remove them from the table. */
    lua_pushnil(L);
    while (n < MAX_FIELDS && lua_next(L, 3)) {
      if (lua_type(L, -2) != LUA_TSTRING) {
        lua_pop(L, 1);
        continue;
      }
      fields[n].key = lua_tostring(L, -2);
      fields[n++].text = luaL_tolstring(L, -1, NULL);
      lua_replace(L, -2);
      lua_pushvalue(L, -2); /* key, text, and the key for lua_next */
    }
  }
  qsort(fields, (size_t)n, sizeof(fields[0]), by_key);
  log_limited(vm_of(L)->host->log_limit, level, message, fields);
  return 0;
}

LJMP static int l_enabled(lua_State *L)
{
  lua_pushboolean(L, log_enabled(check_level(L, 1)));
  return 1;
}

LJMP static int l_start(lua_State *L)
{
  lua_pushstring(L, log_start());
  return 1;
}

static const luaL_Reg lib[] = {
    {"write", l_write},
    {"enabled", l_enabled},
    {"start", l_start},
    {NULL, NULL},
};

int luaopen_host_log(lua_State *L)
{
  luaL_newlib(L, lib);
  return 1;
}
