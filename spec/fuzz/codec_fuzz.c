/* SPDX-License-Identifier: MIT */
/* libFuzzer: any bytes, read as MessagePack by skipping and by decoding. What
 * decodes must encode, and decode again to the same value. */
#include "../host/same_value.h"
#include "lua/codec.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                     \
  do {                                                                         \
    if (!(condition)) {                                                        \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__,             \
              #condition);                                                     \
      abort();                                                                 \
    }                                                                          \
  } while (0)

/* Values follow each other up to the end or to the first bad one. */
static int l_check(lua_State *L)
{
  struct mp_reader *r = lua_touserdata(L, 1);
  struct buf *out = lua_touserdata(L, 2);
  struct err e;
  for (;;) {
    struct mp_reader skip = *r, back;
    int skipped = mp_skip(&skip);
    int rc = codec_decode(L, r, &e);
    REQUIRE(lua_gettop(L) == (rc == 0 ? 3 : 2));
    if (rc != 0) return 0;
    REQUIRE(skipped == 0 && skip.at == r->at);

    buf_clear(out);
    REQUIRE(codec_encode(L, 3, "value", out, &e) == 0);
    size_t len = out->len;
    back.at = out->data;
    back.end = out->data + len;
    REQUIRE(codec_decode(L, &back, &e) == 0 && back.at == back.end);
    REQUIRE(same_value(L, 3, 4));
    /* the order of a table's keys may differ, the size may not */
    REQUIRE(codec_encode(L, 4, "value", out, &e) == 0 && out->len == 2 * len);
    lua_settop(L, 2);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct mp_reader r = {data, data + size};
  struct buf out;
  lua_State *L = luaL_newstate();
  REQUIRE(L);
  buf_init(&out, 1 << 28);
  lua_pushcfunction(L, l_check);
  lua_pushlightuserdata(L, &r);
  lua_pushlightuserdata(L, &out);
  REQUIRE(lua_pcall(L, 2, 0, 0) == LUA_OK);
  buf_free(&out);
  lua_close(L);
  return 0;
}
