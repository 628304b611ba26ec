/* SPDX-License-Identifier: MIT */
#include "driver.h"

#include "http.h"
#include "lib.h"
#include "log.h"
#include "runtime.h"
#include "signals.h"
#include "task.h"
#include "vm.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct driver {
  struct loop *loop;
  struct vm_host host;
  struct vm *vm;
  struct signals signals;
  int argc;
  char **argv;
  struct driver_result *result;
  lua_State *co; /* of the main task, while its results are read */
};

/* ---- what main.lua returns: an exit code, or a table for serve ---- */

LJMP static char *copy_field(lua_State *L, const char *key)
{
  lua_getfield(L, 2, key);
  const char *text = lua_tostring(L, -1);
  char *copy = text ? strdup(text) : NULL;
  if (text && !copy) luaL_error(L, "not enough memory");
  lua_pop(L, 1);
  return copy;
}

LJMP static int int_field(lua_State *L, const char *key, int otherwise)
{
  lua_getfield(L, 2, key);
  int n = lua_isnil(L, -1) ? otherwise : (int)luaL_checkinteger(L, -1);
  lua_pop(L, 1);
  return n;
}

LJMP static int64_t size_field(lua_State *L, const char *key)
{
  lua_getfield(L, 2, key);
  int64_t n = luaL_optinteger(L, -1, 0);
  lua_pop(L, 1);
  return n;
}

LJMP static int l_read_result(lua_State *L)
{
  struct driver *d = vm_arg(L);
  struct driver_result *r = d->result;
  luaL_checkstack(L, 8, "result");
  lua_xmove(d->co, L, 1);
  if (lua_isinteger(L, 2)) {
    r->exit_code = (int)lua_tointeger(L, 2);
    return 0;
  }
  luaL_checktype(L, 2, LUA_TTABLE);
  r->options.name = copy_field(L, "name");
  r->options.release = copy_field(L, "release");
  r->options.lua_path = copy_field(L, "lua_path");
  r->options.zone = copy_field(L, "zone");
  r->options.instance = copy_field(L, "instance");
  lua_getfield(L, 2, "keeper");
  r->options.keeper = lua_toboolean(L, -1);
  lua_pop(L, 1);
  r->options.workers = int_field(L, "workers", 1);
  r->options.worker_memory = size_field(L, "worker_memory");
  r->options.lease = size_field(L, "lease");
  r->options.frozen_after = size_field(L, "frozen_after");
  r->options.ready_fd = int_field(L, "ready_fd", -1);
  r->options.ipc_mode = int_field(L, "ipc_mode", 0600);
  r->options.parent = int_field(L, "parent", 0);
  lua_getfield(L, 2, "listen");
  size_t n = (size_t)luaL_len(L, 3);
  const char **urls = calloc(n + 1, sizeof(*urls));
  if (!urls) return luaL_error(L, "not enough memory");
  r->options.listen = urls;
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, 3, (lua_Integer)i + 1);
    const char *text = lua_tostring(L, -1);
    urls[i] = text ? strdup(text) : NULL;
    lua_pop(L, 1);
  }
  r->serve = true; /* not before all is there */
  return 0;
}

void driver_result_free(struct driver_result *r)
{
  for (size_t i = 0; r->options.listen && r->options.listen[i]; i++)
    free((void *)(uintptr_t)r->options.listen[i]);
  free((void *)(uintptr_t)r->options.listen);
  free((void *)(uintptr_t)r->options.name);
  free((void *)(uintptr_t)r->options.release);
  free((void *)(uintptr_t)r->options.lua_path);
  free((void *)(uintptr_t)r->options.zone);
  free((void *)(uintptr_t)r->options.instance);
}

/* ---- the main task ---- */

static void on_main_done(struct task *t, enum task_outcome outcome,
                         lua_State *L, int nresults, void *arg)
{
  (void)t;
  struct driver *d = arg;
  struct err e;
  d->co = L;
  if (outcome == TASK_DONE && nresults == 1) {
    if (vm_pcall(d->vm, l_read_result, d, &e) < 0) {
      log_error(e.text);
      d->result->exit_code = EXIT_FAILURE;
    }
  } else if (outcome == TASK_ERROR) { /* a bug: main.lua reports its errors */
    vm_log_error(L, "internal error");
    d->result->exit_code = EXIT_FAILURE;
  }
  loop_stop(d->loop);
}

LJMP static int l_start(lua_State *L)
{
  struct driver *d = vm_arg(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "fleet.main");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "main");
  lua_createtable(L, d->argc, 0);
  for (int i = 0; i < d->argc; i++) {
    lua_pushstring(L, d->argv[i]);
    lua_rawseti(L, -2, i);
  }
  struct task *t = task_new(L, on_main_done, d);
  lua_xmove(L, task_thread(t), 2);
  task_start(t, 1);
  return 0;
}

int driver_run(int argc, char **argv, struct driver_result *result,
               struct err *e)
{
  struct driver d = {.argc = argc, .argv = argv, .result = result};
  int rc = -1;
  memset(result, 0, sizeof(*result));
  d.signals.io.fd = -1;
  d.loop = loop_new(e);
  if (!d.loop) return -1;
  d.host.loop = d.loop;
  d.host.allow_loopback = true;
  d.host.trusted = true;
  d.host.lua_path = getenv("MOONFLEET_LUA_PATH");
  struct vm_options options = {.host = &d.host,
                               .modules = lib_for_driver,
                               .search_path = true,
                               .user = &d.signals};
  if (signals_open(&d.signals, d.loop, e) < 0) goto out;
  d.vm = runtime_new(&options, e);
  if (!d.vm || vm_pcall(d.vm, l_start, &d, e) < 0) goto out;
  rc = loop_run(d.loop, e);
  if (d.signals.ended_by)
    result->exit_code = 128 + d.signals.ended_by; /* as shells say it */
out:
  runtime_free(d.vm);
  http_free(d.host.http);
  signals_close(&d.signals);
  loop_free(d.loop);
  return rc;
}
