/* SPDX-License-Identifier: MIT */
/* libFuzzer: any bytes, read as JSON, and as a MessagePack value that is
 * written as JSON. Text that decodes must encode; text that was encoded must
 * decode, and encode to itself. */
#include "bindings/lib.h"

#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char check[] =
    "local json, codec, bytes = ...\n"
    "local function check(value)\n"
    "  local text, failure = json.encode(value)\n"
    "  if not text then return failure end\n"
    "  local again, err = json.decode(text)\n"
    "  if err then\n"
    /* {\"base64\":...} is one level more; jansson wants no NUL in names */
    "    assert(err.message:find('deep', 1, true) or\n"
    "      err.message:find('NUL', 1, true), err.message)\n"
    "    return\n"
    "  end\n"
    "  local second = assert(json.encode(again))\n"
    "  assert(second == text, text .. ' and ' .. second)\n"
    "end\n"
    "local value, err = json.decode(bytes)\n"
    "if err then assert(err.kind == 'decode')\n"
    "else assert(not check(value)) end\n"
    "value, err = codec.decode(bytes)\n"
    "if not value then return end\n"
    "local failure = check(value)\n"
    "if failure then\n" /* two keys of one text */
    "  assert(failure.message:find('two keys', 1, true), failure.message)\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  lua_State *L = luaL_newstate();
  if (!L) abort();
  luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
  luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
  lua_settop(L, 0);
  if (luaL_loadstring(L, check) != LUA_OK) abort();
  luaL_requiref(L, "json", luaopen_host_json, 0);
  luaL_requiref(L, "codec", luaopen_host_codec, 0);
  lua_pushlstring(L, (const char *)data, size);
  if (lua_pcall(L, 3, 0, 0) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    abort();
  }
  lua_close(L);
  return 0;
}
