/* SPDX-License-Identifier: MIT */
#include "driver/driver.h"

#include "base/log.h"
#include "bindings/lib.h"
#include "bindings/lib_channel.h"
#include "driver/signals.h"
#include "lua/runtime.h"
#include "lua/task.h"
#include "lua/vm.h"
#include "net/http.h"

#include <signal.h>
#include <stdlib.h>

const luaL_Reg driver_modules[] = {
    {"host.channel", luaopen_host_channel},
    {"host.codec", luaopen_host_codec},
    {"host.digest", luaopen_host_digest},
    {"host.dns", luaopen_host_dns},
    {"host.driver", luaopen_host_driver},
    {"host.line_editor", luaopen_host_line_editor},
    {"host.file", luaopen_host_file},
    {"host.http", luaopen_host_http},
    {"host.http_server", luaopen_host_http_server},
    {"host.json", luaopen_host_json},
    {"host.keys", luaopen_host_keys},
    {"host.log", luaopen_host_log},
    {"host.process", luaopen_host_process},
    {"host.secret", luaopen_host_secret},
    {"host.stream", luaopen_host_stream},
    {"host.sys", luaopen_host_sys},
    {"host.task", luaopen_host_task},
    {"host.tls", luaopen_host_tls},
    {"host.xml", luaopen_host_xml},
    {NULL, NULL},
};

struct driver {
  struct loop *loop;
  struct vm_host host;
  struct vm *vm;
  struct signals signals;
  struct channel_flusher flusher;
  int argc;
  char **argv;
  driver_table *on_table;
  void *arg;
  int *exit_code;
  lua_State *co; /* of the main task, while its result is read */
};

/* ---- the main task ---- */

LJMP static int l_read_result(lua_State *L)
{
  struct driver *d = vm_arg(L);
  luaL_checkstack(L, 8, "result");
  lua_xmove(d->co, L, 1);
  if (lua_isinteger(L, 2))
    *d->exit_code = (int)lua_tointeger(L, 2);
  else
    d->on_table(L, d->arg);
  return 0;
}

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
      *d->exit_code = EXIT_FAILURE;
    }
  } else if (outcome == TASK_ERROR) { /* a bug: main.lua handles its errors */
    vm_log_error(L, "internal error");
    *d->exit_code = EXIT_FAILURE;
  }
  loop_stop(d->loop);
}

LJMP static int l_start(lua_State *L)
{
  struct driver *d = vm_arg(L);
  vm_push_library(L, "fleet.cli.main", "main");
  lua_createtable(L, d->argc, 0);
  for (int i = 0; i < d->argc; i++) {
    lua_pushstring(L, d->argv[i]);
    lua_rawseti(L, -2, i);
  }
  struct task *t = task_new(L, on_main_done, d);
  lua_xmove(L, t->co, 2);
  task_start(t, 1);
  return 0;
}

int driver_run(int argc, char **argv, driver_table *on_table, void *arg,
               int *exit_code, struct err *e)
{
  struct driver d = {.argc = argc,
                     .argv = argv,
                     .on_table = on_table,
                     .arg = arg,
                     .exit_code = exit_code};
  int rc = -1;
  *exit_code = EXIT_SUCCESS;
  d.signals.io.fd = -1;
  d.loop = loop_new(e);
  if (!d.loop) return -1;
  channel_flusher_add(&d.flusher, d.loop);
  d.host.loop = d.loop;
  d.host.flusher = &d.flusher;
  d.host.trusted = true;
  d.host.lua_path = getenv("MOONFLEET_LUA_PATH");
  struct vm_options options = {.host = &d.host,
                               .modules = driver_modules,
                               .search_path = true,
                               .user = &d.signals};
  if (signals_open(&d.signals, d.loop, e) < 0) goto out;
  d.vm = runtime_new(&options, e);
  if (!d.vm || vm_pcall(d.vm, l_start, &d, e) < 0) goto out;
  rc = loop_run(d.loop, e);
  if (d.signals.ended_by)
    *exit_code = 128 + d.signals.ended_by; /* as shells do */
out:
  runtime_free(d.vm);
  http_free(d.host.http);
  signals_close(&d.signals);
  loop_hook_remove(&d.flusher.hook);
  loop_free(d.loop);
  return rc;
}
