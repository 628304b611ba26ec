/* SPDX-License-Identifier: MIT */
/* host/lua/codec.c on bare Lua states: what comes back, what is refused and
 * with which words, and what happens when memory runs out at any point. */
#include "../same_value.h"
#include "../test.h"
#include "allowance.h"
#include "lua/codec.h"
#include "lua/lua_compat.h"

#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <msgpack/unpack.h>
#include <stdlib.h>
#include <string.h>

extern const struct test codec_tests[];

enum { NO_LIMIT = 1 << 30 };

/* ---- helpers ---- */

static lua_State *open_state(struct test_run *t)
{
  lua_State *L = luaL_newstate();
  CHECK(t, L);
  luaL_openlibs(L);
  return L;
}

/* [+1] The value of a Lua expression. */
static bool eval(struct test_run *t, lua_State *L, const char *expression)
{
  lua_pushfstring(L, "return %s", expression);
  int rc = luaL_dostring(L, lua_tostring(L, -1));
  lua_remove(L, -2);
  if (rc != LUA_OK) CHECK_STR(t, lua_tostring(L, -1), "no error");
  return rc == LUA_OK && lua_gettop(L) > 0;
}

/* Encodes the value on top, decodes it from a copy of exact size, and
 * compares. */
static void check_round_trip(struct test_run *t, lua_State *L)
{
  struct buf b;
  struct err e = {"", ""};
  const int top = lua_gettop(L);
  buf_init(&b, NO_LIMIT);
  if (CHECK_INT(t, codec_encode(L, -1, "value", &b, &e), 0)) {
    uint8_t *copy = malloc(b.len);
    memcpy(copy, b.data, b.len);
    struct mp_reader r = {copy, copy + b.len};
    if (CHECK_INT(t, codec_decode(L, &r, &e), 0)) {
      CHECK_INT(t, lua_gettop(L), top + 1);
      CHECK(t, same_value(L, -1, -2));
      CHECK(t, r.at == r.end);
      CHECK_INT(t, codec_decode(L, &r, &e), 1);
    }
    free(copy);
  } else {
    CHECK_STR(t, e.text, "no error");
  }
  lua_settop(L, top);
  buf_free(&b);
}

/* What is sent for the value on top is one value for msgpack-c too, which reads
 * 32 levels at most. */
static void check_foreign(struct test_run *t, lua_State *L)
{
  struct buf b;
  struct err e;
  size_t off = 0;
  msgpack_unpacked u;
  buf_init(&b, NO_LIMIT);
  msgpack_unpacked_init(&u);
  CHECK_INT(t, codec_encode(L, -1, "value", &b, &e), 0);
  CHECK_INT(t, msgpack_unpack_next(&u, (const char *)b.data, b.len, &off),
            MSGPACK_UNPACK_SUCCESS);
  CHECK_INT(t, off, b.len);
  msgpack_unpacked_destroy(&u);
  buf_free(&b);
}

static void check_bytes(struct test_run *t, const char *expression,
                        const char *bytes, size_t len)
{
  lua_State *L = open_state(t);
  struct buf b;
  struct err e;
  buf_init(&b, NO_LIMIT);
  if (eval(t, L, expression)) {
    CHECK_INT(t, codec_encode(L, -1, "value", &b, &e), 0);
    CHECK_BYTES(t, b.data, b.len, bytes, len);
    check_round_trip(t, L);
  }
  buf_free(&b);
  lua_close(L);
}

/* Encoding into a buffer that holds something fails like this and leaves it. */
static void check_refused(struct test_run *t, const char *expression,
                          size_t max, const char *kind, const char *text)
{
  lua_State *L = open_state(t);
  struct buf b;
  struct err e = {"", ""};
  buf_init(&b, max);
  buf_add(&b, "head", 4);
  if (eval(t, L, expression)) {
    const int top = lua_gettop(L);
    CHECK_INT(t, codec_encode(L, -1, "result", &b, &e), -1);
    CHECK_STR(t, e.kind, kind);
    CHECK_STR(t, e.text, text);
    CHECK_BYTES(t, b.data, b.len, "head", 4);
    CHECK(t, !b.failed);
    CHECK_INT(t, lua_gettop(L), top);
  }
  buf_free(&b);
  lua_close(L);
}

/* ---- values ---- */

static void test_forms(struct test_run *t)
{
  check_bytes(t, "nil", "\xc0", 1);
  check_bytes(t, "true", "\xc3", 1);
  check_bytes(t, "1", "\x01", 1);
  check_bytes(t, "1.0", "\xca\x3f\x80\x00\x00", 5);
  check_bytes(t, "-0.0", "\xca\x80\x00\x00\x00", 5);
  check_bytes(t, "0.1", "\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", 9);
  check_bytes(t, "1/0", "\xca\x7f\x80\x00\x00", 5);
  check_bytes(t, "math.mininteger", "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9);
  check_bytes(t, "'\\0\\xff'", "\xa2\x00\xff", 3);
  check_bytes(t, "{}", "\x90", 1);
  check_bytes(t, "{1, 2}", "\x92\x01\x02", 3);
  check_bytes(t, "{1, nil, 3}", "\x82\x01\x01\x03\x03", 5);
  check_bytes(t, "{[3] = 1}", "\x81\x03\x01", 3);
  check_bytes(t, "{[0] = 1}", "\x81\x00\x01", 3);
  check_bytes(t, "{[1.5] = true}", "\x81\xca\x3f\xc0\x00\x00\xc3", 7);
  check_bytes(t, "{[false] = {}}", "\x81\xc2\x90", 3);
}

static void test_round_trips(struct test_run *t)
{
  static const char *const values[] = {
      "0/0",
      "-1/0",
      "math.maxinteger",
      "('x'):rep(70000)",
      "{1, nil, 3}",
      "{nil, nil, 3}",
      "{1, 2, x = 3}",
      "{1, 2, [4] = 4}",
      "{[-1] = 1, [1 << 62] = 2, [1/0] = 3, [-1/0] = 4, [2^53] = 5}",
      "{[''] = '', ['\\0'] = '\\0'}",
      "setmetatable({a = 1}, {__index = error, __pairs = error})",
      "(function() local t = {} for i = 1, 70000 do t[i] = -i end return t "
      "end)()",
      "(function() local t = {} for i = 1, 15 do t['k' .. i] = {i} end return t"
      " end)()",
      "(function() local t = {} for i = 1, 16 do t['k' .. i] = {i} end return t"
      " end)()",
      "(function() local t = {} for i = 1, 70000 do t['k' .. i] = i end return "
      "t"
      " end)()",
      "(function() local t = {} for i = 1, 5000 do t[i] = {{}, {i}} end return "
      "t"
      " end)()",
      "(function() local t = {} for i = 1, 20 do t[i] = i end"
      " for i = 1, 19 do t[i] = nil end return t end)()",
  };
  lua_State *L = open_state(t);
  for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
    if (eval(t, L, values[i])) {
      check_round_trip(t, L);
      check_foreign(t, L);
    }
    lua_settop(L, 0);
  }
  lua_close(L);
}

static void push_random(lua_State *L, uint64_t *random, int depth)
{
  uint64_t v = test_random(random);
  double number;
  switch (v % (depth > 0 ? 7 : 5)) {
  case 0: lua_pushboolean(L, v & 64); return;
  case 1: lua_pushinteger(L, (lua_Integer)v >> (v >> 58)); return;
  case 2:
    v ^= v << 32;
    memcpy(&number, &v, sizeof(number));
    lua_pushnumber(L, number);
    return;
  case 3:
  case 4: lua_pushlstring(L, (const char *)&v, (size_t)(v >> 61)); return;
  default: break;
  }
  luaL_checkstack(L, 8, "push_random");
  lua_newtable(L);
  for (lua_Integer i = 1; i <= (lua_Integer)(v >> 8 & 15); i++) {
    if (v & 0x1000)
      lua_pushinteger(L, i);
    else
      push_random(L, random, 0);
    lua_Number key = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
    push_random(L, random, depth - 1);
    if (isnan(key))
      lua_pop(L, 2);
    else
      lua_rawset(L, -3);
  }
}

static void test_random_values(struct test_run *t)
{
  uint64_t random = 1;
  lua_State *L = open_state(t);
  for (int i = 0; i < 20000 && !t->failures; i++) {
    push_random(L, &random, 4);
    check_round_trip(t, L);
    check_foreign(t, L);
    lua_settop(L, 0);
  }
  lua_close(L);
}

/* ---- what is refused ---- */

static void test_places(struct test_run *t)
{
  static const char *const cases[][2] = {
      {"print", "result: function cannot be sent"},
      {"io.stdout", "result: userdata cannot be sent"},
      {"{rows = {1, 2, {cb = print}}}",
       "result.rows[3].cb: function cannot be sent"},
      {"{['a b'] = {[1.5] = {[true] = print}}}",
       "result[\"a b\"][1.5][true]: function cannot be sent"},
      {"{[-1] = {['1'] = {_x1 = print}}}",
       "result[-1][\"1\"]._x1: function cannot be sent"},
      {"{['\"\\\\\\n\\xff'] = print}",
       "result[\"\\\"\\\\\\010\\255\"]: function cannot be sent"},
      {"{[''] = print}", "result[\"\"]: function cannot be sent"},
      {"{[('k'):rep(50)] = print}",
       "result[\"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk...\"]: "
       "function cannot be sent"},
      {"{a = {b = {[{}] = 1}}}",
       "result.a.b: a key that is a table cannot be sent"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    check_refused(t, cases[i][0], NO_LIMIT, "encode", cases[i][1]);
}

static void test_tables_met_twice(struct test_run *t)
{
  check_refused(
      t, "(function() local t = {} t.a = {1, {t}} return t end)()", NO_LIMIT,
      "encode",
      "result.a[2][1]: the same table as result cannot be sent twice");
  check_refused(t, "(function() local s = {} return {{1, s}, {s}} end)()",
                NO_LIMIT, "encode",
                "result[2][1]: the same table as result[1][2] cannot be sent"
                " twice");
  check_refused(t,
                "(function() local t = {} for i = 1, 5000 do t[i] = {} end"
                " t[5001] = t[17] return t end)()",
                NO_LIMIT, "encode",
                "result[5001]: the same table as result[17] cannot be sent"
                " twice");
  check_refused(t,
                "(function() local t = {} for i = 1, 99 do t[i] = {} end"
                " t[100] = t return t end)()",
                NO_LIMIT, "encode",
                "result[100]: the same table as result cannot be sent twice");
}

/* A new table may not be taken for one that is gone. */
static void test_sets_do_not_outlive_a_call(struct test_run *t)
{
  lua_State *L = open_state(t);
  eval(t, L,
       "(function() local t = {} for i = 1, 99 do t[i] = {} end return t "
       "end)()");
  check_round_trip(t, L);
  check_round_trip(t, L);
  lua_close(L);
}

static void test_depth(struct test_run *t)
{
  lua_State *L = open_state(t);
  eval(t, L,
       "(function() local t = 1 for i = 1, 100 do t = {t} end return t end)()");
  check_round_trip(t, L);
  lua_close(L);

  struct err e = {"", ""};
  L = open_state(t);
  struct buf b;
  buf_init(&b, NO_LIMIT);
  eval(t, L,
       "(function() local t = 1 for i = 1, 101 do t = {t} end return t end)()");
  CHECK_INT(t, codec_encode(L, -1, "result", &b, &e), -1);
  CHECK_STR(t, e.kind, "encode");
  CHECK(t, strstr(e.text, "result...[1]"));
  CHECK(t, strstr(e.text, "[1]: nested too deep to be sent"));
  memset(buf_room(&b, 101), 0x91, 101);
  b.len = 102;
  b.data[101] = 1;
  struct mp_reader r = {b.data, b.data + b.len};
  lua_settop(L, 0);
  CHECK_INT(t, codec_decode(L, &r, &e), -1);
  CHECK_STR(t, e.kind, "decode");
  CHECK_INT(t, lua_gettop(L), 0);
  r.at = b.data + 1;
  CHECK_INT(t, codec_decode(L, &r, &e), 0);
  buf_free(&b);
  lua_close(L);
}

static void test_limits(struct test_run *t)
{
  check_refused(t, "('x'):rep(20)", 24, "too_large",
                "result: over the limit of 24 bytes for the whole value");
  check_refused(t, "{1, {2, a = 3}, ('x'):rep(20)}", 20, "too_large",
                "result[3]: over the limit of 20 bytes for the whole value");
  lua_State *L = open_state(t);
  uint64_t random = 7;
  for (int i = 0; i < 100; i++) {
    struct buf b;
    struct err e;
    push_random(L, &random, 3);
    buf_init(&b, NO_LIMIT);
    CHECK_INT(t, codec_encode(L, -1, "v", &b, &e), 0);
    const size_t whole = b.len;
    for (size_t max = 0; max <= whole && max < 200; max++) {
      buf_clear(&b);
      b.max = max;
      int rc = codec_encode(L, -1, "v", &b, &e);
      CHECK_INT(t, rc, max < whole ? -1 : 0);
      if (rc < 0) CHECK_STR(t, e.kind, "too_large");
      CHECK_INT(t, b.len, max < whole ? 0 : whole);
      CHECK(t, !b.failed);
    }
    buf_free(&b);
    lua_settop(L, 0);
  }
  lua_close(L);
}

static void test_failed_buffers_stay_failed(struct test_run *t)
{
  struct buf b;
  struct err e;
  lua_State *L = open_state(t);
  buf_init(&b, 4);
  buf_add(&b, "ab", 2);
  buf_add(&b, "cde", 3);
  eval(t, L, "{1}");
  CHECK_INT(t, codec_encode(L, -1, "v", &b, &e), -1);
  lua_pushinteger(L, 1);
  CHECK_INT(t, codec_encode(L, -1, "v", &b, &e), -1);
  CHECK(t, b.failed);
  CHECK_BYTES(t, b.data, b.len, "ab", 2);
  buf_free(&b);
  lua_close(L);
}

static void test_malformed(struct test_run *t)
{
  static const struct {
    const char *bytes;
    size_t len;
    const char *text;
  } cases[] = {
      {"\xc1", 1, "cut or malformed MessagePack at byte 0"},
      {"\x92\x01", 2, "cut or malformed MessagePack at byte 0"},
      {"\x92\x91\x01", 3, "cut or malformed MessagePack at byte 2"},
      {"\x82\x01\x01\x01", 4, "cut or malformed MessagePack at byte 0"},
      {"\x91\xa2x", 3, "cut or malformed MessagePack at byte 1"},
      {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9,
       "an integer above 63 bits at byte 9"},
      {"\xd4\x01\x01", 3, "an extension type at byte 3"},
      {"\x81\xc0\x01", 3, "a map key that Lua cannot have at byte 2"},
      {"\x81\x90\x01", 3, "a map key that Lua cannot have at byte 2"},
      {"\x81\xca\x7f\xc0\x00\x00\x01", 7,
       "a map key that Lua cannot have at byte 6"},
  };
  lua_State *L = open_state(t);
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    const uint8_t *at = (const uint8_t *)cases[i].bytes;
    struct mp_reader r = {at, at + cases[i].len};
    struct err e = {"", ""};
    CHECK_INT(t, codec_decode(L, &r, &e), -1);
    CHECK_STR(t, e.kind, "decode");
    CHECK_STR(t, e.text, cases[i].text);
    CHECK_INT(t, lua_gettop(L), 0);
  }
  lua_close(L);
}

static void test_repeated_keys(struct test_run *t)
{
  /* {1: 1, 1.0: 2, "a": 1, "a": nil}: the last one counts */
  static const uint8_t bytes[] = {0x84, 1,    1,   0xca, 0x3f, 0x80, 0,   0,
                                  2,    0xa1, 'a', 1,    0xa1, 'a',  0xc0};
  struct mp_reader r = {bytes, bytes + sizeof(bytes)};
  struct err e;
  lua_State *L = open_state(t);
  CHECK_INT(t, codec_decode(L, &r, &e), 0);
  eval(t, L, "{2}");
  CHECK(t, same_value(L, 1, 2));
  lua_close(L);
}

/* Heads that promise as much as the bytes left allow, one in another: memory
 * must follow the input, not the promises. */
static void test_promises(struct test_run *t)
{
  enum { SIZE = 1 << 20 };
  uint8_t *bytes = calloc(1, SIZE);
  struct err e;
  lua_State *L = open_state(t);
  if (!CHECK(t, bytes)) return;
  for (size_t i = 0; i < 99; i++) {
    bytes[5 * i] = 0xdd;
    bytes[5 * i + 2] = 0x07; /* 458752 or so */
  }
  struct mp_reader r = {bytes, bytes + SIZE};
  CHECK_INT(t, codec_decode(L, &r, &e), -1);
  CHECK_INT(t, r.at - bytes, 15); /* the third is one too many */
  CHECK(t, lua_gc(L, LUA_GCCOUNT) < 4096);
  free(bytes);
  lua_close(L);
}

/* ---- memory and stack run out ---- */

static int l_decode(lua_State *L)
{
  struct mp_reader *r = lua_touserdata(L, 1);
  struct err e;
  return codec_decode(L, r, &e) == 0 ? 1 : luaL_error(L, "%s", e.text);
}

/* Fails from the n-th allocation on, for every n. */
static void test_memory_runs_out(struct test_run *t)
{
  struct buf b;
  struct err e;
  lua_State *full = open_state(t);
  buf_init(&b, NO_LIMIT);
  eval(t, full,
       "{1, 'short', ('long'):rep(20), {a = {b = {{{{1.5}}}}}}, {{}, {}}}");
  CHECK_INT(t, codec_encode(full, -1, "v", &b, &e), 0);
  int rc = LUA_ERRMEM;
  for (long n = 0; rc == LUA_ERRMEM && n < 1000; n++) {
    struct allowance a = {1000};
    struct mp_reader r = {b.data, b.data + b.len};
    lua_State *L = lua_compat_newstate(allowance_allocate, &a);
    a.left = n;
    lua_pushcfunction(L, l_decode);
    lua_pushlightuserdata(L, &r);
    rc = lua_pcall(L, 1, 1, 0);
    a.left = 1000;
    if (n == 0) CHECK_INT(t, rc, LUA_ERRMEM);
    if (rc == LUA_OK) {
      CHECK_INT(t, lua_rawlen(L, -1), 5);
      check_round_trip(t, L);
    }
    lua_close(L);
  }
  CHECK_INT(t, rc, LUA_OK);
  buf_free(&b);
  lua_close(full);
}

/* No room left on the Lua stack: an error, not a raise or a crash. */
static void test_stack_runs_out(struct test_run *t)
{
  struct buf b;
  struct err e = {"", ""};
  lua_State *L = open_state(t);
  buf_init(&b, NO_LIMIT);
  eval(t, L, "{{{}}}");
  for (int step = 1 << 19; step > 0; step /= 2)
    while (lua_checkstack(L, step)) lua_settop(L, lua_gettop(L) + step);
  const int top = lua_gettop(L);
  CHECK_INT(t, codec_encode(L, 1, "v", &b, &e), -1);
  CHECK_STR(t, e.kind, "memory");
  CHECK_INT(t, b.len, 0);
  CHECK_INT(t, lua_gettop(L), top);
  buf_free(&b);
  lua_close(L);
}

const struct test codec_tests[] = {
    {"codec: forms", test_forms},
    {"codec: round trips", test_round_trips},
    {"codec: random values", test_random_values},
    {"codec: places", test_places},
    {"codec: tables met twice", test_tables_met_twice},
    {"codec: sets do not outlive a call", test_sets_do_not_outlive_a_call},
    {"codec: depth", test_depth},
    {"codec: limits", test_limits},
    {"codec: failed buffers stay failed", test_failed_buffers_stay_failed},
    {"codec: malformed", test_malformed},
    {"codec: repeated keys", test_repeated_keys},
    {"codec: promises", test_promises},
    {"codec: memory runs out", test_memory_runs_out},
    {"codec: stack runs out", test_stack_runs_out},
    {NULL, NULL},
};
