/* SPDX-License-Identifier: MIT */
/* host.driver: functions for the driver process only.
 *   wait_signal()    waits for a signal and returns "INT" or "TERM". From the
 *                    first call on, signals have no other effect.
 *   local_node{workers=, release=}  starts a private node. Returns an object,
 * or nil and an error: pid() descriptor()   of the session with it, for
 * host.channel; once stop() */
#include "driver/driver.h"

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

static void node_release(void *object)
{
  local_node_stop(object);
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
  struct local_node *n = class_new(L, LOCAL_NODE, sizeof(*n), 0);
  if (local_node_start(n, host->loop, &options, &e) < 0) return vm_fail(L, &e);
  return 1;
}

LJMP static int l_node_descriptor(lua_State *L)
{
  int fd = local_node_take_session(luaL_checkudata(L, 1, LOCAL_NODE));
  if (fd < 0) return luaL_error(L, "the descriptor was taken before");
  lua_pushinteger(L, fd);
  return 1;
}

LJMP static int l_node_pid(lua_State *L)
{
  const struct local_node *n = luaL_checkudata(L, 1, LOCAL_NODE);
  lua_pushinteger(L, n->pid);
  return 1;
}

static const luaL_Reg node_methods[] = {
    {"descriptor", l_node_descriptor},
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
