/* SPDX-License-Identifier: MIT */
/* host.secret: texts that Lua code can pass on, but not read: they are in no
 * Lua string, which could be neither overwritten nor kept out of an error or a
 * log, and their memory is overwritten when they are collected or closed.
 *   new(text)       a secret with the bytes of a string
 *   s:size()        how many bytes it has
 *   s:member(object, name)   the text is JSON, an object whose member `object`
 *                   is an object: a table of the strings, numbers and flags
 *                   that this has, with the one called `name` as a secret; nil
 *                   when the text is something else
 *   s:close()       overwrites it now
 * fleet.aws.ssm gets keys this way; host.tls and host.node take them. */
#include "bindings/lib_secret.h"

#include "base/buf.h"
#include "bindings/lib.h"
#include "lua/class.h"
#include "lua/vm.h"

#include <jansson.h>
#include <string.h>

#define SECRET "host.secret"

void lib_secret_wipe(struct buf *text)
{
  if (text->data) explicit_bzero(text->data, text->cap);
  buf_free(text);
}

static void secret_release(void *object)
{
  lib_secret_wipe(object);
}

LJMP void lib_secret_push(lua_State *L, struct buf *text)
{
  if (luaL_getmetatable(L, SECRET) == LUA_TNIL)
    luaL_error(L, "host.secret is not loaded");
  lua_pop(L, 1);
  struct buf *s = class_new(L, SECRET, sizeof(*s), 0);
  buf_init(s, text->max);
  buf_swap(s, text);
}

LJMP const struct buf *lib_secret_check(lua_State *L, int index)
{
  return luaL_checkudata(L, index, SECRET);
}

/* LJMP [-0, +1]: a secret with a copy of the bytes. */
LJMP static void push_copy(lua_State *L, const char *text, size_t len)
{
  struct buf *s = class_new(L, SECRET, sizeof(*s), 0);
  buf_init(s, len + 1);
  if (buf_add(s, text, len) < 0) luaL_error(L, "not enough memory");
}

LJMP static int l_new(lua_State *L)
{
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  push_copy(L, text, len);
  return 1;
}

LJMP static int l_size(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)lib_secret_check(L, 1)->len);
  return 1;
}

/* ---- JSON ---- */

#define TREE "host.secret.tree"

struct tree {
  json_t *json;
};

/* Overwrites the member that is secret: the tree has a copy of it. */
static void wipe_strings(json_t *object)
{
  const char *key;
  json_t *value;
  json_object_foreach(object, key, value)
  {
    if (json_is_string(value))
      explicit_bzero((void *)(uintptr_t)json_string_value(value),
                     json_string_length(value));
    else if (json_is_object(value))
      wipe_strings(value);
  }
}

static void tree_release(void *object)
{
  struct tree *t = object;
  if (t->json) wipe_strings(t->json);
  json_decref(t->json);
  t->json = NULL;
}

/* LJMP [-0, +1] */
LJMP static void push_value(lua_State *L, const json_t *value, bool is_secret)
{
  if (json_is_string(value) && is_secret)
    push_copy(L, json_string_value(value), json_string_length(value));
  else if (json_is_string(value))
    lua_pushlstring(L, json_string_value(value), json_string_length(value));
  else if (json_is_integer(value))
    lua_pushinteger(L, json_integer_value(value));
  else if (json_is_number(value))
    lua_pushnumber(L, json_number_value(value));
  else if (json_is_boolean(value))
    lua_pushboolean(L, json_is_true(value));
  else
    lua_pushnil(L);
}

LJMP static int l_member(lua_State *L)
{
  const struct buf *s = lib_secret_check(L, 1);
  const char *object = luaL_checkstring(L, 2);
  const char *secret = luaL_checkstring(L, 3);
  struct tree *t = class_new(L, TREE, sizeof(*t), 0);
  t->json = json_loadb(s->len ? (const char *)s->data : "", s->len, 0, NULL);
  json_t *in = json_object_get(t->json, object);
  if (!json_is_object(in)) return 0;
  const char *key;
  json_t *value;
  lua_createtable(L, 0, (int)json_object_size(in));
  json_object_foreach(in, key, value)
  {
    push_value(L, value, !strcmp(key, secret));
    lua_setfield(L, -2, key);
  }
  tree_release(t);
  return 1;
}

int luaopen_host_secret(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"size", l_size},
      {"member", l_member},
      {"close", class_release},
      {NULL, NULL},
  };
  static const luaL_Reg lib[] = {
      {"new", l_new},
      {NULL, NULL},
  };
  class_add(L, TREE, tree_release, NULL);
  return class_module(L, SECRET, secret_release, methods, lib);
}
