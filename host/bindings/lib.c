/* SPDX-License-Identifier: MIT */
#include "bindings/lib.h"

#include "base/buf.h"
#include "lua/vm.h"
#include "net/http_token.h"

#include <math.h>
#include <string.h>

void lib_set_integer(lua_State *L, const char *name, lua_Integer value)
{
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

void lib_push_bytes(lua_State *L, const struct buf *bytes)
{
  lua_pushlstring(L, (const char *)bytes->data, bytes->len);
}

const char **lib_push_strings(lua_State *L, int index, int max,
                              const char *what)
{
  lua_Integer n = luaL_len(L, index);
  index = lua_absindex(L, index);
  if (n < 1 || n > max)
    luaL_error(L, "%s: 1 to %d strings expected", what, max);
  const char **list = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof(*list), 0);
  for (lua_Integer i = 0; i < n; i++) {
    bool is_string = lua_rawgeti(L, index, i + 1) == LUA_TSTRING;
    list[i] = is_string ? lua_tostring(L, -1) : "";
    if (!is_string || strlen(list[i]) != lua_rawlen(L, -1))
      luaL_error(L, "%s: strings without NUL bytes expected", what);
    lua_pop(L, 1);
  }
  list[n] = NULL;
  return list;
}

void lib_push_header(lua_State *L, int name, const char *what)
{
  size_t name_len = 0, len = 0;
  bool named = lua_type(L, name) == LUA_TSTRING;
  const char *n = named ? lua_tolstring(L, name, &name_len) : "";
  if (!http_is_token(n, name_len))
    vm_misuse(L,
              "%s: the name of a header must be a string of letters, digits "
              "and dashes",
              what);
  bool valued =
      lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER;
  lua_pushvalue(L, -1); /* a number is converted in the copy */
  const char *v = valued ? lua_tolstring(L, -1, &len) : NULL;
  if (!v || memchr(v, '\r', len) || memchr(v, '\n', len) || memchr(v, 0, len)) {
    vm_misuse(L,
              "%s: the value of header '%s' must be a string without line "
              "breaks and NUL",
              what, n);
  }
  lua_pushfstring(L, "%s: %s", n, v);
  lua_remove(L, -2);
}

uint64_t lib_ms(lua_Number s)
{
  if (s > 1e6) return 1000000000;
  /* less a nanosecond: on processors that calculate with more digits than a
   * double has, 0.2 * 1e3 is above 200 */
  double ms = ceil(s * 1e3 - 1e-6);
  return ms > 1 ? (uint64_t)ms : 1;
}

uint64_t lib_ms_option(lua_State *L, int index, const char *name,
                       const char *what)
{
  int type = lua_getfield(L, index, name);
  lua_Number s = type == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
  lua_pop(L, 1);
  if (type == LUA_TNIL) return 0;
  if (!(s > 0)) vm_misuse(L, "%s: %s must be a number above 0", what, name);
  return lib_ms(s);
}

lua_Integer lib_integer_option(lua_State *L, int index, const char *name,
                               const char *what, lua_Integer min,
                               lua_Integer max, lua_Integer otherwise)
{
  int is_integer = 0;
  bool is_nil = lua_getfield(L, index, name) == LUA_TNIL;
  lua_Integer n = lua_tointegerx(L, -1, &is_integer);
  lua_pop(L, 1);
  if (is_nil) return otherwise;
  if (!is_integer || n < min || n > max)
    vm_misuse(L, "%s: %s must be an integer from %I to %I", what, name,
              (LUAI_UACINT)min, (LUAI_UACINT)max);
  return n;
}
