/* SPDX-License-Identifier: MIT */
/* host.file: a plain file that is read anywhere and appended to, for records
 * that must have reached the kernel when the call returns. Unlike host.stream
 * these calls block for as long as the disk takes. Failures return nil and an
 * error table, kind "output" or "input".
 *   open(path)        opens the file for reading and appending; creates it if
 *                     it does not exist (mode 0666 less umask)
 *   f:lock()          true: this process has the lock until it closes the file
 *                     or ends, however it ends; false: another one has it
 *   f:size()          bytes
 *   f:read(at, n)     n bytes from offset `at`, fewer only at the end
 *   f:append(bytes)   true when all are written; after a failure the part that
 *                     was written is cut off again, if possible
 *   f:truncate(size)
 *   f:sync()          true when all written bytes are on the disk
 *   f:close()
 *   about(path | fd)  {type=, id=, mode=} of a path, links followed, or of a
 *                     descriptor: "file", "folder" or "other", a string that no
 *                     other file has, and the permissions as an integer; nil if
 *                     there is none
 *   link(path)        the target of a symbolic link; nil if it is not one
 *   write_private(path, bytes, "a" | "w")  appends to or replaces a file that
 *                     only its owner may read, in one write; makes missing
 *                     folders. true, or nil, err
 * For files that appear whole or not at all:
 *   make_folder(path) makes a folder of mode 0700, whatever the umask
 *   create(path, bytes)  makes a file of mode 0600, whatever the umask, which
 *                     is on the disk when the call returns. Fails if there is
 *                     one; leaves none when it fails
 *   move(from, to)    gives a file or folder another name, which must be free
 *   sync_folder(path) true when all names in a folder are on the disk
 *   list(path)        the names in a folder, without "." and ".." */
#include "bindings/lib.h"

#include "lua/class.h"
#include "lua/vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_CLASS "host.file"
#define LIST_CLASS "host.file.list" /* a folder while it is read */

struct lua_file {
  int fd; /* -1 when closed */
};

LJMP static int fail(lua_State *L, const char *kind, const char *what)
{
  struct err e;
  err_errno(&e, kind, errno, "%s", what);
  return vm_fail(L, &e);
}

LJMP static int done(lua_State *L, int rc, const char *what)
{
  if (rc < 0) return fail(L, "output", what);
  lua_pushboolean(L, 1);
  return 1;
}

/* The same, with a path in the message. Keeps errno. */
LJMP static int done_with(lua_State *L, int rc, const char *format,
                          const char *path)
{
  int error = errno;
  const char *what = lua_pushfstring(L, format, path);
  errno = error;
  return done(L, rc, what);
}

LJMP static int l_open(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  struct lua_file *f = class_new(L, FILE_CLASS, sizeof(*f), 0);
  f->fd = -1;
  f->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  return f->fd < 0 ? fail(L, "output", "cannot open it") : 1;
}

LJMP static int check_fd(lua_State *L)
{
  const struct lua_file *f = luaL_checkudata(L, 1, FILE_CLASS);
  luaL_argcheck(L, f->fd >= 0, 1, "the file is closed");
  return f->fd;
}

LJMP static int l_lock(lua_State *L)
{
  int rc = flock(check_fd(L), LOCK_EX | LOCK_NB);
  if (rc < 0 && errno != EWOULDBLOCK)
    return fail(L, "output", "cannot lock it");
  lua_pushboolean(L, rc == 0);
  return 1;
}

LJMP static int l_size(lua_State *L)
{
  off_t size = lseek(check_fd(L), 0, SEEK_END); /* fails for a pipe */
  if (size < 0) return fail(L, "input", "cannot read it");
  lua_pushinteger(L, size);
  return 1;
}

LJMP static int l_read(lua_State *L)
{
  int fd = check_fd(L);
  lua_Integer at = luaL_checkinteger(L, 2), n = luaL_checkinteger(L, 3);
  luaL_argcheck(L, at >= 0, 2, "an offset expected");
  luaL_argcheck(L, n >= 0 && n <= PTRDIFF_MAX, 3, "a size expected");
  luaL_Buffer out;
  char *to = luaL_buffinitsize(L, &out, (size_t)n);
  size_t have = 0;
  while (have < (size_t)n) {
    ssize_t got = pread(fd, to + have, (size_t)n - have, at + (off_t)have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(L, "input", "cannot read it");
    if (got == 0) break;
    have += (size_t)got;
  }
  luaL_pushresultsize(&out, have);
  return 1;
}

/* Returns how many bytes were written; errno is set if not all. */
static size_t write_all(int fd, const char *bytes, size_t len)
{
  size_t written = 0;
  while (written < len) {
    ssize_t put = write(fd, bytes + written, len - written);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) break;
    written += (size_t)put;
  }
  return written;
}

LJMP static int l_append(lua_State *L)
{
  size_t len;
  int fd = check_fd(L);
  const char *bytes = luaL_checklstring(L, 2, &len);
  size_t written = write_all(fd, bytes, len);
  if (written == len) return done(L, 0, NULL);
  int error = errno;
  off_t end = lseek(fd, 0, SEEK_CUR); /* after the written part */
  int rc = written && end > 0 ? ftruncate(fd, end - (off_t)written) : 0;
  (void)rc; /* a reader notices an incomplete last record */
  errno = error;
  return fail(L, "output", "cannot write to it");
}

LJMP static int l_truncate(lua_State *L)
{
  int fd = check_fd(L);
  lua_Integer size = luaL_checkinteger(L, 2);
  luaL_argcheck(L, size >= 0, 2, "a size expected");
  return done(L, ftruncate(fd, size), "cannot cut it");
}

/* Of fsync: what cannot be on a disk needs no call. */
static int ignore_no_disk(int rc)
{
  return rc < 0 && (errno == EINVAL || errno == EROFS) ? 0 : rc;
}

LJMP static int l_sync(lua_State *L)
{
  return done(L, ignore_no_disk(fdatasync(check_fd(L))), "cannot write to it");
}

static void file_release(void *object)
{
  struct lua_file *f = object;
  if (f->fd >= 0) close(f->fd);
  f->fd = -1;
}

/* Makes the folders of `path`, which is changed and restored meanwhile. */
static void make_folders(char *path)
{
  for (char *slash = strchr(path + 1, '/'); slash;
       slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    mkdir(path, 0700); /* open() reports the error */
    *slash = '/';
  }
}

LJMP static int l_write_private(lua_State *L)
{
  static const char *const modes[] = {"a", "w", NULL};
  size_t n, len;
  const char *path = luaL_checklstring(L, 1, &len);
  const char *bytes = luaL_checklstring(L, 2, &n);
  int flags = luaL_checkoption(L, 3, NULL, modes) ? O_TRUNC : O_APPEND;
  char *copy = lua_newuserdatauv(L, len + 1, 0);
  memcpy(copy, path, len + 1);
  if (len) make_folders(copy);
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
  bool ok = fd >= 0 && write(fd, bytes, n) == (ssize_t)n;
  int error = errno;
  if (fd >= 0) close(fd);
  errno = error;
  return done_with(L, ok ? 0 : -1, "cannot write '%s'", path);
}

/* ---- files that appear whole or not at all ---- */

LJMP static int l_make_folder(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  int rc = mkdir(path, 0700);
  if (rc == 0) rc = chmod(path, 0700); /* what the umask has taken away */
  return done_with(L, rc, "cannot make the folder '%s'", path);
}

LJMP static int l_create(lua_State *L)
{
  size_t len;
  const char *path = luaL_checkstring(L, 1);
  const char *bytes = luaL_checklstring(L, 2, &len);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return done_with(L, -1, "cannot make '%s'", path);
  bool ok = fchmod(fd, 0600) == 0 && write_all(fd, bytes, len) == len &&
            ignore_no_disk(fsync(fd)) == 0;
  int error = errno;
  if (close(fd) < 0 && ok) { /* a full disk may show only now */
    ok = false;
    error = errno;
  }
  if (!ok) unlink(path);
  errno = error;
  return done_with(L, ok ? 0 : -1, "cannot write '%s'", path);
}

/* Where the file system (NFS) or the kernel cannot rename without replacing:
 * link replaces nothing, and rename replaces an empty folder only. */
static int move_without_flags(const char *from, const char *to)
{
  struct stat about;
  if (lstat(from, &about) < 0) return -1;
  if (S_ISDIR(about.st_mode)) return rename(from, to);
  return link(from, to) < 0 ? -1 : unlink(from);
}

LJMP static int l_move(lua_State *L)
{
  const char *from = luaL_checkstring(L, 1), *to = luaL_checkstring(L, 2);
  int rc = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
  if (rc < 0 && (errno == EINVAL || errno == ENOSYS))
    rc = move_without_flags(from, to);
  return done_with(L, rc, "cannot make '%s'", to);
}

LJMP static int l_sync_folder(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int rc = fd < 0 ? -1 : ignore_no_disk(fsync(fd)), error = errno;
  if (fd >= 0) close(fd);
  errno = error;
  return done_with(L, rc, "cannot write to the folder '%s'", path);
}

static void list_release(void *object)
{
  DIR **dir = object;
  if (*dir) closedir(*dir);
  *dir = NULL;
}

LJMP static int l_list(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  DIR **dir = class_new(L, LIST_CLASS, sizeof(*dir), 0);
  const struct dirent *entry;
  *dir = opendir(path);
  if (!*dir) return fail(L, "input", "cannot read the folder");
  lua_newtable(L);
  errno = 0; /* only that tells an error from the end */
  for (lua_Integer n = 1; (entry = readdir(*dir)); errno = 0) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    lua_pushstring(L, entry->d_name);
    lua_rawseti(L, -2, n++);
  }
  if (errno) return fail(L, "input", "cannot read the folder");
  list_release(dir);
  return 1;
}

LJMP static int l_about(lua_State *L)
{
  struct stat about;
  int rc = lua_isinteger(L, 1) ? fstat((int)lua_tointegerx(L, 1, NULL), &about)
                               : stat(luaL_checkstring(L, 1), &about);
  if (rc < 0) return 0;
  lua_createtable(L, 0, 3);
  lib_set_integer(L, "mode", about.st_mode & 07777);
  lua_pushstring(L, S_ISREG(about.st_mode)   ? "file"
                    : S_ISDIR(about.st_mode) ? "folder"
                                             : "other");
  lua_setfield(L, -2, "type");
  lua_pushfstring(L, "%I:%I", (LUAI_UACINT)about.st_dev,
                  (LUAI_UACINT)about.st_ino);
  lua_setfield(L, -2, "id");
  return 1;
}

LJMP static int l_link(lua_State *L)
{
  char target[PATH_MAX];
  ssize_t n = readlink(luaL_checkstring(L, 1), target, sizeof(target));
  if (n < 0 || n == sizeof(target)) return 0;
  lua_pushlstring(L, target, (size_t)n);
  return 1;
}

static const luaL_Reg methods[] = {
    {"lock", l_lock},         {"size", l_size}, {"read", l_read},
    {"append", l_append},     {"sync", l_sync}, {"close", class_release},
    {"truncate", l_truncate}, {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"open", l_open},
    {"about", l_about},
    {"link", l_link},
    {"write_private", l_write_private},
    {"make_folder", l_make_folder},
    {"create", l_create},
    {"move", l_move},
    {"sync_folder", l_sync_folder},
    {"list", l_list},
    {NULL, NULL},
};

int luaopen_host_file(lua_State *L)
{
  class_add(L, LIST_CLASS, list_release, NULL);
  return class_module(L, FILE_CLASS, file_release, methods, lib);
}
