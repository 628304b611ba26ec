/* SPDX-License-Identifier: MIT */
/* host.digest: SHA-256; fleet.digest is its public face.
 *
 *   sha256(s) -> lower-case hexadecimal
 *   sha256_bytes(s [, n]) -> the first n bytes of the digest (default: 32)
 *   hmac_sha256(key, s) -> lower-case hexadecimal
 *   new() -> an object: d:update(s) -> d; d:hex() -> the digest of all strings
 *     so far, more may follow; d:close() */
#include "bindings/lib.h"

#include "lua/class.h"
#include "lua/vm.h"
#include "wrap/digest.h"

#define DIGEST "fleet.digest"

struct lua_digest {
  struct digest *digest; /* NULL after close */
};

LJMP static int raise_failure(lua_State *L, const struct err *e)
{
  return luaL_error(L, "%s", e->text);
}

LJMP static int push_hex(lua_State *L, const uint8_t digest[DIGEST_SIZE])
{
  char hex[DIGEST_HEX_SIZE];
  digest_hex(digest, hex);
  lua_pushlstring(L, hex, sizeof(hex));
  return 1;
}

LJMP static int l_sha256(lua_State *L)
{
  uint8_t out[DIGEST_SIZE];
  struct err e;
  size_t len;
  const char *s = luaL_checklstring(L, 1, &len);
  if (digest_sha256(s, len, out, &e) < 0) return raise_failure(L, &e);
  return push_hex(L, out);
}

LJMP static int l_sha256_bytes(lua_State *L)
{
  uint8_t out[DIGEST_SIZE];
  struct err e;
  size_t len;
  const char *s = luaL_checklstring(L, 1, &len);
  lua_Integer n = luaL_optinteger(L, 2, DIGEST_SIZE);
  luaL_argcheck(L, n >= 0 && n <= DIGEST_SIZE, 2, "from 0 to 32 bytes");
  if (digest_sha256(s, len, out, &e) < 0) return raise_failure(L, &e);
  lua_pushlstring(L, (const char *)out, (size_t)n);
  return 1;
}

LJMP static int l_hmac_sha256(lua_State *L)
{
  uint8_t out[DIGEST_SIZE];
  struct err e;
  size_t key_len, len;
  const char *key = luaL_checklstring(L, 1, &key_len);
  const char *s = luaL_checklstring(L, 2, &len);
  if (digest_hmac_sha256(key, key_len, s, len, out, &e) < 0)
    return raise_failure(L, &e);
  return push_hex(L, out);
}

LJMP static int l_new(lua_State *L)
{
  struct err e;
  struct lua_digest *handle = class_new(L, DIGEST, sizeof(*handle), 0);
  handle->digest = digest_new(&e);
  if (!handle->digest) return raise_failure(L, &e);
  return 1;
}

LJMP static struct digest *check_digest(lua_State *L)
{
  const struct lua_digest *handle = luaL_checkudata(L, 1, DIGEST);
  if (!handle->digest) luaL_error(L, "the digest is closed");
  return handle->digest;
}

LJMP static int l_update(lua_State *L)
{
  struct digest *d = check_digest(L);
  size_t len;
  const char *s = luaL_checklstring(L, 2, &len);
  struct err e;
  if (digest_update(d, s, len, &e) < 0) return luaL_error(L, "%s", e.text);
  lua_settop(L, 1);
  return 1;
}

LJMP static int l_hex(lua_State *L)
{
  uint8_t out[DIGEST_SIZE];
  struct err e;
  if (digest_value(check_digest(L), out, &e) < 0)
    return luaL_error(L, "%s", e.text);
  return push_hex(L, out);
}

static void digest_release(void *object)
{
  struct lua_digest *handle = object;
  digest_free(handle->digest);
  handle->digest = NULL;
}

static const luaL_Reg methods[] = {
    {"update", l_update},
    {"hex", l_hex},
    {"close", class_release},
    {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"sha256", l_sha256},
    {"sha256_bytes", l_sha256_bytes},
    {"hmac_sha256", l_hmac_sha256},
    {"new", l_new},
    {NULL, NULL},
};

int luaopen_host_digest(lua_State *L)
{
  return class_module(L, DIGEST, digest_release, methods, lib);
}
