/* SPDX-License-Identifier: MIT */
/* host.xml: XML, HTML and XPath; fleet.xml is its public face.
 *
 *   parse(s [, max_bytes [, encoding [, content_type]]]) -> document, or nil
 *     and an error
 *   html(s, ...) -> the same for a page
 *   d:root() -> node or nil; d:close(); d:xpath and d:text as for nodes
 *   n:xpath(query [, prefixes]) -> list of nodes, number, string or boolean; or
 *     nil and an error
 *   n:name(), n:kind(), n:namespace(), n:text(), n:attr(name [, uri]),
 *   n:children()
 *
 * A node keeps its document from being collected. Using it after the document
 * is closed raises. */
#include "bindings/lib.h"

#include "lua/class.h"
#include "lua/lua_compat.h"
#include "lua/vm.h"
#include "wrap/xml.h"

#include <string.h>

#define XML_DOCUMENT "fleet.xml.document"
#define XML_NODE "fleet.xml.node"
#define XML_RESULT "host.xml.result"

struct document {
  struct xml *xml; /* NULL after close */
  size_t charged;  /* bytes that the collector knows of */
};

/* Its first user value is the userdata of `of`. */
struct node {
  struct xml_node *node;
  struct document *of;
};

/* ---- documents ---- */

static void document_release(void *object)
{
  struct document *d = object;
  xml_release(d->xml);
  d->xml = NULL;
}

/* LJMP: makes the collector work as if it had allocated the memory of the
 * document, which it does not see. Otherwise a job that reads pages would pile
 * them up. */
LJMP static void charge_collector(lua_State *L, struct document *d)
{
  size_t kib = (xml_memory(d->xml) - d->charged) >> 10;
  d->charged += kib << 10;
  if (kib) lua_compat_gc_step(L, kib << 10);
}

LJMP static int parse(lua_State *L, bool html)
{
  struct xml_source source = {.html = html};
  struct err e;
  source.bytes = luaL_checklstring(L, 1, &source.len);
  lua_Integer max = luaL_optinteger(L, 2, 0);
  luaL_argcheck(L, max >= 0, 2, "must not be negative");
  source.max_bytes = (size_t)max;
  source.encoding = luaL_optstring(L, 3, NULL);
  source.content_type = luaL_optstring(L, 4, NULL);
  struct document *d = class_new(L, XML_DOCUMENT, sizeof(*d), 0);
  d->xml = xml_parse(&source, &e);
  if (!d->xml) return vm_fail(L, &e);
  charge_collector(L, d);
  return 1;
}

LJMP static int l_parse(lua_State *L)
{
  return parse(L, false);
}

LJMP static int l_html(lua_State *L)
{
  return parse(L, true);
}

/* ---- nodes ---- */

/* LJMP: argument 1, or the document of that node. */
LJMP static struct document *check_document(lua_State *L)
{
  struct node *n = luaL_testudata(L, 1, XML_NODE);
  struct document *d = n ? n->of : luaL_checkudata(L, 1, XML_DOCUMENT);
  if (!d->xml) luaL_error(L, "the document is closed");
  return d;
}

/* LJMP: argument 1 as a node. A caller that then allocates in Lua must check
 * again that the document is open: a finalizer of the script may close it. */
LJMP static struct xml_node *check_node(lua_State *L)
{
  struct document *d = check_document(L);
  struct node *n = luaL_testudata(L, 1, XML_NODE);
  return n ? n->node : xml_document(d->xml);
}

/* LJMP [-0, +1]: `document` is the stack index of its userdata. */
LJMP static void push_node(lua_State *L, struct xml_node *node,
                           struct document *of, int document)
{
  struct node *n = class_new(L, XML_NODE, sizeof(*n), 1);
  n->node = node;
  n->of = of;
  lua_pushvalue(L, document);
  lua_setiuservalue(L, -2, 1);
}

/* LJMP [-0, +1]: pushes the userdata of the document of argument 1. */
LJMP static void push_document(lua_State *L)
{
  if (luaL_testudata(L, 1, XML_NODE))
    lua_getiuservalue(L, 1, 1);
  else
    lua_pushvalue(L, 1);
}

LJMP static int l_root(lua_State *L)
{
  struct document *d = check_document(L);
  struct xml_node *root = xml_root(d->xml);
  if (!root) return 0;
  push_node(L, root, d, 1);
  return 1;
}

LJMP static int l_name(lua_State *L)
{
  lua_pushstring(L, xml_name(check_node(L)));
  return 1;
}

LJMP static int l_kind(lua_State *L)
{
  lua_pushstring(L, xml_kind(check_node(L)));
  return 1;
}

LJMP static int l_namespace(lua_State *L)
{
  lua_pushstring(L, xml_namespace(check_node(L)));
  return 1;
}

/* LJMP [-0, +1]: pushes the text. Most nodes have one piece, which is copied
 * only once. */
LJMP static int push_text(lua_State *L, const struct xml_node *node)
{
  const struct xml_node *at = NULL;
  const char *piece, *first = "";
  size_t len, total = 0, pieces = 0;
  while ((piece = xml_text(node, &at, &len))) {
    if (!pieces++) first = piece;
    total += len;
  }
  if (pieces < 2) {
    lua_pushlstring(L, first, total);
    return 1;
  }
  luaL_Buffer out;
  char *to = luaL_buffinitsize(L, &out, total);
  check_document(L); /* still open? */
  for (at = NULL; (piece = xml_text(node, &at, &len)); to += len)
    memcpy(to, piece, len);
  luaL_pushresultsize(&out, total);
  return 1;
}

LJMP static int l_text(lua_State *L)
{
  return push_text(L, check_node(L));
}

LJMP static int l_attr(lua_State *L)
{
  const char *name = luaL_checkstring(L, 2);
  const char *uri = luaL_optstring(L, 3, NULL);
  const struct xml_node *attribute = xml_attribute(check_node(L), name, uri);
  return attribute ? push_text(L, attribute) : 0;
}

LJMP static int l_same(lua_State *L)
{
  const struct node *a = luaL_testudata(L, 1, XML_NODE);
  const struct node *b = luaL_testudata(L, 2, XML_NODE);
  lua_pushboolean(L, a && b && a->node == b->node && a->of == b->of);
  return 1;
}

/* ---- queries ---- */

static void result_release(void *object)
{
  xml_result_free(object);
}

/* LJMP: argument 2. libxml2 would stop reading at a NUL. */
LJMP static const char *check_query(lua_State *L)
{
  size_t len;
  const char *query = luaL_checklstring(L, 2, &len);
  luaL_argcheck(L, strlen(query) == len, 2,
                "a query must not contain a NUL byte");
  return query;
}

/* LJMP: registers argument 3, prefix -> URI, for the next query. Does not
 * allocate in Lua. */
LJMP static void check_prefixes(lua_State *L, struct xml *xml)
{
  struct err e;
  xml_forget_prefixes(xml);
  if (lua_isnoneornil(L, 3)) return;
  luaL_checktype(L, 3, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
      luaL_argerror(L, 3, "must be a table of prefixes and their namespaces");
    if (xml_add_prefix(xml, lua_tostring(L, -2), lua_tostring(L, -1), &e) < 0)
      luaL_argerror(L, 3, e.text);
  }
}

LJMP static int l_children(lua_State *L)
{
  lua_settop(L, 1);
  push_document(L); /* 2 */
  lua_newtable(L);
  struct document *d = check_document(L);
  struct xml_node *child = xml_first(check_node(L));
  for (lua_Integer i = 1; child; i++, child = xml_next(child)) {
    push_node(L, child, d, 2);
    lua_rawseti(L, 3, i);
    check_document(L); /* still open? */
  }
  return 1;
}

/* LJMP [-0, +1]: pushes a list; the userdata of the document is at
 * `document`. */
LJMP static void push_nodes(lua_State *L, const struct xml_result *r,
                            struct document *of, int document)
{
  lua_createtable(L, r->count < 1 << 20 ? (int)r->count : 1 << 20, 0);
  for (size_t i = 0; i < r->count; i++) {
    push_node(L, xml_result_node(r, i), of, document);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

LJMP static int l_xpath(lua_State *L)
{
  struct err e;
  const char *query = check_query(L);
  lua_settop(L, 3);
  luaL_checkstack(L, 10, "xpath");
  push_document(L); /* 4 */
  struct xml_result *r = class_new(L, XML_RESULT, sizeof(*r), 0);
  lua_toclose(L, -1);
  struct document *d = check_document(L);
  check_prefixes(L, d->xml);
  int rc = xml_query(d->xml, check_node(L), query, r, &e);
  charge_collector(L, d);
  if (rc < 0) return vm_fail(L, &e);
  switch (r->type) {
  case XML_RESULT_NODES: push_nodes(L, r, d, 4); break;
  case XML_RESULT_NUMBER: lua_pushnumber(L, r->number); break;
  case XML_RESULT_STRING: lua_pushstring(L, r->string); break;
  default: lua_pushboolean(L, r->boolean); break;
  }
  return 1;
}

/* ---- the module ---- */

static const luaL_Reg document_methods[] = {
    {"root", l_root},         {"xpath", l_xpath}, {"text", l_text},
    {"close", class_release}, {NULL, NULL},
};

static const luaL_Reg node_methods[] = {
    {"name", l_name},         {"kind", l_kind}, {"namespace", l_namespace},
    {"text", l_text},         {"attr", l_attr}, {"xpath", l_xpath},
    {"children", l_children}, {"__eq", l_same}, {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"parse", l_parse},
    {"html", l_html},
    {NULL, NULL},
};

int luaopen_host_xml(lua_State *L)
{
  class_add(L, XML_DOCUMENT, document_release, document_methods);
  class_add(L, XML_NODE, NULL, node_methods);
  return class_module(L, XML_RESULT, result_release, NULL, lib);
}
