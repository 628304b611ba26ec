/* SPDX-License-Identifier: MIT */
/* host.process: runs another program, without a shell, and reads its output
 * without blocking the loop. The process has an empty input, the stderr and
 * environment of this one, and a process group of its own.
 *   start(argv)    an object, or nil, err (kind "system"); argv[1] is looked up
 *                  in PATH if it has no slash
 *   p:read()       the next bytes of its output (waits), nil at the end
 *   p:ended()      nothing while it runs; then its exit code, or nil and the
 *                  number of the signal that ended it
 *   p:kill()       kills it and its process group; a task that reads its output
 *                  gets the end
 * A collected object kills its process. */
#include "bindings/lib.h"

#include "base/container.h"
#include "event/process.h"
#include "event/stream.h"
#include "lua/class.h"
#include "lua/task.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESS "host.process"

enum { READ_BYTES = 4096, MAX_ARGS = 1000 };

struct lua_process {
  struct stream stream; /* its standard output */
  struct task_wait wait;
  pid_t pid;  /* 0 after its end */
  int status; /* of waitpid, after its end */
};

static void on_ready(struct stream *s)
{
  task_wake(&((struct lua_process *)s)->wait);
}

static void on_cancel(struct task_wait *w)
{
  struct lua_process *p = CONTAINER_OF(w, struct lua_process, wait);
  stream_cancel_wait(&p->stream);
}

/* ---- start ---- */

LJMP static int l_start(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  const char **argv = lib_push_strings(L, 1, MAX_ARGS, "process");
  struct err e;
  int fds[2];
  struct lua_process *p = class_new(L, PROCESS, sizeof(*p), 0);
  stream_init(&p->stream, vm_of(L)->host->loop, -1, true);
  p->stream.on_ready = on_ready;
  p->wait.cancel = on_cancel;
  if (pipe2(fds, O_CLOEXEC) < 0) {
    err_errno(&e, "system", errno, "pipe");
    return vm_fail(L, &e);
  }
  p->stream.io.fd = fds[0];
  struct process_options options = {.file = argv[0],
                                    .argv = argv,
                                    .own_group = true,
                                    .descriptors = (int[]){fds[1], 2},
                                    .count = 2};
  int rv = process_start(&options, &p->pid);
  close(fds[1]);
  if (rv == 0) return 1;
  err_errno(&e, "system", rv, "cannot run '%s'", argv[0]);
  return vm_fail(L, &e);
}

/* ---- its output ---- */

LJMP static int k_read(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_process *p = (struct lua_process *)ctx;
  char bytes[READ_BYTES];
  if (p->stream.io.fd < 0) return 0; /* killed */
  ssize_t n = stream_read(&p->stream, bytes, sizeof(bytes));
  if (n <= 0) return 0;
  lua_pushlstring(L, bytes, (size_t)n);
  explicit_bzero(bytes, sizeof(bytes)); /* may be a secret */
  return 1;
}

LJMP static int l_read(lua_State *L)
{
  struct lua_process *p = luaL_checkudata(L, 1, PROCESS);
  struct err e;
  luaL_argcheck(L, !p->wait.task, 1, "another task reads");
  task_check_can_wait(L, "process:read");
  if (p->stream.io.fd < 0) return 0;
  int rc = stream_wait(&p->stream, false, &e);
  if (rc < 0) return vm_fail(L, &e);
  if (rc == 1) return k_read(L, LUA_OK, (lua_KContext)p);
  return task_await(L, &p->wait, (lua_KContext)p, k_read);
}

/* ---- its end ---- */

static void process_kill(void *object)
{
  struct lua_process *p = object;
  if (p->pid > 0) {
    kill(-p->pid, SIGKILL);
    while (waitpid(p->pid, &p->status, 0) < 0 && errno == EINTR) {
    }
    p->pid = 0;
  }
  stream_close(&p->stream);
}

LJMP static int l_kill(lua_State *L)
{
  struct lua_process *p = luaL_checkudata(L, 1, PROCESS);
  process_kill(p);
  if (p->wait.task) task_wake(&p->wait);
  return 0;
}

LJMP static int l_ended(lua_State *L)
{
  struct lua_process *p = luaL_checkudata(L, 1, PROCESS);
  if (p->pid > 0) {
    pid_t rc = waitpid(p->pid, &p->status, WNOHANG);
    if (rc == 0 || (rc < 0 && errno == EINTR)) return 0;
    p->pid = 0;
  }
  if (WIFEXITED(p->status)) {
    lua_pushinteger(L, WEXITSTATUS(p->status));
    return 1;
  }
  lua_pushnil(L);
  lua_pushinteger(L, WTERMSIG(p->status));
  return 2;
}

static const luaL_Reg methods[] = {
    {"read", l_read},
    {"ended", l_ended},
    {"kill", l_kill},
    {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"start", l_start},
    {NULL, NULL},
};

int luaopen_host_process(lua_State *L)
{
  return class_module(L, PROCESS, process_kill, methods, lib);
}
