/* SPDX-License-Identifier: MIT */
#include "node/instance_monitor.h"

#include "base/log.h"
#include "bindings/lib.h"
#include "lua/runtime.h"
#include "lua/task.h"
#include "lua/vm.h"
#include "net/http.h"
#include "node/node_status.h"

#include <stdlib.h>

struct instance_monitor {
  struct node *node;
  struct vm_host host;
  struct vm *vm;
};

/* ---- host.node: what the instance monitor may do to its node ----
 *   drain(reason)   as SIGTERM does, once: finish what runs, refuse the rest,
 *                   then leave
 *   draining()      whether it does already
 *   status()        what the node knows of itself (node_status.h)
 *   http()          the address and the port of --http; nothing without it
 *   on_instance()   whether this is an EC2 instance */

static struct node *node_of(lua_State *L)
{
  const struct instance_monitor *k = vm_of(L)->user;
  return k->node;
}

LJMP static int l_drain(lua_State *L)
{
  const char *reason = luaL_checkstring(L, 1);
  struct node *n = node_of(L);
  if (n->draining) return 0; /* a second time would end it at once */
  log_info("instance termination notice; draining", LOG_STR("why", reason));
  node_drain(n);
  return 0;
}

LJMP static int l_draining(lua_State *L)
{
  lua_pushboolean(L, node_of(L)->draining);
  return 1;
}

LJMP static int l_status(lua_State *L)
{
  node_status_push(L, node_of(L));
  return 1;
}

LJMP static int l_http(lua_State *L)
{
  const struct serve_options *o = node_of(L)->options;
  if (!o->http_host) return 0;
  lua_pushstring(L, o->http_host);
  lua_pushinteger(L, o->http_port);
  return 2;
}

LJMP static int l_on_instance(lua_State *L)
{
  lua_pushboolean(L, node_of(L)->options->monitor_instance);
  return 1;
}

static const luaL_Reg node_lib[] = {
    {"drain", l_drain}, {"draining", l_draining},       {"status", l_status},
    {"http", l_http},   {"on_instance", l_on_instance}, {NULL, NULL},
};

LJMP static int open_node(lua_State *L)
{
  luaL_newlib(L, node_lib);
  return 1;
}

static const luaL_Reg modules[] = {
    {"host.digest", luaopen_host_digest},
    {"host.http", luaopen_host_http},
    {"host.http_server", luaopen_host_http_server},
    {"host.json", luaopen_host_json},
    {"host.log", luaopen_host_log},
    {"host.node", open_node},
    {"host.task", luaopen_host_task},
    {NULL, NULL},
};

/* ---- its life ---- */

static void on_done(struct task *t, enum task_outcome outcome, lua_State *L,
                    int nresults, void *arg)
{
  (void)t, (void)nresults, (void)arg;
  if (outcome == TASK_ERROR)
    vm_log_error(
        L,
        "the instance monitor failed; termination notices are no longer read");
}

LJMP static int l_start(lua_State *L)
{
  vm_push_library(L, "fleet.node.monitor", "run");
  struct task *t = task_new(L, on_done, NULL);
  lua_xmove(L, t->co, 1);
  task_start(t, 0);
  return 0;
}

struct instance_monitor *instance_monitor_new(struct node *n, struct err *e)
{
  struct instance_monitor *k =
      err_calloc(sizeof(*k), "the instance monitor", e);
  if (!k) return NULL;
  k->node = n;
  k->host.loop = n->loop;
  k->host.trusted = true;
  k->host.lua_path = n->options->lua_path;
  struct vm_options options = {.host = &k->host, .modules = modules, .user = k};
  k->vm = runtime_new(&options, e);
  if (k->vm && vm_pcall(k->vm, l_start, NULL, e) == 0) return k;
  instance_monitor_free(k);
  return NULL;
}

void instance_monitor_free(struct instance_monitor *k)
{
  if (!k) return;
  runtime_free(k->vm);
  http_free(k->host.http);
  free(k);
}
