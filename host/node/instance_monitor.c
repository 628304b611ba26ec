/* SPDX-License-Identifier: MIT */
#include "node/instance_monitor.h"

#include "base/container.h"
#include "base/log.h"
#include "bindings/lib.h"
#include "bindings/lib_secret.h"
#include "lua/runtime.h"
#include "lua/task.h"
#include "lua/vm.h"
#include "net/http.h"
#include "node/node_status.h"

#include <stdlib.h>

struct instance_monitor {
  struct node *node;
  const struct instance_monitor_events *events;
  void *arg;
  struct vm_host host;
  struct vm *vm;
  struct task_wait wait;   /* of the task in next_event */
  bool hangup, drained;    /* what it has not been told yet */
  bool leaving;            /* the node has drained and waits for us */
  struct loop_timer limit; /* while it does */
};

static struct instance_monitor *monitor_of(lua_State *L)
{
  return vm_of(L)->user;
}

/* ---- host.node: what the instance monitor may do to its node ----
 *   options()        what the command line says: {keys=, interval=, standby=,
 *                    on_instance=, lifecycle_hook=, region=, profile=}
 *   open([secret])   the node begins to listen, with these keys. true, or nil
 *                    and an error
 *   take_keys(secret)  these are the keys now
 *   keys_failed()    whether those taken last cannot be used
 *   fail(message)    ends the node with this error
 *   drain(reason[, seconds])  as SIGTERM does, once: finish what runs, refuse
 *                    the rest, then leave; after that time, give up what runs
 *   draining()       whether it does already
 *   status()         what the node knows of itself (node_status.h)
 *   http()           the address and the port of --http; nothing without it
 *   next_event()     waits: "hangup" (SIGHUP), or "drained": the node has
 *                    finished, and waits for leave(), but not for long
 *   leave()          the node ends now, if it has drained */

/* LJMP [-0, +0]: into the table on top, unless it is NULL */
LJMP static void set_text(lua_State *L, const char *name, const char *text)
{
  if (text) lua_pushstring(L, text);
  if (text) lua_setfield(L, -2, name);
}

LJMP static void set_flag(lua_State *L, const char *name, bool flag)
{
  lua_pushboolean(L, flag);
  lua_setfield(L, -2, name);
}

LJMP static int l_options(lua_State *L)
{
  const struct serve_options *o = monitor_of(L)->node->options;
  lua_createtable(L, 0, 8);
  if (o->tls_stored) set_text(L, "keys", o->tls);
  if (o->tls_interval) lib_set_integer(L, "interval_ms", o->tls_interval);
  set_text(L, "lifecycle_hook", o->lifecycle_hook);
  set_text(L, "region", o->region);
  set_text(L, "profile", o->profile);
  set_flag(L, "standby", o->standby);
  set_flag(L, "on_instance", o->monitor_instance);
  return 1;
}

LJMP static int l_open(lua_State *L)
{
  struct instance_monitor *k = monitor_of(L);
  const struct buf *keys =
      lua_isnoneornil(L, 1) ? NULL : lib_secret_check(L, 1);
  struct err e;
  if (k->events->open(k->arg, keys, &e) < 0) return vm_fail(L, &e);
  lua_pushboolean(L, true);
  return 1;
}

LJMP static int l_take_keys(lua_State *L)
{
  struct instance_monitor *k = monitor_of(L);
  k->events->take_keys(k->arg, lib_secret_check(L, 1));
  return 0;
}

LJMP static int l_keys_failed(lua_State *L)
{
  struct instance_monitor *k = monitor_of(L);
  lua_pushboolean(L, k->events->keys_failed(k->arg));
  return 1;
}

LJMP static int l_fail(lua_State *L)
{
  struct instance_monitor *k = monitor_of(L);
  struct err e;
  err_set(&e, "system", "%s", luaL_checkstring(L, 1));
  k->events->fail(k->arg, &e);
  return 0;
}

LJMP static int l_drain(lua_State *L)
{
  const char *reason = luaL_checkstring(L, 1);
  lua_Number seconds = luaL_optnumber(L, 2, -1);
  struct node *n = monitor_of(L)->node;
  log_info("instance termination notice; draining", LOG_STR("why", reason));
  node_drain(n);
  if (seconds >= 0) node_drain_within(n, (uint64_t)(seconds * 1000));
  return 0;
}

LJMP static int l_draining(lua_State *L)
{
  lua_pushboolean(L, monitor_of(L)->node->draining);
  return 1;
}

LJMP static int l_status(lua_State *L)
{
  node_status_push(L, monitor_of(L)->node);
  return 1;
}

LJMP static int l_http(lua_State *L)
{
  const struct serve_options *o = monitor_of(L)->node->options;
  if (!o->http_host) return 0;
  lua_pushstring(L, o->http_host);
  lua_pushinteger(L, o->http_port);
  return 2;
}

LJMP static int k_event(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct instance_monitor *k = (struct instance_monitor *)ctx;
  bool hangup = k->hangup;
  lua_pushstring(L, hangup ? "hangup" : "drained");
  if (hangup)
    k->hangup = false;
  else
    k->drained = false;
  return 1;
}

LJMP static int l_next_event(lua_State *L)
{
  struct instance_monitor *k = monitor_of(L);
  task_check_can_wait(L, "node.next_event");
  if (k->wait.task) return luaL_error(L, "another task waits for events");
  if (k->hangup || k->drained) return k_event(L, LUA_OK, (lua_KContext)k);
  return task_await(L, &k->wait, (lua_KContext)k, k_event);
}

LJMP static int l_leave(lua_State *L)
{
  const struct instance_monitor *k = monitor_of(L);
  if (k->leaving) loop_stop(k->node->loop);
  return 0;
}

static const luaL_Reg node_lib[] = {
    {"options", l_options},     {"open", l_open},
    {"take_keys", l_take_keys}, {"keys_failed", l_keys_failed},
    {"fail", l_fail},           {"drain", l_drain},
    {"draining", l_draining},   {"status", l_status},
    {"http", l_http},           {"next_event", l_next_event},
    {"leave", l_leave},         {NULL, NULL},
};

LJMP static int open_node(lua_State *L)
{
  luaL_newlib(L, node_lib);
  return 1;
}

static const luaL_Reg modules[] = {
    {"host.digest", luaopen_host_digest},
    {"host.file", luaopen_host_file},
    {"host.http", luaopen_host_http},
    {"host.http_server", luaopen_host_http_server},
    {"host.json", luaopen_host_json},
    {"host.log", luaopen_host_log},
    {"host.node", open_node},
    {"host.process", luaopen_host_process},
    {"host.secret", luaopen_host_secret},
    {"host.sys", luaopen_host_sys},
    {"host.task", luaopen_host_task},
    {"host.xml", luaopen_host_xml},
    {NULL, NULL},
};

/* ---- the end of the node ---- */

static void on_limit(struct loop_timer *timer)
{
  struct instance_monitor *k =
      CONTAINER_OF(timer, struct instance_monitor, limit);
  log_warn("the instance monitor takes too long, leaving without it");
  loop_stop(k->node->loop);
}

static void on_drained(struct node *n)
{
  struct instance_monitor *k = n->monitor;
  if (k->leaving) return;
  k->leaving = k->drained = true;
  loop_timer_set(n->loop, &k->limit, INSTANCE_MONITOR_LIMIT);
  task_wake(&k->wait);
}

void instance_monitor_hangup(struct instance_monitor *k)
{
  k->hangup = true;
  task_wake(&k->wait);
}

/* ---- its life ---- */

static void on_done(struct task *t, enum task_outcome outcome, lua_State *L,
                    int nresults, void *arg)
{
  (void)t, (void)nresults;
  struct instance_monitor *k = arg;
  if (outcome == TASK_ERROR)
    vm_log_error(L, "the instance monitor failed; neither termination notices "
                    "nor new keys are read any more");
  if (outcome == TASK_ERROR && !k->node->workers) { /* and never will be */
    struct err e;
    err_set(&e, "system", "the node cannot begin to serve");
    k->events->fail(k->arg, &e);
  }
  if (outcome == TASK_CANCELLED) return; /* by instance_monitor_free */
  k->node->on_drained = NULL;
  if (k->leaving) loop_stop(k->node->loop);
}

LJMP static int l_start(lua_State *L)
{
  vm_push_library(L, "fleet.node.monitor", "run");
  struct task *t = task_new(L, on_done, monitor_of(L));
  lua_xmove(L, t->co, 1);
  task_start(t, 0);
  return 0;
}

struct instance_monitor *
instance_monitor_new(struct node *n,
                     const struct instance_monitor_events *events, void *arg,
                     struct err *e)
{
  struct instance_monitor *k =
      err_calloc(sizeof(*k), "the instance monitor", e);
  if (!k) return NULL;
  k->node = n;
  k->events = events;
  k->arg = arg;
  k->limit.on_expire = on_limit;
  k->host.loop = n->loop;
  k->host.trusted = true;
  k->host.lua_path = n->options->lua_path;
  n->monitor = k;
  n->on_drained = on_drained;
  struct vm_options options = {.host = &k->host, .modules = modules, .user = k};
  k->vm = runtime_new(&options, e);
  if (k->vm && vm_pcall(k->vm, l_start, NULL, e) == 0) return k;
  instance_monitor_free(k);
  return NULL;
}

void instance_monitor_free(struct instance_monitor *k)
{
  if (!k) return;
  k->node->on_drained = NULL;
  k->node->monitor = NULL;
  loop_timer_clear(k->node->loop, &k->limit);
  runtime_free(k->vm);
  http_free(k->host.http);
  free(k);
}
