/* SPDX-License-Identifier: MIT */
/* host.process: another program, run without a shell, whose output is read
 * without blocking the loop. It has an empty input, our standard error and
 * environment, and a process group of its own.
 *   start(argv)    an object, or nil, err (kind "system"); argv[1] is looked up
 *                  in PATH when it has no slash
 *   p:read()       the next bytes of its output (waits), nil at the end
 *   p:ended()      nothing while it runs, then its exit code, or nil and the
 *                  number of the signal that ended it
 *   p:kill()       ends it and what it has started in its group, whoever waits
 *                  for its output has reached the end
 * One that is collected is killed. */
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

struct box {
  struct stream stream; /* its standard output */
  struct task_wait wait;
  pid_t pid; /* 0: it has ended, and `status` says how */
  int status;
};

static void on_ready(struct stream *s)
{
  task_wake(&((struct box *)s)->wait);
}

static void on_cancel(struct task_wait *w)
{
  struct box *b = CONTAINER_OF(w, struct box, wait);
  stream_cancel_wait(&b->stream);
}

/* ---- start ---- */

LJMP static int l_start(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  const char **argv = lib_push_strings(L, 1, MAX_ARGS, "process");
  struct err e;
  int fds[2];
  struct box *b = class_new(L, PROCESS, sizeof(*b), 0);
  stream_init(&b->stream, vm_of(L)->host->loop, -1, true);
  b->stream.on_ready = on_ready;
  b->wait.cancel = on_cancel;
  if (pipe2(fds, O_CLOEXEC) < 0) {
    err_errno(&e, "system", errno, "pipe");
    return vm_fail(L, &e);
  }
  b->stream.io.fd = fds[0];
  struct process_options options = {.file = argv[0],
                                    .argv = (char *const *)(uintptr_t)argv,
                                    .own_group = true,
                                    .descriptors = (int[]){fds[1], 2},
                                    .count = 2};
  int rv = process_start(&options, &b->pid);
  close(fds[1]);
  if (rv == 0) return 1;
  err_errno(&e, "system", rv, "cannot run '%s'", argv[0]);
  return vm_fail(L, &e);
}

/* ---- its output ---- */

LJMP static int k_read(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct box *b = (struct box *)ctx;
  char bytes[READ_BYTES];
  if (b->stream.io.fd < 0) return 0; /* killed */
  ssize_t n = stream_read(&b->stream, bytes, sizeof(bytes));
  if (n <= 0) return 0;
  lua_pushlstring(L, bytes, (size_t)n);
  explicit_bzero(bytes, sizeof(bytes)); /* it may be a secret */
  return 1;
}

LJMP static int l_read(lua_State *L)
{
  struct box *b = luaL_checkudata(L, 1, PROCESS);
  struct err e;
  luaL_argcheck(L, !b->wait.task, 1, "another task reads");
  task_check_can_wait(L, "process:read");
  if (b->stream.io.fd < 0) return 0;
  int rc = stream_wait(&b->stream, false, &e);
  if (rc < 0) return vm_fail(L, &e);
  if (rc == 1) return k_read(L, LUA_OK, (lua_KContext)b);
  return task_await(L, &b->wait, (lua_KContext)b, k_read);
}

/* ---- its end ---- */

static void process_kill(void *object)
{
  struct box *b = object;
  if (b->pid > 0) {
    kill(-b->pid, SIGKILL);
    while (waitpid(b->pid, &b->status, 0) < 0 && errno == EINTR) {
    }
    b->pid = 0;
  }
  stream_close(&b->stream);
}

LJMP static int l_kill(lua_State *L)
{
  struct box *b = luaL_checkudata(L, 1, PROCESS);
  process_kill(b);
  if (b->wait.task) task_wake(&b->wait);
  return 0;
}

LJMP static int l_ended(lua_State *L)
{
  struct box *b = luaL_checkudata(L, 1, PROCESS);
  if (b->pid > 0) {
    pid_t rc = waitpid(b->pid, &b->status, WNOHANG);
    if (rc == 0 || (rc < 0 && errno == EINTR)) return 0;
    b->pid = 0;
  }
  if (WIFEXITED(b->status)) {
    lua_pushinteger(L, WEXITSTATUS(b->status));
    return 1;
  }
  lua_pushnil(L);
  lua_pushinteger(L, WTERMSIG(b->status));
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
  class_add(L, PROCESS, process_kill, methods);
  luaL_newlib(L, lib);
  return 1;
}
