/* SPDX-License-Identifier: MIT */
/* host.keys: certificates of a fleet and the authority (CA) that issues them.
 * Keys, certificates and CRLs are strings in PEM format. For drivers only.
 *   facts(certificate)      {role=, fleet=, name=, serial=, not_before=,
 *                           not_after=} of the first certificate of a string;
 *                           fleet is nil if the role is "other"
 *   is_fleet(s), is_name(s) whether a fleet or a certificate may have that name
 *   date(seconds)           "2027-11-29 14:05 UTC"
 *   new(fleet, days)        a CA with a new key
 *   open(key, certificates) that of an unencrypted key, whose certificate is
 *                           among the certificates
 *   ca:facts()              those of its certificate
 *   ca:write()              its certificate and its key
 *   ca:issue(role, name, days)  a certificate and its new key
 *   ca:verify(certificate)  its facts, if this CA has issued it
 *   ca:is_in(certificates)  whether its certificate is among them
 *   ca:revoke(crl, serial, days)  the next CRL: `crl` (nil: none yet), its
 *                           serial (nil: none more) revoked
 *   ca:close()
 * Failures return nil and an error table. */
#include "bindings/lib.h"

#include "base/buf.h"
#include "lua/class.h"
#include "lua/vm.h"
#include "wrap/authority.h"

#include <string.h>

#define AUTHORITY "host.keys"
#define TEXTS "host.keys.texts"

struct lua_authority {
  struct authority *ca; /* NULL after close */
};

/* Two texts, of which the second may be a private key: overwritten when
 * released. */
struct texts {
  struct buf certificate, key;
};

static void text_release(struct buf *b)
{
  if (b->data) explicit_bzero(b->data, b->cap);
  buf_free(b);
}

static void texts_release(void *object)
{
  struct texts *t = object;
  text_release(&t->certificate);
  text_release(&t->key);
}

LJMP static struct texts *new_texts(lua_State *L)
{
  struct texts *t = class_new(L, TEXTS, sizeof(*t), 0);
  buf_init(&t->certificate, AUTHORITY_MAX_PEM);
  buf_init(&t->key, AUTHORITY_MAX_PEM);
  return t;
}

/* Pushes the texts that are not empty. */
LJMP static int push_texts(lua_State *L, struct texts *t)
{
  lib_push_bytes(L, &t->certificate);
  if (t->key.len) lib_push_bytes(L, &t->key);
  int n = t->key.len ? 2 : 1;
  texts_release(t);
  return n;
}

/* ---- facts ---- */

LJMP int lib_push_certificate(lua_State *L, const struct certificate *facts)
{
  lua_createtable(L, 0, 6);
  lua_pushstring(L, certificate_role_name(facts->role));
  lua_setfield(L, -2, "role");
  lua_pushstring(L, facts->name);
  lua_setfield(L, -2, "name");
  lua_pushstring(L, facts->serial);
  lua_setfield(L, -2, "serial");
  if (facts->role != CERTIFICATE_OTHER) {
    lua_pushstring(L, facts->fleet);
    lua_setfield(L, -2, "fleet");
  }
  lib_set_integer(L, "not_before", facts->not_before);
  lib_set_integer(L, "not_after", facts->not_after);
  return 1;
}

LJMP static int l_facts(lua_State *L)
{
  size_t len;
  struct err e;
  struct certificate facts;
  const char *pem = luaL_checklstring(L, 1, &len);
  if (certificate_read_pem(pem, len, &facts, &e) < 0) return vm_fail(L, &e);
  return lib_push_certificate(L, &facts);
}

/* A string without NUL bytes, since the functions of wrap/ take no others. */
LJMP static const char *check_word(lua_State *L, int index)
{
  size_t len;
  const char *s = luaL_checklstring(L, index, &len);
  return strlen(s) == len ? s : "";
}

LJMP static int l_is_fleet(lua_State *L)
{
  lua_pushboolean(L, certificate_is_fleet(check_word(L, 1)));
  return 1;
}

LJMP static int l_is_name(lua_State *L)
{
  lua_pushboolean(L, certificate_is_name(check_word(L, 1)));
  return 1;
}

LJMP static int l_date(lua_State *L)
{
  char date[CERTIFICATE_DATE_SIZE];
  certificate_date(luaL_checkinteger(L, 1), date);
  lua_pushstring(L, date);
  return 1;
}

/* ---- the authority ---- */

LJMP static int check_days(lua_State *L, int index)
{
  lua_Integer days = luaL_checkinteger(L, index);
  luaL_argcheck(L, days >= 1 && days <= AUTHORITY_MAX_DAYS, index,
                "a number of days");
  return (int)days;
}

LJMP static int l_new(lua_State *L)
{
  struct err e;
  const char *fleet = check_word(L, 1);
  luaL_argcheck(L, certificate_is_fleet(fleet), 1, "the name of a fleet");
  int days = check_days(L, 2);
  struct lua_authority *a = class_new(L, AUTHORITY, sizeof(*a), 0);
  a->ca = authority_new(fleet, days, &e);
  return a->ca ? 1 : vm_fail(L, &e);
}

LJMP static int l_open(lua_State *L)
{
  size_t key_len, len;
  struct err e;
  const char *key = luaL_checklstring(L, 1, &key_len);
  const char *certificates = luaL_checklstring(L, 2, &len);
  struct lua_authority *a = class_new(L, AUTHORITY, sizeof(*a), 0);
  a->ca = authority_open(key, key_len, certificates, len, &e);
  return a->ca ? 1 : vm_fail(L, &e);
}

LJMP static const struct authority *check_authority(lua_State *L)
{
  const struct lua_authority *a = luaL_checkudata(L, 1, AUTHORITY);
  luaL_argcheck(L, a->ca, 1, "the authority is closed");
  return a->ca;
}

LJMP static int l_authority_facts(lua_State *L)
{
  return lib_push_certificate(L, authority_facts(check_authority(L)));
}

LJMP static int l_write(lua_State *L)
{
  struct err e;
  const struct authority *ca = check_authority(L);
  struct texts *t = new_texts(L);
  if (authority_write(ca, &t->certificate, &t->key, &e) < 0)
    return vm_fail(L, &e);
  return push_texts(L, t);
}

LJMP static int l_issue(lua_State *L)
{
  struct err e;
  const struct authority *ca = check_authority(L);
  enum certificate_role role = certificate_role_of(check_word(L, 2));
  const char *name = check_word(L, 3);
  luaL_argcheck(L, role > CERTIFICATE_CA, 2, "node, driver or observer");
  luaL_argcheck(L, certificate_is_name(name), 3, "the name of a certificate");
  int days = check_days(L, 4);
  struct texts *t = new_texts(L);
  if (authority_issue(ca, role, name, days, &t->certificate, &t->key, &e) < 0)
    return vm_fail(L, &e);
  return push_texts(L, t);
}

LJMP static int l_verify(lua_State *L)
{
  size_t len;
  struct err e;
  struct certificate facts;
  const struct authority *ca = check_authority(L);
  const char *pem = luaL_checklstring(L, 2, &len);
  if (authority_verify(ca, pem, len, &facts, &e) < 0) return vm_fail(L, &e);
  return lib_push_certificate(L, &facts);
}

LJMP static int l_is_in(lua_State *L)
{
  size_t len;
  const struct authority *ca = check_authority(L);
  const char *pem = luaL_checklstring(L, 2, &len);
  lua_pushboolean(L, authority_is_in(ca, pem, len));
  return 1;
}

LJMP static int l_revoke(lua_State *L)
{
  size_t len = 0;
  struct err e;
  const struct authority *ca = check_authority(L);
  const char *last = luaL_optlstring(L, 2, NULL, &len);
  const char *serial = lua_isnoneornil(L, 3) ? NULL : check_word(L, 3);
  luaL_argcheck(L, !serial || certificate_is_serial(serial), 3,
                "a serial number");
  int days = check_days(L, 4);
  struct texts *t = new_texts(L);
  if (authority_revoke(ca, last, len, serial, days, &t->certificate, &e) < 0)
    return vm_fail(L, &e);
  return push_texts(L, t);
}

static void authority_release(void *object)
{
  struct lua_authority *a = object;
  authority_free(a->ca);
  a->ca = NULL;
}

static const luaL_Reg methods[] = {
    {"facts", l_authority_facts}, {"write", l_write}, {"issue", l_issue},
    {"verify", l_verify},         {"is_in", l_is_in}, {"revoke", l_revoke},
    {"close", class_release},     {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"facts", l_facts}, {"is_fleet", l_is_fleet}, {"is_name", l_is_name},
    {"date", l_date},   {"new", l_new},           {"open", l_open},
    {NULL, NULL},
};

int luaopen_host_keys(lua_State *L)
{
  class_add(L, TEXTS, texts_release, NULL);
  return class_module(L, AUTHORITY, authority_release, methods, lib);
}
