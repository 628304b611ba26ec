/* SPDX-License-Identifier: MIT */
/* host.stream: files, pipes and terminals without blocking the loop.
 *   open(path, "r" | "w")  a stream, or nil, err (kind "input" or "output");
 *                          "w" makes a new file (mode 0666 less umask), and
 *                          waits for who reads a named pipe
 *   stdin(), stdout()      the process's own
 *   s:read()               the next bytes (waits), nil at the end, or nil, err
 *   s:write(bytes)         true when all is written (waits), or nil, err;
 *                          kind "closed" when nobody reads the other end
 *   s:close()              true, or nil, err when flushing to disk failed
 *   is_special(path)       whether something other than a regular file has that
 *                          name: a device, a pipe, a folder, a symbolic link */
#include "lib.h"

#include "class.h"
#include "stream.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STREAM "host.stream"

struct box {
  struct stream stream;
  struct task_wait wait;
  struct loop_timer look; /* set while it waits to be opened */
  bool writing;
  size_t at; /* bytes of the string being written that are out */
};

enum { READ_SIZE = 64 * 1024 };
/* Between two looks at whether somebody reads a named pipe. */
#define LOOK_AGAIN (20 * LOOP_MS)

static void on_ready(struct stream *s)
{
  task_wake(&((struct box *)s)->wait);
}

static void on_cancel(struct task_wait *w)
{
  struct box *b = (struct box *)((char *)w - offsetof(struct box, wait));
  stream_unwait(&b->stream);
  loop_timer_clear(b->stream.loop, &b->look);
}

static void on_look(struct loop_timer *timer)
{
  task_wake(
      &((struct box *)((char *)timer - offsetof(struct box, look)))->wait);
}

/* LJMP [-0, +1] */
LJMP static struct box *push_box(lua_State *L)
{
  struct box *b = class_new(L, STREAM, sizeof(*b), 0);
  stream_init(&b->stream, vm_host(vm_of(L))->loop, -1, true);
  b->stream.on_ready = on_ready;
  b->wait.cancel = on_cancel;
  b->look.on_expire = on_look;
  return b;
}

LJMP static struct box *check_box(lua_State *L)
{
  struct box *b = luaL_checkudata(L, 1, STREAM);
  luaL_argcheck(L, b->stream.io.fd >= 0, 1, "the stream is closed");
  luaL_argcheck(L, !b->wait.task, 1, "another task waits for the stream");
  return b;
}

/* ---- open ---- */

static bool is_pipe(const char *path)
{
  struct stat about;
  return stat(path, &about) == 0 && S_ISFIFO(about.st_mode);
}

/* Of the stack path, mode, box. Whoever opens a named pipe would else wait for
 * its other end, and the loop with him: to read, the first read does; to write,
 * we look again and again. */
LJMP static int k_open(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct box *b = (struct box *)ctx;
  const char *path = lua_tostring(L, 1);
  bool write = *lua_tostring(L, 2) == 'w';
  struct err e;
  struct stat about;
  int how = write ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY;
  b->stream.io.fd = open(path, how | O_NONBLOCK | O_CLOEXEC, 0666);
  int why = b->stream.io.fd < 0 ? errno : 0;
  if (why == ENXIO && is_pipe(path)) {
    task_check_can_wait(L, "stream.open");
    if (loop_timer_set(b->stream.loop, &b->look, LOOK_AGAIN) < 0)
      return luaL_error(L, "not enough memory");
    return task_await(L, &b->wait, ctx, k_open);
  }
  if (!why && !write && fstat(b->stream.io.fd, &about) == 0 &&
      S_ISDIR(about.st_mode))
    why = EISDIR; /* which otherwise the first read would say */
  if (!why) return 1;
  err_errno(&e, write ? "output" : "input", why, "cannot %s '%s'",
            write ? "write" : "read", path);
  return vm_fail(L, &e);
}

LJMP static int l_open(lua_State *L)
{
  static const char *const modes[] = {"r", "w", NULL};
  luaL_checkstring(L, 1);
  int mode = luaL_checkoption(L, 2, "r", modes);
  lua_settop(L, 1);
  lua_pushstring(L, modes[mode]);
  return k_open(L, LUA_OK, (lua_KContext)push_box(L));
}

LJMP static int l_is_special(lua_State *L)
{
  struct stat about;
  int rc = lstat(luaL_checkstring(L, 1), &about);
  lua_pushboolean(L, rc == 0 && !S_ISREG(about.st_mode));
  return 1;
}

LJMP static int l_stdin(lua_State *L)
{
  struct box *b = push_box(L);
  b->stream.owned = false;
  b->stream.io.fd = STDIN_FILENO;
  return 1;
}

LJMP static int l_stdout(lua_State *L)
{
  struct box *b = push_box(L);
  b->stream.owned = false;
  b->stream.io.fd = STDOUT_FILENO;
  return 1;
}

/* ---- read ---- */

LJMP static int read_later(lua_State *L, struct box *b);

LJMP static int k_read(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct box *b = (struct box *)ctx;
  struct err e;
  luaL_Buffer out;
  char *to = luaL_buffinitsize(L, &out, READ_SIZE);
  ssize_t n = stream_read(&b->stream, to, READ_SIZE);
  int why = errno;
  luaL_pushresultsize(&out, n > 0 ? (size_t)n : 0);
  if (n > 0) return 1;
  if (n < 0 && why == EAGAIN) return read_later(L, b);
  if (n == 0) {
    lua_pushnil(L);
    return 1;
  }
  err_errno(&e, "input", why, "reading failed");
  return vm_fail(L, &e);
}

LJMP static int l_read(lua_State *L)
{
  struct box *b = check_box(L);
  task_check_can_wait(L, "stream:read");
  b->writing = false;
  return read_later(L, b);
}

LJMP static int read_later(lua_State *L, struct box *b)
{
  struct err e;
  int rc = stream_wait(&b->stream, false, &e);
  if (rc < 0) return vm_fail(L, &e);
  if (rc == 1) return k_read(L, LUA_OK, (lua_KContext)b);
  return task_await(L, &b->wait, (lua_KContext)b, k_read);
}

/* ---- write ---- */

LJMP static int k_write(lua_State *L, int status, lua_KContext ctx);

LJMP static int write_more(lua_State *L, struct box *b, bool ready)
{
  struct err e;
  size_t len;
  const char *bytes = lua_tolstring(L, 2, &len);
  while (b->at < len) {
    if (!ready) {
      int rc = stream_wait(&b->stream, true, &e);
      if (rc < 0) return vm_fail(L, &e);
      if (rc == 0) return task_await(L, &b->wait, (lua_KContext)b, k_write);
    }
    ssize_t n = stream_write(&b->stream, bytes + b->at, len - b->at);
    if (n < 0 && errno == EAGAIN) { /* somebody else made it non-blocking */
      ready = false;
      continue;
    }
    if (n < 0) {
      err_errno(&e, errno == EPIPE ? "closed" : "output", errno,
                "writing failed");
      return vm_fail(L, &e);
    }
    b->at += (size_t)n;
    ready = false;
  }
  lua_pushboolean(L, 1);
  return 1;
}

LJMP static int k_write(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  return write_more(L, (struct box *)ctx, true);
}

LJMP static int l_write(lua_State *L)
{
  struct box *b = check_box(L);
  luaL_checkstring(L, 2);
  task_check_can_wait(L, "stream:write");
  b->writing = true;
  b->at = 0;
  return write_more(L, b, false);
}

/* ---- the end ---- */

LJMP static int l_close(lua_State *L)
{
  struct box *b = luaL_checkudata(L, 1, STREAM);
  struct err e;
  int fd = b->stream.io.fd;
  if (fd < 0) return 0;
  luaL_argcheck(L, !b->wait.task, 1, "another task waits for the stream");
  /* a full disk may show only here; pipes and terminals cannot be synced */
  int rc = b->stream.owned && b->writing ? fsync(fd) : 0;
  int why = errno;
  stream_close(&b->stream);
  if (rc == 0 || why == EINVAL || why == EROFS) {
    lua_pushboolean(L, 1);
    return 1;
  }
  err_errno(&e, "output", why, "writing failed");
  return vm_fail(L, &e);
}

LJMP static int l_gc(lua_State *L)
{
  stream_close(&((struct box *)luaL_checkudata(L, 1, STREAM))->stream);
  return 0;
}

static const luaL_Reg methods[] = {
    {"read", l_read},
    {"write", l_write},
    {"close", l_close},
    {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"open", l_open},     {"stdin", l_stdin},
    {"stdout", l_stdout}, {"is_special", l_is_special},
    {NULL, NULL},
};

int luaopen_host_stream(lua_State *L)
{
  class_add(L, STREAM, l_gc, methods);
  luaL_newlib(L, lib);
  return 1;
}
