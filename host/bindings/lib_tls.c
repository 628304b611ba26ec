/* SPDX-License-Identifier: MIT */
/* host.tls: the keys of --tls DIR (net/tls_identity.h), for drivers.
 *   load(dir, command)    the identity of a driver or an observer; `command` is
 *                         what needs it, for messages
 *   identity:dir()        the folder
 *   identity:facts()      those of its certificate, as of host.keys
 *   identity:warnings()   what will soon end all connections: a list of
 *                         sentences
 *   identity:reload()     true when the files have changed and are in use now;
 *                         false when they have not; nil and an error when they
 *                         cannot be used and the old ones stay, once for each
 *                         different reason
 * Failures return nil and an error table, of load with kind "usage". */
#include "bindings/lib_tls.h"

#include "bindings/lib.h"
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

LJMP static int l_load(lua_State *L)
{
  struct err e;
  const char *dir = luaL_checkstring(L, 1);
  const char *command = luaL_checkstring(L, 2);
  struct lua_identity *i = class_new(L, IDENTITY, sizeof(*i), 1);
  lua_pushvalue(L, 2); /* the identity borrows it */
  lua_setiuservalue(L, -2, 1);
  i->id = tls_identity_load(dir, CERTIFICATE_DRIVER, command, &e);
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

static const luaL_Reg methods[] = {
    {"dir", l_dir},       {"facts", l_facts}, {"warnings", l_warnings},
    {"reload", l_reload}, {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"load", l_load},
    {NULL, NULL},
};

int luaopen_host_tls(lua_State *L)
{
  return class_module(L, IDENTITY, identity_release, methods, lib);
}
