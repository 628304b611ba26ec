/* SPDX-License-Identifier: MIT */
/* What of tasks Lua cannot reach: who they are for the task page. */
#include "../test.h"
#include "lua/runtime.h"
#include "lua/task.h"
#include "wire/task_page.h"

#include <lualib.h>

extern const struct test task_tests[];

struct world {
  struct vm *vm;
  struct task_page *page;
  struct task *other;
  struct task_identity shown; /* after the other was cancelled */
  bool cancelled;
};

static void on_done(struct task *t, enum task_outcome outcome, lua_State *L,
                    int nresults, void *arg)
{
  (void)t, (void)outcome, (void)L, (void)nresults;
  if (arg) loop_stop(arg);
}

static int l_cancel(lua_State *L)
{
  struct world *w = lua_touserdata(L, lua_upvalueindex(1));
  if (w->cancelled) return 0;
  w->cancelled = true;
  task_cancel(w->other);
  task_page_read(w->page, &w->shown);
  return 0;
}

LJMP static int l_begin(lua_State *L)
{
  static const char code[] = "local cancel = ...\n"
                             "setmetatable({}, { __gc = cancel })\n"
                             "return ('x'):rep(1 << 30)\n";
  struct world *w = lua_touserdata(L, 1);
  const struct task_identity starved = {.session = 1, .job = 2, .id = 3},
                             other = {.session = 1, .job = 2, .id = 4};
  w->other = task_new(L, on_done, NULL);
  w->other->identity = other;
  struct task *t = task_new(L, on_done, w->vm->host->loop);
  t->identity = starved;
  if (luaL_loadstring(L, code) != LUA_OK) return lua_error(L);
  lua_pushlightuserdata(L, w);
  lua_pushcclosure(L, l_cancel, 1);
  lua_xmove(L, t->co, 2);
  task_start(t, 1);
  return 0;
}

/* Garbage of a task that ran out of memory is collected when it has ended. */
static void test_after_memory(struct test_run *t)
{
  static const luaL_Reg none[] = {{NULL, NULL}};
  struct vm_host host = {.loop = NULL};
  struct world w = {.vm = NULL};
  struct err e;
  int fd;
  host.loop = loop_new(&e);
  if (!CHECK(t, host.loop != NULL)) return;
  w.page = task_page_new(&fd, &e);
  if (CHECK(t, w.page != NULL)) host.task_page = task_page_open(fd, &e);
  struct vm_options options = {
      .host = &host, .modules = none, .memory_cap = 16 * 1024 * 1024};
  w.vm = runtime_new(&options, &e);
  if (CHECK(t, w.vm != NULL) &&
      CHECK_INT(t, vm_pcall(w.vm, l_begin, &w, &e), 0)) {
    loop_run(host.loop, &e);
    CHECK(t, w.cancelled);
    CHECK_INT(t, w.shown.id, 3);
    CHECK_INT(t, task_page_read(w.page, &w.shown), 0);
  }
  runtime_free(w.vm);
  task_page_close(host.task_page);
  task_page_free(w.page);
  loop_free(host.loop);
}

const struct test task_tests[] = {
    {"task: its garbage may cancel others after its end", test_after_memory},
    {NULL, NULL},
};
