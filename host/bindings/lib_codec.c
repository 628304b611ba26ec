/* SPDX-License-Identifier: MIT */
/* host.codec: MessagePack for Lua. `bytes` are strings; expected failures
 * return nil and an error table of kind "encode", "too_large", "decode" or
 * "memory".
 *
 *   encode(value [, root [, max_bytes]]) -> bytes
 *     `root` names the value in errors.
 *   encode_list(list, first, last [, max_bytes [, root]]) -> bytes
 *     Encodes list[first] to list[last] one after another, without metamethods.
 *     A failure has a third value, the index of the element.
 *   encode_call(packed, cast, ...) -> bytes
 *     Encodes a call as fleet.worker.runner takes it: {packed=, cast=, args=},
 *     where args is the list of the other arguments; if one of them is nil, a
 *     map of them with their number as `n`.
 *   decode(bytes [, pos]) -> value, position after it
 *     Decodes the value at byte `pos` (default: 1). Fails at the end of the
 *     bytes.
 *   decode_all(bytes) -> list, n
 *     Decodes all values, which stand one after another. */
#include "bindings/lib.h"

#include "lua/class.h"
#include "lua/codec.h"
#include "lua/vm.h"

#include <stdio.h>

#define SCRATCH "host.codec.scratch"

enum {
  ENCODE_DEFAULT = 64 << 20, /* of max_bytes */
};

/* ---- the buffer of all encodings ---- */

/* One buffer serves all encodings: encoding runs no Lua code, and
 * lua_pushlstring copies before it may collect garbage, so no finalizer can use
 * the buffer in between. */
LJMP static struct buf *check_scratch(lua_State *L, int arg)
{
  lua_Integer max = luaL_optinteger(L, arg, ENCODE_DEFAULT);
  luaL_argcheck(L, max > 0, arg, "a positive number of bytes expected");
  struct buf *b = class_upvalue(L, 1);
  buf_clear(b);
  b->max = (size_t)max;
  return b;
}

LJMP static int push_bytes(lua_State *L, struct buf *b)
{
  lib_push_bytes(L, b);
  buf_reset(b);
  return 1;
}

static void scratch_release(void *object)
{
  buf_free(object);
}

/* ---- functions ---- */

LJMP static int l_encode(lua_State *L)
{
  struct err e;
  luaL_checkany(L, 1);
  const char *root = luaL_optstring(L, 2, "value");
  struct buf *b = check_scratch(L, 3);
  if (codec_encode(L, 1, root, b, &e) == 0) return push_bytes(L, b);
  buf_reset(b);
  return vm_fail(L, &e);
}

LJMP static int l_encode_list(lua_State *L)
{
  struct err e;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Integer first = luaL_checkinteger(L, 2);
  lua_Integer last = luaL_checkinteger(L, 3);
  const char *root = luaL_optstring(L, 5, "value");
  struct buf *b = check_scratch(L, 4);
  for (lua_Integer i = first; i <= last; i++) {
    lua_rawgeti(L, 1, i);
    if (codec_encode(L, -1, root, b, &e) < 0) {
      buf_reset(b);
      vm_fail(L, &e);
      lua_pushinteger(L, i);
      return 3;
    }
    lua_pop(L, 1);
    if (i == LUA_MAXINTEGER) break;
  }
  return push_bytes(L, b);
}

LJMP static int l_encode_call(lua_State *L)
{
  const int first = 3, top = lua_gettop(L);
  const lua_Integer n = top - first + 1;
  struct err e;
  size_t len;
  lua_Integer nils = 0;
  const char *packed = luaL_checklstring(L, 1, &len);
  luaL_checkany(L, 2);
  struct buf *b = check_scratch(L, top + 1);
  for (int i = first; i <= top; i++) nils += lua_isnil(L, i);
  mp_write_map(b, lua_toboolean(L, 2) ? 3 : 2);
  mp_write_cstr(b, "packed");
  mp_write_str(b, packed, len);
  if (lua_toboolean(L, 2)) {
    mp_write_cstr(b, "cast");
    mp_write_bool(b, true);
  }
  mp_write_cstr(b, "args");
  if (nils) {
    mp_write_map(b, (size_t)(n - nils + 1));
    mp_put_int(b, "n", n);
  } else {
    mp_write_array(b, (size_t)n);
  }
  for (int i = first; i <= top; i++) {
    char root[32];
    if (nils && lua_isnil(L, i)) continue;
    if (nils) mp_write_int(b, i - first + 1);
    if (codec_encode(L, i, "argument", b, &e) == 0) continue;
    snprintf(root, sizeof(root), "argument %d", i - first + 1);
    codec_encode(L, i, root, b, &e); /* fails again, with its number */
    buf_reset(b);
    return vm_fail(L, &e);
  }
  if (!b->failed) return push_bytes(L, b);
  buf_reset(b);
  err_set(&e, "too_large", "over the limit of %d bytes for a call",
          ENCODE_DEFAULT);
  return vm_fail(L, &e);
}

LJMP static struct mp_reader check_bytes(lua_State *L, int arg)
{
  size_t len;
  const char *s = luaL_checklstring(L, arg, &len);
  struct mp_reader r = {(const uint8_t *)s, (const uint8_t *)s + len};
  return r;
}

LJMP static int l_decode(lua_State *L)
{
  struct err e;
  struct mp_reader r = check_bytes(L, 1);
  const uint8_t *start = r.at;
  lua_Integer pos = luaL_optinteger(L, 2, 1);
  luaL_argcheck(L, pos >= 1 && pos - 1 <= r.end - start, 2,
                "position out of range");
  r.at += pos - 1;
  int rc = codec_decode(L, &r, &e);
  if (rc == 1) err_set(&e, "decode", "no value: the input ends here");
  if (rc != 0) return vm_fail(L, &e);
  lua_pushinteger(L, r.at - start + 1);
  return 2;
}

LJMP static int l_decode_all(lua_State *L)
{
  struct err e;
  struct mp_reader r = check_bytes(L, 1);
  lua_Integer n = 0;
  int rc;
  lua_newtable(L);
  while ((rc = codec_decode(L, &r, &e)) == 0) lua_rawseti(L, -2, ++n);
  if (rc < 0) return vm_fail(L, &e);
  lua_pushinteger(L, n);
  return 2;
}

static const luaL_Reg codec_functions[] = {
    {"encode", l_encode},           {"encode_list", l_encode_list},
    {"encode_call", l_encode_call}, {"decode", l_decode},
    {"decode_all", l_decode_all},   {NULL, NULL},
};

LJMP int luaopen_host_codec(lua_State *L)
{
  class_add(L, SCRATCH, scratch_release, NULL);
  luaL_newlibtable(L, codec_functions);
  struct buf *b = class_new(L, SCRATCH, sizeof(*b), 0);
  buf_init(b, ENCODE_DEFAULT);
  luaL_setfuncs(L, codec_functions, 1);
  return 1;
}
