/* SPDX-License-Identifier: MIT */
/* host.job, in workers only: the identity of the running task, and its output
 * and upcalls to the driver.
 *   self()               {worker=, node=, job=, id=, attempt=} of the running
 *                        task (id and attempt are 0 while a job is prepared);
 *                        nil outside of tasks
 *   output(what, value)  "print", a text, of which a task may send 64 KiB in
 *                        all; or "progress", any value, of which the latest is
 *                        sent. Returns true; false when no task is running; nil
 *                        and an error when the value cannot be sent
 *   upcall(bytes)        sends a request to the driver and waits for its reply,
 *                        bytes; nil and an error when it cannot be sent
 *   blob(key)            the bytes kept under a key, nil when there are none
 *   modules()            the modules of the node that jobs may require, a list
 *                        of names */
#include "worker/worker.h"

#include "bindings/lib.h"
#include "lua/class.h"
#include "lua/task.h"
#include "worker/job_session.h"

#include <string.h>

#define UPCALL "host.job.upcall"

static struct job_session *session_of(lua_State *L)
{
  return vm_of(L)->user;
}

LJMP static int l_self(lua_State *L)
{
  const struct task *t = vm_of(L)->running;
  if (!t) return 0;
  const struct worker_identity *worker = &session_of(L)->host->worker;
  lua_createtable(L, 0, 5);
  lua_pushstring(L, worker->node);
  lua_setfield(L, -2, "node");
  lib_set_integer(L, "worker", worker->index);
  lib_set_integer(L, "job", t->identity.job);
  lib_set_integer(L, "id", t->identity.id);
  lib_set_integer(L, "attempt", t->identity.attempt);
  return 1;
}

LJMP static int l_output(lua_State *L)
{
  static const char *const whats[] = {"print", "progress", NULL};
  int what = luaL_checkoption(L, 1, NULL, whats);
  size_t len;
  const char *text = what == 0 ? luaL_checklstring(L, 2, &len) : NULL;
  struct task *t = vm_of(L)->running;
  struct job *j = t ? job_session_find(session_of(L), t->identity.job) : NULL;
  struct err e;
  luaL_checkany(L, 2);
  if (j && text)
    job_print(j, t, text, len);
  else if (j && job_progress(j, t, L, 2, &e) < 0)
    return vm_fail(L, &e);
  lua_pushboolean(L, j != NULL);
  return 1;
}

static void upcall_release(void *object)
{
  upcall_end(object);
}

LJMP static int k_upcall(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct upcall *u = (struct upcall *)ctx;
  lib_push_bytes(L, &u->reply);
  upcall_end(u);
  return 1;
}

LJMP static int l_upcall(lua_State *L)
{
  size_t len;
  const char *request = luaL_checklstring(L, 1, &len);
  struct err e;
  task_check_can_wait(L, "upcall");
  struct upcall *u = class_new(L, UPCALL, sizeof(*u), 0);
  if (upcall_begin(session_of(L), u, request, len, &e) < 0)
    return vm_fail(L, &e);
  return task_await(L, &u->wait, (lua_KContext)u, k_upcall);
}

LJMP static int l_blob(lua_State *L)
{
  size_t len;
  const char *key = luaL_checklstring(L, 1, &len);
  const struct blob *b =
      blob_find(&session_of(L)->blobs, (const uint8_t *)key, len);
  if (!b) return 0;
  lua_pushlstring(L, (const char *)b->content, b->len);
  return 1;
}

LJMP static int l_modules(lua_State *L)
{
  const char *at = vm_of(L)->host->modules;
  lua_newtable(L);
  for (lua_Integer n = 1; at; n++) {
    size_t len = strcspn(at, ",");
    lua_pushlstring(L, at, len);
    lua_rawseti(L, -2, n);
    at = at[len] ? at + len + 1 : NULL;
  }
  return 1;
}

static const luaL_Reg lib[] = {
    {"self", l_self}, {"output", l_output},   {"upcall", l_upcall},
    {"blob", l_blob}, {"modules", l_modules}, {NULL, NULL},
};

int luaopen_host_job(lua_State *L)
{
  return class_module(L, UPCALL, upcall_release, NULL, lib);
}
