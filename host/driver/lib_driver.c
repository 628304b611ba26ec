/* SPDX-License-Identifier: MIT */
/* host.driver: what only the driver's own process has.
 *   wait_signal()           "INT" or "TERM", when one arrives (waits). From the
 *                           first call on, signals have no other effect.
 *   local_node{workers=, release=}   starts a private node (waits until it
 *                           listens): an object with url(), pid() and stop(),
 *                           or nil, err */
#include "driver/driver_modules.h"

#include "base/container.h"
#include "driver/local_node.h"
#include "driver/signals.h"
#include "event/stream.h"
#include "lua/class.h"
#include "lua/task.h"

#include <signal.h>
#include <string.h>

#define LOCAL_NODE "host.driver.local_node"

/* ---- signals ---- */

struct signal_wait {
  struct task_wait wait;
  struct signals *signals;
};

static void on_signal_cancel(struct task_wait *w)
{
  ((struct signal_wait *)w)->signals->waiting = NULL;
}

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
  if (s->waiting) return luaL_error(L, "another task waits for signals");
  s->handled = true;
  if (s->pending) return k_signal(L, LUA_OK, (lua_KContext)s);
  struct signal_wait *w = lua_newuserdatauv(L, sizeof(*w), 0);
  memset(w, 0, sizeof(*w));
  w->wait.cancel = on_signal_cancel;
  w->signals = s;
  s->waiting = &w->wait;
  return task_await(L, &w->wait, (lua_KContext)s, k_signal);
}

/* ---- the private node ---- */

struct node_box {
  struct stream ready;
  struct task_wait wait;
  struct local_node node;
};

static void on_ready(struct stream *s)
{
  task_wake(&((struct node_box *)s)->wait);
}

static void node_close(void *object)
{
  struct node_box *b = object;
  stream_close(&b->ready);
  local_node_stop(&b->node);
}

static void on_node_cancel(struct task_wait *w)
{
  node_close(CONTAINER_OF(w, struct node_box, wait));
}

LJMP static int k_local_node(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct node_box *b = (struct node_box *)ctx;
  struct err e;
  char word[16];
  if (stream_read(&b->ready, word, sizeof(word)) > 0) return 1;
  node_close(b);
  err_set(&e, "connect", "the local node did not start; its log is above");
  return vm_fail(L, &e);
}

LJMP static int l_local_node(lua_State *L)
{
  struct vm_host *host = vm_of(L)->host;
  struct local_node_options options = {.lua_path = host->lua_path};
  struct err e;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "workers");
  options.workers = (int)luaL_checkinteger(L, -1);
  lua_getfield(L, 1, "release");
  options.release = luaL_checkstring(L, -1);
  task_check_can_wait(L, "driver.local_node");
  struct node_box *b = class_new(L, LOCAL_NODE, sizeof(*b), 1);
  stream_init(&b->ready, host->loop, -1, false);
  b->ready.on_ready = on_ready;
  b->wait.cancel = on_node_cancel;
  if (local_node_start(&b->node, host->loop, &options, &e) < 0)
    return vm_fail(L, &e);
  b->ready.io.fd = b->node.ready_fd;
  if (stream_wait(&b->ready, false, &e) < 0) {
    node_close(b);
    return vm_fail(L, &e);
  }
  return task_await(L, &b->wait, (lua_KContext)b, k_local_node);
}

LJMP static int l_node_url(lua_State *L)
{
  struct node_box *b = luaL_checkudata(L, 1, LOCAL_NODE);
  lua_pushstring(L, b->node.url);
  return 1;
}

LJMP static int l_node_pid(lua_State *L)
{
  struct node_box *b = luaL_checkudata(L, 1, LOCAL_NODE);
  lua_pushinteger(L, b->node.pid);
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
  class_add(L, LOCAL_NODE, node_close, node_methods);
  luaL_newlib(L, lib);
  return 1;
}
