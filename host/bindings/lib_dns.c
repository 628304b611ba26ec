/* SPDX-License-Identifier: MIT */
/* host.dns: the name service, for the driver.
 *
 *   addresses(name [, options]) -> {{address, ttl} ...}
 *   services(name [, options]) -> {{target, port, priority, weight, ttl,
 *     addresses = {{address, ttl} ...} or nil} ...}
 *     Both wait. The lists are never empty. The list of addresses has `partial`
 *     = true if the question for one address family failed, so that some may be
 *     missing. Options: server (an address or a list of them; default: those of
 *     the system), timeout (seconds for the whole lookup; default: 10), tries
 *     (per server; default: 3).
 *     A failure is nil and an error of kind "dns" with a `reason`: "no_name"
 *     and "no_data" are answers, the name or its records do not exist;
 *     "failed", "refused", "unreachable" and "timeout" tell nothing about the
 *     name. */
#include "bindings/lib.h"

#include "base/container.h"
#include "lua/class.h"
#include "lua/task.h"
#include "net/dns.h"

#define DNS_QUERY "host.dns.query"

enum { MAX_SERVERS = 16, MAX_TRIES = 10 };

struct lua_query {
  struct task_wait wait;
  struct dns_query *query; /* while it runs */
  bool services;
  enum dns_reason reason;
  struct err e; /* unless DNS_FOUND */
  struct dns_answer answer;
};

static void query_release(void *object)
{
  struct lua_query *q = object;
  if (q->query) dns_cancel(q->query);
  q->query = NULL;
  buf_free(&q->answer.addresses);
  buf_free(&q->answer.services);
}

static void on_cancel(struct task_wait *w)
{
  query_release(CONTAINER_OF(w, struct lua_query, wait));
}

/* Called by the loop, outside Lua. */
static void on_done(void *arg, struct dns_answer *answer,
                    enum dns_reason reason, const struct err *e)
{
  struct lua_query *q = arg;
  q->query = NULL;
  q->reason = reason;
  if (e) q->e = *e;
  if (answer) { /* takes its memory */
    q->answer = *answer;
    *answer = (struct dns_answer){.partial = false};
  }
  task_wake(&q->wait);
}

/* ---- options ---- */

/* LJMP [-0, +2]: fills `req`, whose strings stay on the stack. */
LJMP static void check_options(lua_State *L, int options,
                               struct dns_request *req)
{
  req->timeout_ms = lib_ms_option(L, options, "timeout", "dns");
  req->tries =
      (unsigned)lib_integer_option(L, options, "tries", "dns", 1, MAX_TRIES, 0);
  if (lua_getfield(L, options, "server") == LUA_TNIL) return;
  if (!lua_istable(L, -1)) { /* one server */
    lua_createtable(L, 1, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
  }
  req->servers =
      lib_push_strings(L, -1, MAX_SERVERS, "dns: addresses of name servers");
}

/* ---- results ---- */

/* LJMP [-0, +1]: pushes the addresses of one service, or of the name; nil if
 * there are none. An answer has at most a few thousand services and addresses,
 * which bounds the search through all of them for each service. */
LJMP static void push_addresses(lua_State *L, const struct dns_answer *answer,
                                size_t service)
{
  const struct dns_address *a = (const void *)answer->addresses.data;
  size_t n = answer->addresses.len / sizeof(*a);
  lua_Integer count = 0;
  lua_pushnil(L);
  for (size_t i = 0; i < n; i++) {
    if (a[i].service != service) continue;
    if (!count) {
      lua_pop(L, 1);
      lua_newtable(L);
    }
    lua_createtable(L, 0, 2);
    lua_pushstring(L, a[i].text);
    lua_setfield(L, -2, "address");
    lib_set_integer(L, "ttl", a[i].ttl);
    lua_rawseti(L, -2, ++count);
  }
}

/* LJMP [-0, +1] */
LJMP static void push_services(lua_State *L, const struct dns_answer *answer)
{
  const struct dns_service *s = (const void *)answer->services.data;
  size_t n = answer->services.len / sizeof(*s);
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    lua_createtable(L, 0, 6);
    lua_pushstring(L, s[i].target);
    lua_setfield(L, -2, "target");
    lib_set_integer(L, "port", s[i].port);
    lib_set_integer(L, "priority", s[i].priority);
    lib_set_integer(L, "weight", s[i].weight);
    lib_set_integer(L, "ttl", s[i].ttl);
    push_addresses(L, answer, i);
    lua_setfield(L, -2, "addresses");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

LJMP static int k_lookup(lua_State *L, int status, lua_KContext ctx)
{
  struct lua_query *q = (struct lua_query *)ctx;
  (void)status;
  luaL_checkstack(L, 10, "dns");
  if (q->reason != DNS_FOUND) {
    int n = vm_fail(L, &q->e);
    lua_pushstring(L, dns_reason_word(q->reason));
    lua_setfield(L, -2, "reason");
    return n;
  }
  if (q->services) {
    push_services(L, &q->answer);
  } else {
    push_addresses(L, &q->answer, 0);
    if (q->answer.partial) {
      lua_pushboolean(L, 1);
      lua_setfield(L, -2, "partial");
    }
  }
  query_release(q);
  return 1;
}

LJMP static int lookup(lua_State *L, bool services)
{
  struct dns_request req = {.services = services};
  struct err e;
  req.name = luaL_checklstring(L, 1, &req.name_len);
  luaL_checkstack(L, 20, "dns");
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    check_options(L, 2, &req);
  }
  task_check_can_wait(L, services ? "dns.services" : "dns.addresses");
  struct lua_query *q = class_new(L, DNS_QUERY, sizeof(*q), 0);
  q->services = services;
  q->wait.cancel = on_cancel;
  struct loop *loop = vm_of(L)->host->loop;
  q->query = dns_start(loop, &req, on_done, q, &e);
  if (!q->query) return vm_fail(L, &e);
  return task_await(L, &q->wait, (lua_KContext)q, k_lookup);
}

LJMP static int l_addresses(lua_State *L)
{
  return lookup(L, false);
}

LJMP static int l_services(lua_State *L)
{
  return lookup(L, true);
}

static const luaL_Reg lib[] = {
    {"addresses", l_addresses},
    {"services", l_services},
    {NULL, NULL},
};

int luaopen_host_dns(lua_State *L)
{
  return class_module(L, DNS_QUERY, query_release, NULL, lib);
}
