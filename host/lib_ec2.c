/* SPDX-License-Identifier: MIT */
/* host.ec2; fleet.discovery.ec2 is its one user.
 *
 *   parse(bytes) -> {instances = {...}, next_token = string or nil}, or nil and
 *     an error table. An instance has id, state, zone, launched, private_v4,
 *     public_v4, private_v6, public_v6 (strings, or nil) and tags (key ->
 *     value, "" when it has none). */
#include "lib.h"

#include "class.h"
#include "ec2.h"
#include "vm.h"

#define EC2_PAGE "host.ec2.page"

/* Frees the page when building the result runs out of memory. */
struct box {
  struct ec2_page *page;
};

static int l_page_gc(lua_State *L)
{
  struct box *b = luaL_checkudata(L, 1, EC2_PAGE);
  ec2_page_free(b->page);
  b->page = NULL;
  return 0;
}

/* LJMP [-0, +0]: sets a field of the table on top, if there is a text */
LJMP static void set_text(lua_State *L, const char *name, struct ec2_text t)
{
  if (!t.bytes) return;
  lua_pushlstring(L, t.bytes, t.len);
  lua_setfield(L, -2, name);
}

/* LJMP [-0, +1] */
LJMP static void push_instance(lua_State *L, struct ec2_instance *i)
{
  struct ec2_tag tag;
  lua_createtable(L, 0, 8);
  set_text(L, "id", i->id);
  set_text(L, "state", i->state);
  set_text(L, "zone", i->zone);
  set_text(L, "launched", i->launched);
  set_text(L, "private_v4", i->private_v4);
  set_text(L, "public_v4", i->public_v4);
  set_text(L, "private_v6", i->private_v6);
  set_text(L, "public_v6", i->public_v6);
  lua_newtable(L);
  while (ec2_next_tag(i, &tag)) {
    lua_pushlstring(L, tag.key.bytes, tag.key.len);
    lua_pushlstring(L, tag.value.bytes ? tag.value.bytes : "", tag.value.len);
    lua_rawset(L, -3);
  }
  lua_setfield(L, -2, "tags");
}

LJMP static int l_parse(lua_State *L)
{
  size_t len;
  struct err e;
  struct ec2_instance instance;
  const char *bytes = luaL_checklstring(L, 1, &len);
  struct box *b = class_new(L, EC2_PAGE, sizeof(*b), 0);
  lua_toclose(L, -1);
  b->page = ec2_parse(bytes, len, &e);
  if (!b->page) return vm_fail(L, &e);
  lua_createtable(L, 0, 2);
  lua_newtable(L);
  for (lua_Integer n = 1; ec2_next_instance(b->page, &instance); n++) {
    push_instance(L, &instance);
    lua_rawseti(L, -2, n);
  }
  lua_setfield(L, -2, "instances");
  set_text(L, "next_token", ec2_next_token(b->page));
  return 1;
}

static const luaL_Reg lib[] = {{"parse", l_parse}, {NULL, NULL}};

int luaopen_host_ec2(lua_State *L)
{
  class_add(L, EC2_PAGE, l_page_gc, NULL);
  luaL_newlib(L, lib);
  return 1;
}
