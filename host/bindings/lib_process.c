/* SPDX-License-Identifier: MIT */
/* host.process: runs another program, without a shell, and reads what it writes
 * without blocking the loop. The process has an empty input, the stderr and
 * environment of this one, and a process group of its own.
 *   start(argv [, options])  an object, or nil, err (kind "system"); argv[1] is
 *                  looked up in PATH if it has no slash. options.duplex: its
 *                  input and output are pipes for p:descriptors, and p:read
 *                  reads its stderr
 *   p:read()       the next bytes of its output (waits), nil at the end
 *   p:descriptors()  once: those to read its output from and to write its input
 *                  to, which belong to the caller from then on
 *   p:ended()      nothing while it runs; then its exit code, or nil and the
 *                  number of the signal that ended it
 *   p:terminate()  asks it and its process group to end (SIGTERM)
 *   p:kill()       kills it and its process group; a task that reads gets the
 *                  end. Does not wait for a process that it may not kill
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
  struct stream stream; /* its standard output, or its standard error */
  struct task_wait wait;
  int output, input; /* of a duplex one, until they are taken; else -1 */
  pid_t pid;         /* 0 after its end */
  int status;        /* of waitpid, after its end */
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

static void close_all(int *fds, size_t count)
{
  for (size_t i = 0; i < count; i++)
    if (fds[i] >= 0) close(fds[i]);
}

/* Starts the process with pipes for its input (if it is duplex), its output and
 * its errors (if duplex). Returns 0 or an errno value. */
static int start(struct lua_process *p, const char **argv, bool duplex)
{
  /* in pairs, of which the first is read from */
  enum { IN = 0, OUT = 2, ERRORS = 4, COUNT = 6 };
  int fds[COUNT] = {-1, -1, -1, -1, -1, -1}, rv = 0;
  if (pipe2(fds + OUT, O_CLOEXEC) < 0 ||
      (duplex &&
       (pipe2(fds + IN, O_CLOEXEC) < 0 || pipe2(fds + ERRORS, O_CLOEXEC) < 0)))
    rv = errno;
  struct process_options options = {
      .file = argv[0],
      .argv = argv,
      .own_group = true,
      .input = duplex ? fds[IN] : 0,
      .descriptors =
          (int[]){fds[OUT + 1], duplex ? fds[ERRORS + 1] : STDERR_FILENO},
      .count = 2,
  };
  if (rv == 0) rv = process_start(&options, &p->pid);
  if (rv) {
    close_all(fds, COUNT);
    return rv;
  }
  close_all((int[]){fds[IN], fds[OUT + 1], fds[ERRORS + 1]}, 3);
  p->stream.io.fd = duplex ? fds[ERRORS] : fds[OUT];
  p->output = duplex ? fds[OUT] : -1;
  p->input = fds[IN + 1];
  return 0;
}

LJMP static int l_start(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  const char **argv = lib_push_strings(L, 1, MAX_ARGS, "process");
  struct err e;
  bool duplex = false;
  if (!lua_isnoneornil(L, 2)) {
    lua_getfield(L, 2, "duplex");
    duplex = lua_toboolean(L, -1);
  }
  struct lua_process *p = class_new(L, PROCESS, sizeof(*p), 0);
  stream_init(&p->stream, vm_of(L)->host->loop, -1, true);
  p->stream.on_ready = on_ready;
  p->wait.cancel = on_cancel;
  p->output = p->input = -1;
  int rv = start(p, argv, duplex);
  if (rv == 0) return 1;
  err_errno(&e, "system", rv, "cannot run '%s'", argv[0]);
  return vm_fail(L, &e);
}

LJMP static int l_descriptors(lua_State *L)
{
  struct lua_process *p = luaL_checkudata(L, 1, PROCESS);
  luaL_argcheck(L, p->output >= 0, 1, "no descriptors to take");
  lua_pushinteger(L, p->output);
  lua_pushinteger(L, p->input);
  p->output = p->input = -1;
  return 2;
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
    /* one that runs as another user (sudo) may live on */
    int options = kill(p->pid, SIGKILL) < 0 ? WNOHANG : 0;
    pid_t rc;
    do rc = waitpid(p->pid, &p->status, options);
    while (rc < 0 && errno == EINTR);
    if (rc != 0) p->pid = 0;
  }
  stream_close(&p->stream);
  close_all((int[]){p->output, p->input}, 2);
  p->output = p->input = -1;
}

LJMP static int l_terminate(lua_State *L)
{
  const struct lua_process *p = luaL_checkudata(L, 1, PROCESS);
  if (p->pid > 0) kill(-p->pid, SIGTERM);
  return 0;
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
    {"read", l_read},   {"descriptors", l_descriptors},
    {"ended", l_ended}, {"terminate", l_terminate},
    {"kill", l_kill},   {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"start", l_start},
    {NULL, NULL},
};

int luaopen_host_process(lua_State *L)
{
  return class_module(L, PROCESS, process_kill, methods, lib);
}
