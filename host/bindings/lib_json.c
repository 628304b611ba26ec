/* SPDX-License-Identifier: MIT */
/* host.json: JSON; fleet.json is its public face. Failures return nil and an
 * error table.
 *
 *   decode(text) -> value
 *     Reads by jansson, and by json_repair.h what that refuses. null becomes
 *     nil: absent from objects, a hole in arrays; as the whole text nil without
 *     an error. Integers stay integers. Kind "decode"; the message has line and
 *     column.
 *   encode(value) -> text
 *     Writes by json.h. Kind "encode" or "too_large".
 *   encode_record(name, value, ...) -> text
 *     Writes an object with these members in this order.
 *   lines() -> a buffer of such objects, one per line: b:add(name, value, ...)
 *     -> bytes in the buffer; b:take() -> its text, and empties it */
#include "bindings/lib.h"

#include "lua/class.h"
#include "lua/json.h"
#include "lua/json_repair.h"
#include "lua/vm.h"

#include <jansson.h>
#include <string.h>

#define JSON_TREE "host.json.tree"
#define JSON_LINES "host.json.lines"

enum {
  TEXT_MAX = 256 << 20,
};

/* ---- decode ---- */

/* Owns the tree of jansson while pushing values may raise. */
struct tree {
  json_t *json;
};

static void tree_release(void *object)
{
  struct tree *tree = object;
  json_decref(tree->json);
  tree->json = NULL;
}

LJMP static int push_json(lua_State *L, json_t *json, int depth);

LJMP static int push_array(lua_State *L, const json_t *json, int depth)
{
  size_t n = json_array_size(json);
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    if (push_json(L, json_array_get(json, i), depth) < 0) return -1;
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 0;
}

LJMP static int push_object(lua_State *L, json_t *json, int depth)
{
  const char *key;
  size_t len;
  json_t *value;
  lua_createtable(L, 0, (int)json_object_size(json));
  json_object_keylen_foreach(json, key, len, value)
  {
    lua_pushlstring(L, key, len);
    if (push_json(L, value, depth) < 0) return -1;
    lua_rawset(L, -3);
  }
  return 0;
}

/* LJMP [-0, +1]: 0, or -1 if the value is nested too deeply. */
LJMP static int push_json(lua_State *L, json_t *json, int depth)
{
  if (depth == JSON_MAX_DEPTH && (json_is_array(json) || json_is_object(json)))
    return -1;
  luaL_checkstack(L, 4, "JSON");
  switch (json_typeof(json)) {
  case JSON_OBJECT: return push_object(L, json, depth + 1);
  case JSON_ARRAY: return push_array(L, json, depth + 1);
  case JSON_STRING:
    lua_pushlstring(L, json_string_value(json), json_string_length(json));
    return 0;
  case JSON_INTEGER: lua_pushinteger(L, json_integer_value(json)); return 0;
  case JSON_REAL: lua_pushnumber(L, json_real_value(json)); return 0;
  case JSON_TRUE: lua_pushboolean(L, 1); return 0;
  case JSON_FALSE: lua_pushboolean(L, 0); return 0;
  default: lua_pushnil(L); return 0;
  }
}

/* The column of an error in the text that `repaired` was made of. */
static int original_column(const char *text, size_t len,
                           const struct buf *repaired, const json_error_t *at)
{
  size_t place = (size_t)at->position, line = place;
  while (line > 0 && repaired->data[line - 1] != '\n') line--;
  size_t before = json_repair_origin(text, len, line);
  size_t within = json_repair_origin(text, len, place) - before;
  return at->column - (int)(place - line) + (int)within;
}

/* As json_loadb, with a second try for a text that can be repaired. */
static json_t *load(const char *text, size_t len, json_error_t *at)
{
  const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
  struct buf repaired;
  json_t *json = json_loadb(text, len, flags, at);
  if (json || !*at->text) return json;
  buf_init(&repaired, SIZE_MAX / 2);
  if (json_repair(text, len, &repaired)) {
    json = json_loadb((const char *)repaired.data, repaired.len, flags, at);
    if (!json && *at->text)
      at->column = original_column(text, len, &repaired, at);
  }
  buf_free(&repaired);
  return json;
}

LJMP static int l_decode(lua_State *L)
{
  static const char mark[] = "\xef\xbb\xbf";
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  if (len >= 3 && !memcmp(text, mark, 3)) {
    text += 3;
    len -= 3;
  }
  json_error_t at;
  struct err e;
  struct tree *tree = class_new(L, JSON_TREE, sizeof(*tree), 0);
  lua_toclose(L, -1);
  tree->json = load(text, len, &at);
  if (tree->json && push_json(L, tree->json, 0) == 0) return 1;
  if (tree->json)
    err_set(&e, "decode", "nested more than %d deep", JSON_MAX_DEPTH);
  else if (*at.text)
    err_set(&e, "decode", "line %d column %d: %s", at.line, at.column, at.text);
  else /* the text is not at fault */
    err_set(&e, "memory", "out of memory");
  return vm_fail(L, &e);
}

/* ---- encode ---- */

/* One buffer serves all calls: writing runs no Lua code, and lua_pushlstring
 * copies before it may collect garbage. */
static struct json_out *scratch(lua_State *L)
{
  struct json_out *out = class_upvalue(L, 1);
  buf_clear(&out->text);
  return out;
}

/* LJMP: returns the text, or nil and `e` if `rc` is below 0. */
LJMP static int finish(lua_State *L, struct json_out *out, int rc,
                       const struct err *e)
{
  if (rc == 0) lib_push_bytes(L, &out->text);
  json_out_reset(out);
  return rc == 0 ? 1 : vm_fail(L, e);
}

LJMP static int l_encode(lua_State *L)
{
  struct err e;
  luaL_checkany(L, 1);
  struct json_out *out = scratch(L);
  return finish(L, out, json_write(L, 1, "value", out, &e), &e);
}

LJMP static void check_members(lua_State *L, int first)
{
  const int n = lua_gettop(L);
  luaL_argcheck(L, (n - first + 1) % 2 == 0, n, "a value is missing");
  for (int i = first; i < n; i += 2) luaL_checktype(L, i, LUA_TSTRING);
}

/* Appends the object of the names and values from `first` to the top, and
 * `end`.
 */
static int write_members(lua_State *L, int first, const char *end,
                         struct json_out *out, struct err *e)
{
  const int n = lua_gettop(L);
  for (int i = first; i < n; i += 2) {
    size_t len;
    const char *name = lua_tolstring(L, i, &len);
    buf_add(&out->text, i > first ? "," : "{", 1);
    json_write_name(out, name, len);
    buf_add(&out->text, ":", 1);
    if (json_write(L, i + 1, name, out, e) < 0) return -1;
  }
  buf_add(&out->text, n > first ? "}" : "{}", n > first ? 1 : 2);
  buf_add(&out->text, end, strlen(end));
  if (!out->text.failed) return 0;
  return err_set(e, "too_large", "over the limit of %d bytes", TEXT_MAX);
}

LJMP static int l_encode_record(lua_State *L)
{
  struct err e;
  check_members(L, 1);
  struct json_out *out = scratch(L);
  return finish(L, out, write_members(L, 1, "", out, &e), &e);
}

/* ---- lines ---- */

/* Collects many records in one buffer, without a Lua string for each. */
LJMP static int l_lines(lua_State *L)
{
  struct json_out *out = class_new(L, JSON_LINES, sizeof(*out), 0);
  json_out_init(out, TEXT_MAX);
  return 1;
}

LJMP static int l_lines_add(lua_State *L)
{
  struct json_out *out = luaL_checkudata(L, 1, JSON_LINES);
  struct err e;
  check_members(L, 2);
  size_t start = out->text.len;
  if (write_members(L, 2, "\n", out, &e) < 0) {
    out->text.len = start;
    out->text.failed = false;
    return vm_fail(L, &e);
  }
  lua_pushinteger(L, (lua_Integer)out->text.len);
  return 1;
}

LJMP static int l_lines_take(lua_State *L)
{
  return finish(L, luaL_checkudata(L, 1, JSON_LINES), 0, NULL);
}

static void lines_release(void *object)
{
  json_out_free(object);
}

static const luaL_Reg lines_methods[] = {
    {"add", l_lines_add},
    {"take", l_lines_take},
    {NULL, NULL},
};

static const luaL_Reg json_functions[] = {
    {"lines", l_lines},   {"decode", l_decode},
    {"encode", l_encode}, {"encode_record", l_encode_record},
    {NULL, NULL},
};

LJMP int luaopen_host_json(lua_State *L)
{
  class_add(L, JSON_TREE, tree_release, NULL);
  class_add(L, JSON_LINES, lines_release, lines_methods);
  luaL_newlibtable(L, json_functions);
  struct json_out *out = class_new(L, JSON_LINES, sizeof(*out), 0);
  json_out_init(out, TEXT_MAX);
  luaL_setfuncs(L, json_functions, 1);
  return 1;
}
