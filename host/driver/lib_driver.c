/* SPDX-License-Identifier: MIT */
/* host.driver: functions for the driver process only.
 *   wait_signal()    waits for a signal and returns "INT" or "TERM". From the
 *                    first call on, signals have no other effect.
 *   local_node{workers=, release=}  starts a private node and waits until it
 *                    listens. Returns an object with url(), pid() and stop(),
 *                    or nil and an error. */
#include "driver/driver.h"

#include "base/container.h"
#include "driver/local_node.h"
#include "driver/signals.h"
#include "lua/class.h"
#include "lua/task.h"

#include <signal.h>

#define LOCAL_NODE "host.driver.local_node"

/* ---- signals ---- */

LJMP static int k_signal(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct signals *s = (struct signals *)ctx;
  lua_pushstring(L, s->pending == SIGINT ? "INT" : "TERM");
  s->pending = 0;
  return 1;
}

LJMP static int l_wait_signal(lua_State *L)
{
  struct signals *s = vm_of(L)->user;
  task_check_can_wait(L, "driver.wait_signal");
  if (s->wait.task) return luaL_error(L, "another task waits for signals");
  s->handled = true;
  if (s->pending) return k_signal(L, LUA_OK, (lua_KContext)s);
  return task_await(L, &s->wait, (lua_KContext)s, k_signal);
}

/* ---- the private node ---- */

struct lua_node {
  struct local_node node;
  struct task_wait wait;
};

static void on_ready(struct stream *s)
{
  task_wake(&CONTAINER_OF(s, struct lua_node, node.ready)->wait);
}

static void node_release(void *object)
{
  local_node_stop(&((struct lua_node *)object)->node);
}

static void on_node_cancel(struct task_wait *w)
{
  node_release(CONTAINER_OF(w, struct lua_node, wait));
}

LJMP static int k_local_node(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_node *n = (struct lua_node *)ctx;
  struct err e;
  char word[16];
  if (stream_read(&n->node.ready, word, sizeof(word)) > 0) return 1;
  node_release(n);
  err_set(&e, "connect", "the local node did not start; its log is above");
  return vm_fail(L, &e);
}

LJMP static int l_local_node(lua_State *L)
{
  struct vm_host *host = vm_of(L)->host;
  struct local_node_options options = {.lua_path = host->lua_path,
                                       .allow_hosts = host->allow_hosts,
                                       .modules = host->modules};
  struct err e;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "workers");
  options.workers = (int)luaL_checkinteger(L, -1);
  lua_getfield(L, 1, "release");
  options.release = luaL_checkstring(L, -1);
  task_check_can_wait(L, "driver.local_node");
  struct lua_node *n = class_new(L, LOCAL_NODE, sizeof(*n), 0);
  n->wait.cancel = on_node_cancel;
  if (local_node_start(&n->node, host->loop, &options, &e) < 0)
    return vm_fail(L, &e);
  n->node.ready.on_ready = on_ready;
  if (stream_wait(&n->node.ready, false, &e) < 0) {
    node_release(n);
    return vm_fail(L, &e);
  }
  return task_await(L, &n->wait, (lua_KContext)n, k_local_node);
}

LJMP static int l_node_url(lua_State *L)
{
  const struct lua_node *n = luaL_checkudata(L, 1, LOCAL_NODE);
  lua_pushstring(L, n->node.url);
  return 1;
}

LJMP static int l_node_pid(lua_State *L)
{
  const struct lua_node *n = luaL_checkudata(L, 1, LOCAL_NODE);
  lua_pushinteger(L, n->node.pid);
  return 1;
}

static const luaL_Reg node_methods[] = {
    {"url", l_node_url},
    {"pid", l_node_pid},
    {"stop", class_release},
    {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"wait_signal", l_wait_signal},
    {"local_node", l_local_node},
    {NULL, NULL},
};

int luaopen_host_driver(lua_State *L)
{
  return class_module(L, LOCAL_NODE, node_release, node_methods, lib);
}
