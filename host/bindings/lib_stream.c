/* SPDX-License-Identifier: MIT */
/* host.stream: files, pipes and terminals, without blocking the loop.
 *   open(path, "r" | "w")  a stream, or nil, err (kind "input" or "output").
 *                          "w" creates or empties the file (mode 0666 less
 *                          umask), or waits for the reader of a named pipe
 *   replace(path)          a stream to PATH.partial, a new file with the mode
 *                          and, where allowed, the owner of the file at PATH.
 *                          Other processes cannot open it this way until it is
 *                          closed: nil, err of kind "usage"
 *   stdin(), stdout()      those of the process
 *   descriptor(n)          a copy of an open descriptor
 *   s:read()               the next bytes (waits), nil at the end, or nil, err
 *   s:write(bytes)         true when all bytes are written (waits), or nil,
 *                          err; kind "closed" if the other end is closed
 *   s:sync()               true when all written bytes are on the disk, or nil,
 *                          err
 *   s:close()              the same, and closes the stream */
#include "bindings/lib.h"

#include "base/container.h"
#include "event/stream.h"
#include "lua/class.h"
#include "lua/task.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STREAM "host.stream"

struct lua_stream {
  struct stream stream;
  struct task_wait wait;
  struct loop_timer poll; /* set while open() waits for a reader */
  bool writing;
  size_t at; /* bytes of the current string that are written */
};

enum { READ_SIZE = 64 * 1024 };
/* Between polls for a reader of a named pipe. */
#define POLL_INTERVAL (20 * LOOP_MS)

static void on_ready(struct stream *s)
{
  task_wake(&((struct lua_stream *)s)->wait);
}

static void on_cancel(struct task_wait *w)
{
  struct lua_stream *s = CONTAINER_OF(w, struct lua_stream, wait);
  stream_cancel_wait(&s->stream);
  loop_timer_clear(s->stream.loop, &s->poll);
}

static void on_poll(struct loop_timer *timer)
{
  task_wake(&(CONTAINER_OF(timer, struct lua_stream, poll))->wait);
}

/* LJMP [-0, +1] */
LJMP static struct lua_stream *push_stream(lua_State *L)
{
  struct lua_stream *s = class_new(L, STREAM, sizeof(*s), 0);
  stream_init(&s->stream, vm_of(L)->host->loop, -1, true);
  s->stream.on_ready = on_ready;
  s->wait.cancel = on_cancel;
  s->poll.on_expire = on_poll;
  return s;
}

LJMP static struct lua_stream *check_stream(lua_State *L)
{
  struct lua_stream *s = luaL_checkudata(L, 1, STREAM);
  luaL_argcheck(L, s->stream.io.fd >= 0, 1, "the stream is closed");
  luaL_argcheck(L, !s->wait.task, 1, "another task waits for the stream");
  return s;
}

/* ---- open ---- */

static bool is_pipe(const char *path)
{
  struct stat about;
  return stat(path, &about) == 0 && S_ISFIFO(about.st_mode);
}

/* With path, mode and stream on the stack. A blocking open of a named pipe
 * would wait for its other end and stop the loop. Here the first read waits
 * instead; for writing, the open is tried again and again. */
LJMP static int k_open(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_stream *s = (struct lua_stream *)ctx;
  const char *path = lua_tostring(L, 1);
  bool write = *lua_tostring(L, 2) == 'w';
  struct err e;
  struct stat about;
  int flags = write ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY;
  s->stream.io.fd = open(path, flags | O_NONBLOCK | O_CLOEXEC, 0666);
  int error = s->stream.io.fd < 0 ? errno : 0;
  if (error == ENXIO && is_pipe(path)) {
    task_check_can_wait(L, "stream.open");
    if (loop_timer_set(s->stream.loop, &s->poll, POLL_INTERVAL) < 0)
      return luaL_error(L, "not enough memory");
    return task_await(L, &s->wait, ctx, k_open);
  }
  if (!error && !write && fstat(s->stream.io.fd, &about) == 0 &&
      S_ISDIR(about.st_mode))
    error = EISDIR; /* the first read would fail with it */
  if (!error) return 1;
  err_errno(&e, write ? "output" : "input", error, "cannot %s '%s'",
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
  return k_open(L, LUA_OK, (lua_KContext)push_stream(L));
}

/* ---- replacing a file ---- */

static bool same_file(const struct stat *a, const struct stat *b)
{
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* 0, or an errno value; EWOULDBLOCK if another process has the lock. On a file
 * system without locks, such as some network ones, this succeeds. */
static int lock(int fd)
{
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
  return errno == ENOLCK || errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
}

/* Opens `partial` and locks it; -1 and `error`. Checks after locking that the
 * name still belongs to this file: the process that had the lock before may
 * have renamed it. */
static int open_locked(const char *partial, mode_t mode, int *error)
{
  const int flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  struct stat mine, named;
  for (;;) {
    int fd = open(partial, flags, mode);
    *error = fd < 0 ? errno : lock(fd);
    if (!*error && fstat(fd, &mine) < 0) *error = errno;
    if (!*error && !S_ISREG(mine.st_mode)) *error = EEXIST;
    if (!*error && lstat(partial, &named) == 0 && same_file(&mine, &named))
      return fd;
    if (fd >= 0) close(fd);
    if (*error) return -1;
  }
}

/* Gives the file the owner of `old`, if that is allowed, and its mode: the
 * set-id bits only with the owner. 0, or an errno value. */
static int copy_owner(int fd, const struct stat *old)
{
  bool owned =
      fchown(fd, old->st_uid, old->st_gid) == 0 ||
      (old->st_uid == geteuid() && fchown(fd, (uid_t)-1, old->st_gid) == 0);
  mode_t mode = old->st_mode & (owned ? 07777 : 0777);
  return fchmod(fd, mode) < 0 ? errno : 0;
}

LJMP static int cannot_write(lua_State *L, int error, const char *path)
{
  struct err e;
  if (error == EWOULDBLOCK)
    err_set(&e, "usage", "another run is writing '%s'", path);
  else
    err_errno(&e, "output", error, "cannot write '%s'", path);
  return vm_fail(L, &e);
}

LJMP static int l_replace(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  const char *partial = lua_pushfstring(L, "%s.partial", path);
  struct lua_stream *s = push_stream(L);
  struct stat old;
  int error = 0;
  bool replaces = stat(path, &old) == 0;
  mode_t mode = replaces ? old.st_mode & 0777 : 0666;
  if (replaces && access(path, W_OK) < 0) return cannot_write(L, errno, path);
  s->stream.io.fd = open_locked(partial, mode, &error);
  if (!error && ftruncate(s->stream.io.fd, 0) < 0) error = errno;
  if (!error && replaces) error = copy_owner(s->stream.io.fd, &old);
  if (!error) return 1;
  return cannot_write(L, error, error == EWOULDBLOCK ? path : partial);
}

LJMP static int l_descriptor(lua_State *L)
{
  lua_Integer n = luaL_checkinteger(L, 1);
  struct lua_stream *s = push_stream(L);
  s->stream.io.fd =
      n < 0 || n > INT_MAX ? -1 : fcntl((int)n, F_DUPFD_CLOEXEC, 3);
  if (s->stream.io.fd >= 0) return 1;
  struct err e;
  err_set(&e, "output", "cannot write to descriptor %lld: it is not open",
          (long long)n);
  return vm_fail(L, &e);
}

LJMP static int push_standard(lua_State *L, int fd)
{
  struct lua_stream *s = push_stream(L);
  s->stream.owned = false;
  s->stream.io.fd = fd;
  return 1;
}

LJMP static int l_stdin(lua_State *L)
{
  return push_standard(L, STDIN_FILENO);
}

LJMP static int l_stdout(lua_State *L)
{
  return push_standard(L, STDOUT_FILENO);
}

/* ---- read ---- */

LJMP static int read_later(lua_State *L, struct lua_stream *s);

LJMP static int k_read(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_stream *s = (struct lua_stream *)ctx;
  struct err e;
  luaL_Buffer out;
  char *to = luaL_buffinitsize(L, &out, READ_SIZE);
  ssize_t n = stream_read(&s->stream, to, READ_SIZE);
  int error = errno;
  luaL_pushresultsize(&out, n > 0 ? (size_t)n : 0);
  if (n > 0) return 1;
  if (n < 0 && error == EAGAIN) return read_later(L, s);
  if (n == 0) {
    lua_pushnil(L);
    return 1;
  }
  err_errno(&e, "input", error, "reading failed");
  return vm_fail(L, &e);
}

LJMP static int l_read(lua_State *L)
{
  struct lua_stream *s = check_stream(L);
  task_check_can_wait(L, "stream:read");
  s->writing = false;
  return read_later(L, s);
}

LJMP static int read_later(lua_State *L, struct lua_stream *s)
{
  struct err e;
  int rc = stream_wait(&s->stream, false, &e);
  if (rc < 0) return vm_fail(L, &e);
  if (rc == 1) return k_read(L, LUA_OK, (lua_KContext)s);
  return task_await(L, &s->wait, (lua_KContext)s, k_read);
}

/* ---- write ---- */

LJMP static int k_write(lua_State *L, int status, lua_KContext ctx);

LJMP static int write_more(lua_State *L, struct lua_stream *s, bool ready)
{
  struct err e;
  size_t len;
  const char *bytes = lua_tolstring(L, 2, &len);
  while (s->at < len) {
    if (!ready) {
      int rc = stream_wait(&s->stream, true, &e);
      if (rc < 0) return vm_fail(L, &e);
      if (rc == 0) return task_await(L, &s->wait, (lua_KContext)s, k_write);
    }
    ssize_t n = stream_write(&s->stream, bytes + s->at, len - s->at);
    if (n < 0 && errno == EAGAIN) { /* another process made it non-blocking */
      ready = false;
      continue;
    }
    if (n < 0) {
      err_errno(&e, errno == EPIPE ? "closed" : "output", errno,
                "writing failed");
      return vm_fail(L, &e);
    }
    s->at += (size_t)n;
    ready = false;
  }
  lua_pushboolean(L, 1);
  return 1;
}

LJMP static int k_write(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  return write_more(L, (struct lua_stream *)ctx, true);
}

LJMP static int l_write(lua_State *L)
{
  struct lua_stream *s = check_stream(L);
  luaL_checkstring(L, 2);
  task_check_can_wait(L, "stream:write");
  s->writing = true;
  s->at = 0;
  return write_more(L, s, false);
}

/* ---- the end ---- */

/* A full disk may be reported only here. Pipes and terminals cannot be synced.
 */
static int flush(struct lua_stream *s, struct err *e)
{
  if (!s->stream.owned || !s->writing || fsync(s->stream.io.fd) == 0) return 0;
  if (errno == EINVAL || errno == EROFS) return 0;
  return err_errno(e, "output", errno, "writing failed");
}

LJMP static int l_sync(lua_State *L)
{
  struct lua_stream *s = check_stream(L);
  struct err e;
  if (flush(s, &e) < 0) return vm_fail(L, &e);
  s->writing = false;
  lua_pushboolean(L, 1);
  return 1;
}

LJMP static int l_close(lua_State *L)
{
  struct lua_stream *s = luaL_checkudata(L, 1, STREAM);
  struct err e;
  if (s->stream.io.fd < 0) return 0;
  luaL_argcheck(L, !s->wait.task, 1, "another task waits for the stream");
  int rc = flush(s, &e);
  stream_close(&s->stream);
  if (rc < 0) return vm_fail(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

static void stream_release(void *object)
{
  stream_close(&((struct lua_stream *)object)->stream);
}

static const luaL_Reg methods[] = {
    {"read", l_read},   {"write", l_write}, {"sync", l_sync},
    {"close", l_close}, {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"open", l_open},     {"replace", l_replace},       {"stdin", l_stdin},
    {"stdout", l_stdout}, {"descriptor", l_descriptor}, {NULL, NULL},
};

int luaopen_host_stream(lua_State *L)
{
  return class_module(L, STREAM, stream_release, methods, lib);
}
