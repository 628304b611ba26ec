/* SPDX-License-Identifier: MIT */
/* host.json and host.codec when memory runs out at any point: an error, and
 * nothing leaks or is freed twice (seen by the address sanitizer). What they do
 * otherwise is in json_spec.lua and codec_spec.lua. */
#include "../test.h"
#include "allowance.h"
#include "bindings/lib.h"
#include "lua/lua_compat.h"

#include <jansson.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

extern const struct test json_tests[];

static int l_open(lua_State *L)
{
  luaL_requiref(L, "json", luaopen_host_json, 1);
  luaL_requiref(L, "codec", luaopen_host_codec, 1);
  luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
  return 0;
}

/* A state with the two modules and the chunk that `code` is, on top. */
static lua_State *open_state(struct test_run *t, struct allowance *a,
                             const char *code)
{
  a->left = 1000000;
  lua_State *L = lua_compat_newstate(allowance_allocate, a);
  if (!CHECK(t, L)) return NULL;
  lua_pushcfunction(L, l_open);
  CHECK_INT(t, lua_pcall(L, 0, 0, 0), LUA_OK);
  CHECK_INT(t, luaL_loadstring(L, code), LUA_OK);
  return L;
}

static void run_out(struct test_run *t, const char *code)
{
  int rc = LUA_ERRMEM;
  for (long n = 0; rc == LUA_ERRMEM && n < 1000; n++) {
    struct allowance a;
    lua_State *L = open_state(t, &a, code);
    if (!L) return;
    a.left = n;
    rc = lua_pcall(L, 0, 1, 0);
    a.left = 1000000;
    if (n == 0) CHECK_INT(t, rc, LUA_ERRMEM);
    if (rc == LUA_OK) CHECK(t, lua_toboolean(L, -1));
    lua_close(L);
  }
  CHECK_INT(t, rc, LUA_OK);
}

static void test_json(struct test_run *t)
{
  run_out(t, "return json.decode('[1,{\"a\":[\"bc\",{\"d\":1.5}]}]')");
  run_out(t, "return select(2, json.decode('[1,{\"a\":}]'))");
  run_out(t,
          "return json.decode('[1e999,\"\\\\ud800\",[18446744073709551615]]')");
  run_out(t, "return select(2, json.decode('[1e999,{\"a\":}]'))");
  run_out(t, "return json.encode({1, {a = {'bc', {d = 1.5, c = 2}}}})");
  run_out(t, "return select(2, json.encode({1, {a = {'bc', {print}}}}))");
  run_out(t, "return json.encode_record('item', {1}, 'value', {b = 1, a = 2})");
}

static long parser_left; /* allocations of the parser that still succeed */

static void *allocate_for_parser(size_t size)
{
  return parser_left-- > 0 ? malloc(size) : NULL;
}

static void test_parser(struct test_run *t)
{
  bool done = false;
  json_set_alloc_funcs(allocate_for_parser, free);
  for (long n = 0; !done && n < 100; n++) {
    struct allowance a;
    lua_State *L = open_state(t, &a,
                              "local value, err = json.decode('[[1],{}]')"
                              " return value and 'done' or err.kind");
    if (!L) break;
    parser_left = n;
    CHECK_INT(t, lua_pcall(L, 0, 1, 0), LUA_OK);
    done = !strcmp(lua_tostring(L, -1), "done");
    if (!done) CHECK_STR(t, lua_tostring(L, -1), "memory");
    lua_close(L);
  }
  CHECK(t, done);
  json_set_alloc_funcs(malloc, free);
}

static void test_codec(struct test_run *t)
{
  run_out(t, "return codec.encode({1, {a = {'bc', {d = 1.5}}}})");
  run_out(t, "return select(2, codec.encode({1, {a = {print}}}))");
  run_out(t, "return codec.decode_all(codec.encode_list({1, {'a'}}, 1, 2))");
}

/* An error of the caller's function leaves nothing behind, many times. */
static void test_raise_inside(struct test_run *t)
{
  struct allowance a;
  lua_State *L =
      open_state(t, &a,
                 "for i = 1, 1000 do"
                 "  assert(not pcall(json.encode_record, 'a', {}, {}))"
                 " end return true");
  if (!L) return;
  CHECK_INT(t, lua_pcall(L, 0, 1, 0), LUA_OK);
  lua_close(L);
}

const struct test json_tests[] = {
    {"json: memory runs out", test_json},
    {"json: memory runs out in the parser", test_parser},
    {"json: memory runs out in the codec", test_codec},
    {"json: raise inside", test_raise_inside},
    {NULL, NULL},
};
