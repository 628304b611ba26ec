/* SPDX-License-Identifier: MIT */
/* host.tls: the keys of --tls DIR (net/tls_identity.h), for drivers.
 *   load(dir, command)    the identity of a driver or an observer; `command` is
 *                         what needs it, for messages
 *   load_text(name, secret, command)   the same for the files in a host.secret,
 *                         from a store that knows them by that name
 *   identity:dir()        the folder, or the name
 *   identity:facts()      those of its certificate, as of host.keys
 *   identity:warnings()   what will soon end all connections: a list of
 *                         sentences
 *   identity:reload()     true when the files have changed and are in use now;
 *                         false when they have not; nil and an error when they
 *                         cannot be used and the old ones stay, once for each
 *                         different reason
 *   identity:take_text(secret)   the same for what the store has now
 *   identity:failed()     whether what was read last could not be used: by time
 *                         alone it may become valid
 * Failures return nil and an error table, of load with kind "usage". */
#include "bindings/lib_tls.h"

#include "base/buf.h"
#include "bindings/lib.h"
#include "bindings/lib_secret.h"
#include "lua/class.h"
#include "lua/vm.h"
#include "net/tls_identity.h"

#include <time.h>

#define IDENTITY "host.tls"

struct lua_identity {
  struct tls_identity *id; /* NULL: not loaded, or released */
};

static void identity_release(void *object)
{
  struct lua_identity *i = object;
  tls_identity_free(i->id);
  i->id = NULL;
}

LJMP struct tls_identity *lib_tls_identity(lua_State *L, int index)
{
  struct lua_identity *i = luaL_checkudata(L, index, IDENTITY);
  luaL_argcheck(L, i->id, index, "the identity is closed");
  return i->id;
}

/* LJMP [-0, +1]: pushes an identity that keeps the command at `command` alive,
 * which it borrows. */
LJMP static struct lua_identity *push_identity(lua_State *L, int command)
{
  struct lua_identity *i = class_new(L, IDENTITY, sizeof(*i), 1);
  lua_pushvalue(L, command);
  lua_setiuservalue(L, -2, 1);
  return i;
}

LJMP static int l_load(lua_State *L)
{
  struct err e;
  const char *dir = luaL_checkstring(L, 1);
  const char *command = luaL_checkstring(L, 2);
  struct lua_identity *i = push_identity(L, 2);
  i->id = tls_identity_load(dir, CERTIFICATE_DRIVER, command, &e);
  return i->id ? 1 : vm_fail(L, &e);
}

LJMP static int l_load_text(lua_State *L)
{
  struct err e;
  const char *name = luaL_checkstring(L, 1);
  const struct buf *text = lib_secret_check(L, 2);
  const char *command = luaL_checkstring(L, 3);
  struct lua_identity *i = push_identity(L, 3);
  i->id = tls_identity_load_text(name, (const char *)text->data, text->len,
                                 CERTIFICATE_DRIVER, command, &e);
  return i->id ? 1 : vm_fail(L, &e);
}

LJMP static int l_dir(lua_State *L)
{
  lua_pushstring(L, tls_identity_dir(lib_tls_identity(L, 1)));
  return 1;
}

LJMP static int l_facts(lua_State *L)
{
  return lib_push_certificate(L,
                              tls_identity_certificate(lib_tls_identity(L, 1)));
}

LJMP static int l_warnings(lua_State *L)
{
  struct err warnings[TLS_IDENTITY_WARNINGS];
  int n = tls_identity_warnings(lib_tls_identity(L, 1), time(NULL), warnings);
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_pushstring(L, warnings[i].text);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

LJMP static int l_reload(lua_State *L)
{
  struct err e;
  int rc = tls_identity_reload(lib_tls_identity(L, 1), &e);
  if (rc < 0) return vm_fail(L, &e);
  lua_pushboolean(L, rc);
  return 1;
}

LJMP static int l_take_text(lua_State *L)
{
  struct err e;
  struct tls_identity *id = lib_tls_identity(L, 1);
  const struct buf *text = lib_secret_check(L, 2);
  int rc = tls_identity_take_text(id, (const char *)text->data, text->len, &e);
  if (rc < 0) return vm_fail(L, &e);
  lua_pushboolean(L, rc);
  return 1;
}

LJMP static int l_failed(lua_State *L)
{
  lua_pushboolean(L, tls_identity_failed(lib_tls_identity(L, 1)));
  return 1;
}

static const luaL_Reg methods[] = {
    {"dir", l_dir},       {"facts", l_facts},         {"warnings", l_warnings},
    {"reload", l_reload}, {"take_text", l_take_text}, {"failed", l_failed},
    {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"load", l_load},
    {"load_text", l_load_text},
    {NULL, NULL},
};

int luaopen_host_tls(lua_State *L)
{
  return class_module(L, IDENTITY, identity_release, methods, lib);
}
