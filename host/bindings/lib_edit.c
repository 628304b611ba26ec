/* SPDX-License-Identifier: MIT */
/* host.edit: lines typed at the terminal, while the loop goes on. What keys
 * mean is the caller's to say (fleet.repl.prompt).
 *   open()              an editor, or nil, err when stdin or stdout is no
 *                       terminal
 *   e:start(prompt)     an empty line; escape sequences in the prompt stand
 *                       between two bytes \1. true, or nil, err
 *   e:key()             the bytes of the next key, or the text that was pasted
 *                       and true (waits); nil when the terminal is gone
 *   e:feed(bytes)       does what the key means in an editor
 *   e:text()            the line and the byte that the cursor is behind
 *   e:set(text, cursor) replaces the line
 *   e:prompt(prompt)    replaces the prompt
 *   e:print(lines)      writes above the line, or just writes while there is
 *                       none; lines of the log appear there, too
 *   e:suspend()         what ^Z does
 *   e:stop()            the cursor goes below the line, the terminal is as it
 *                       was found; also done by closing and by collection */
#include "bindings/lib.h"

#include "base/container.h"
#include "base/log.h"
#include "lua/class.h"
#include "lua/task.h"
#include "wrap/line_editor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define EDITOR "host.edit"

enum {
  CTRL_C = 3,
  READ_SIZE = 4096,
  INPUT_MAX = 4 << 20,         /* a paste; more is cut */
  ESC_WAIT = 50 * 1000 * 1000, /* ns; what a key sends comes at once */
};

struct box {
  struct edit *edit;
  struct loop *loop;
  struct loop_io tty;
  struct loop_io signals; /* the terminal's size; that we go on after a stop */
  struct loop_timer timer;
  struct task_wait wait;
  struct log_sink log; /* in force while a line is edited */
  struct buf in;
  struct buf text; /* a line on its way to Lua */
  bool over;       /* what is there is all that comes soon */
  bool gone;       /* the terminal */
};

/* ---- events ---- */

static void unwatch(struct box *b)
{
  loop_io_remove(b->loop, &b->tty);
  loop_timer_clear(b->loop, &b->timer);
}

static void on_cancel(struct task_wait *w)
{
  unwatch(CONTAINER_OF(w, struct box, wait));
}

static void on_input(struct loop_io *io, uint32_t events)
{
  (void)events;
  struct box *b = CONTAINER_OF(io, struct box, tty);
  uint8_t *to = buf_room(&b->in, READ_SIZE);
  ssize_t n = to ? read(io->fd, to, READ_SIZE) : -1;
  if (n > 0)
    b->in.len += (size_t)n;
  else if (!to) /* a paste too long: its bytes until now */
    b->over = true;
  else if (n == 0 || (errno != EINTR && errno != EAGAIN))
    b->gone = true;
  else
    return;
  unwatch(b);
  task_wake(&b->wait);
}

static void on_time(struct loop_timer *timer)
{
  struct box *b = CONTAINER_OF(timer, struct box, timer);
  b->over = true;
  unwatch(b);
  task_wake(&b->wait);
}

static void on_signal(struct loop_io *io, uint32_t events)
{
  (void)events;
  struct box *b = CONTAINER_OF(io, struct box, signals);
  struct signalfd_siginfo info;
  while (read(io->fd, &info, sizeof(info)) == sizeof(info))
    if (edit_active(b->edit)) edit_redraw(b->edit, info.ssi_signo == SIGCONT);
}

/* ---- the editor ---- */

static void editor_release(void *object)
{
  struct box *b = object;
  if (b->wait.task) {
    unwatch(b);
    b->gone = true;
    task_wake(&b->wait);
  }
  if (b->signals.fd >= 0) {
    loop_io_remove(b->loop, &b->signals);
    close(b->signals.fd);
    b->signals.fd = -1;
  }
  if (b->edit && edit_active(b->edit)) log_set_sink(NULL);
  edit_free(b->edit);
  b->edit = NULL;
  buf_free(&b->in);
  buf_free(&b->text);
}

static void on_log(struct log_sink *sink, const char *lines, size_t n)
{
  struct box *b = CONTAINER_OF(sink, struct box, log);
  edit_print(b->edit, lines, n);
}

static int watch_signals(struct box *b, struct err *e)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGWINCH);
  sigaddset(&set, SIGCONT);
  b->signals.on_ready = on_signal;
  b->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (b->signals.fd < 0) return err_errno(e, "system", errno, "signalfd");
  return loop_io_add(b->loop, &b->signals, EPOLLIN, e);
}

LJMP static int l_open(lua_State *L)
{
  struct err e;
  struct box *b = class_new(L, EDITOR, sizeof(*b), 0);
  b->loop = vm_of(L)->host->loop;
  b->tty = (struct loop_io){.fd = STDIN_FILENO, .on_ready = on_input};
  b->signals.fd = -1;
  b->timer.on_expire = on_time;
  b->wait.cancel = on_cancel;
  b->log.write = on_log;
  buf_init(&b->in, INPUT_MAX);
  buf_init(&b->text, 4 * INPUT_MAX);
  b->edit = edit_new(&e);
  if (!b->edit || watch_signals(b, &e) < 0) return vm_fail(L, &e);
  return 1;
}

LJMP static struct box *check_box(lua_State *L)
{
  struct box *b = luaL_checkudata(L, 1, EDITOR);
  luaL_argcheck(L, b->edit, 1, "the editor is closed");
  return b;
}

LJMP static struct box *check_active(lua_State *L)
{
  struct box *b = check_box(L);
  luaL_argcheck(L, edit_active(b->edit), 1, "no line is being edited");
  return b;
}

LJMP static int l_start(lua_State *L)
{
  struct box *b = check_box(L);
  struct err e;
  if (edit_begin(b->edit, luaL_checkstring(L, 2), &e) < 0)
    return vm_fail(L, &e);
  log_set_sink(&b->log);
  lua_pushboolean(L, 1);
  return 1;
}

/* ^C that was typed behind the line, before the terminal made signals of it
 * again: what runs now is to have it. What was typed before it is dropped, as
 * a terminal does. */
static void pass_interrupt(struct box *b)
{
  int waiting = 0;
  uint8_t *to = buf_room(&b->in, READ_SIZE);
  if (to && ioctl(b->tty.fd, FIONREAD, &waiting) == 0 && waiting > 0) {
    ssize_t n = read(b->tty.fd, to, READ_SIZE);
    if (n > 0) b->in.len += (size_t)n;
  }
  const uint8_t *key = b->in.len ? memchr(b->in.data, CTRL_C, b->in.len) : NULL;
  if (!key) return;
  buf_consume(&b->in, (size_t)(key - b->in.data) + 1);
  kill(getpid(), SIGINT);
}

LJMP static int l_stop(lua_State *L)
{
  struct box *b = check_box(L);
  if (edit_active(b->edit)) {
    pass_interrupt(b);
    log_set_sink(NULL);
  }
  edit_end(b->edit);
  return 0;
}

/* ---- keys ---- */

LJMP static int k_key(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct box *b = (struct box *)ctx;
  struct err e;
  enum edit_kind kind;
  size_t from, len;
  size_t n =
      edit_key((char *)b->in.data, b->in.len, b->over, &kind, &from, &len);
  if (!n && b->in.len && b->over) { /* a paste that was too long, or cut off */
    n = b->in.len;
    len = n - from;
  }
  b->over = false;
  if (n) {
    lua_pushlstring(L, (char *)b->in.data + from, len);
    buf_consume(&b->in, n);
    b->in.failed = false;
    lua_pushboolean(L, kind == EDIT_PASTE);
    return 2;
  }
  if (b->gone) return 0;
  if (loop_io_add(b->loop, &b->tty, EPOLLIN, &e) < 0) return vm_fail(L, &e);
  if (b->in.len && kind == EDIT_KEY &&
      loop_timer_set(b->loop, &b->timer, ESC_WAIT) < 0) {
    unwatch(b);
    return luaL_error(L, "not enough memory");
  }
  return task_await(L, &b->wait, ctx, k_key);
}

LJMP static int l_key(lua_State *L)
{
  struct box *b = check_active(L);
  luaL_argcheck(L, !b->wait.task, 1, "another task waits for a key");
  task_check_can_wait(L, "editor:key");
  return k_key(L, LUA_OK, (lua_KContext)b);
}

LJMP static int l_feed(lua_State *L)
{
  size_t n;
  struct box *b = check_active(L);
  const char *bytes = luaL_checklstring(L, 2, &n);
  edit_feed(b->edit, bytes, n);
  return 0;
}

/* ---- the line ---- */

LJMP static int l_text(lua_State *L)
{
  struct box *b = check_active(L);
  size_t cursor;
  buf_clear(&b->text);
  if (edit_text(b->edit, &b->text, &cursor) < 0)
    return luaL_error(L, "not enough memory");
  lib_push_bytes(L, &b->text);
  lua_pushinteger(L, (lua_Integer)cursor);
  return 2;
}

LJMP static int l_set(lua_State *L)
{
  size_t n;
  struct box *b = check_active(L);
  const char *text = luaL_checklstring(L, 2, &n);
  lua_Integer cursor = luaL_optinteger(L, 3, (lua_Integer)n);
  luaL_argcheck(L, cursor >= 0 && (size_t)cursor <= n, 3, "not in the line");
  edit_set(b->edit, text, n, (size_t)cursor);
  return 0;
}

LJMP static int l_prompt(lua_State *L)
{
  struct box *b = check_active(L);
  struct err e;
  if (edit_prompt(b->edit, luaL_checkstring(L, 2), &e) < 0)
    return vm_fail(L, &e);
  return 0;
}

LJMP static int l_print(lua_State *L)
{
  size_t n;
  struct box *b = check_box(L);
  const char *bytes = luaL_checklstring(L, 2, &n);
  if (edit_active(b->edit))
    edit_print(b->edit, bytes, n);
  else
    fwrite(bytes, 1, n, stdout);
  return 0;
}

LJMP static int l_suspend(lua_State *L)
{
  edit_suspend(check_active(L)->edit);
  return 0;
}

static const luaL_Reg methods[] = {
    {"start", l_start},       {"stop", l_stop},   {"key", l_key},
    {"feed", l_feed},         {"text", l_text},   {"set", l_set},
    {"prompt", l_prompt},     {"print", l_print}, {"suspend", l_suspend},
    {"close", class_release}, {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"open", l_open},
    {NULL, NULL},
};

int luaopen_host_edit(lua_State *L)
{
  class_add(L, EDITOR, editor_release, methods);
  luaL_newlib(L, lib);
  return 1;
}
