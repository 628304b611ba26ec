/* SPDX-License-Identifier: MIT */
/* host.line_editor: a line that is edited at the terminal while the loop runs.
 * The caller decides what each key means (fleet.repl.prompt).
 *   open()              an editor, or nil, err if stdin or stdout is not a
 *                       terminal
 *   e:start(prompt)     shows an empty line; escape sequences in the prompt
 *                       stand between two bytes \1. true, or nil, err
 *   e:key()             the bytes of the next key, or a pasted text and true
 *                       (waits); nil when the terminal is gone
 *   e:feed(bytes)       does what the key does in an editor
 *   e:text()            the line, and the number of bytes before the cursor
 *   e:set(text, cursor) replaces the line
 *   e:prompt(prompt)    replaces the prompt
 *   e:print(lines)      writes above the line, or plainly while no line is
 *                       edited; log lines appear there, too
 *   e:suspend()         stops the program, as ^Z does
 *   e:stop()            moves the cursor below the line and restores the
 *                       terminal; close and collection do the same */
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

#define EDITOR "host.line_editor"

enum {
  CTRL_C = 3,
  READ_SIZE = 4096,
  INPUT_MAX = 4 << 20,         /* bytes of a paste; longer ones are cut */
  ESC_WAIT = 50 * 1000 * 1000, /* ns, in which a key has sent all its bytes */
};

struct lua_editor {
  struct line_editor *editor;
  struct loop *loop;
  struct loop_io tty;
  struct loop_io signals; /* SIGWINCH and SIGCONT */
  struct loop_timer timer;
  struct task_wait wait;
  struct log_sink log; /* used while a line is edited */
  struct buf in;
  struct buf text; /* a line on its way to Lua */
  bool complete;   /* no more bytes of this key are coming */
  bool closed;     /* the terminal has closed */
};

/* ---- events ---- */

static void unwatch(struct lua_editor *ed)
{
  loop_io_remove(ed->loop, &ed->tty);
  loop_timer_clear(ed->loop, &ed->timer);
}

static void on_cancel(struct task_wait *w)
{
  unwatch(CONTAINER_OF(w, struct lua_editor, wait));
}

static void on_input(struct loop_io *io, uint32_t events)
{
  (void)events;
  struct lua_editor *ed = CONTAINER_OF(io, struct lua_editor, tty);
  uint8_t *to = buf_room(&ed->in, READ_SIZE);
  ssize_t n = to ? read(io->fd, to, READ_SIZE) : -1;
  if (n > 0)
    ed->in.len += (size_t)n;
  else if (!to) /* the paste is too long; deliver what there is */
    ed->complete = true;
  else if (n == 0 || (errno != EINTR && errno != EAGAIN))
    ed->closed = true;
  else
    return;
  unwatch(ed);
  task_wake(&ed->wait);
}

static void on_time(struct loop_timer *timer)
{
  struct lua_editor *ed = CONTAINER_OF(timer, struct lua_editor, timer);
  ed->complete = true;
  unwatch(ed);
  task_wake(&ed->wait);
}

static void on_signal(struct loop_io *io, uint32_t events)
{
  (void)events;
  struct lua_editor *ed = CONTAINER_OF(io, struct lua_editor, signals);
  struct signalfd_siginfo info;
  while (read(io->fd, &info, sizeof(info)) == sizeof(info))
    if (line_editor_active(ed->editor))
      line_editor_redraw(ed->editor, info.ssi_signo == SIGCONT);
}

/* ---- the editor ---- */

static void editor_release(void *object)
{
  struct lua_editor *ed = object;
  if (ed->wait.task) {
    unwatch(ed);
    ed->closed = true;
    task_wake(&ed->wait);
  }
  if (ed->signals.fd >= 0) {
    loop_io_remove(ed->loop, &ed->signals);
    close(ed->signals.fd);
    ed->signals.fd = -1;
  }
  if (ed->editor && line_editor_active(ed->editor)) log_set_sink(NULL);
  line_editor_free(ed->editor);
  ed->editor = NULL;
  buf_free(&ed->in);
  buf_free(&ed->text);
}

static void on_log(struct log_sink *sink, const char *lines, size_t n)
{
  struct lua_editor *ed = CONTAINER_OF(sink, struct lua_editor, log);
  line_editor_print(ed->editor, lines, n);
}

static int watch_signals(struct lua_editor *ed, struct err *e)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGWINCH);
  sigaddset(&set, SIGCONT);
  ed->signals.on_ready = on_signal;
  ed->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (ed->signals.fd < 0) return err_errno(e, "system", errno, "signalfd");
  return loop_io_add(ed->loop, &ed->signals, EPOLLIN, e);
}

LJMP static int l_open(lua_State *L)
{
  struct err e;
  struct lua_editor *ed = class_new(L, EDITOR, sizeof(*ed), 0);
  ed->loop = vm_of(L)->host->loop;
  ed->tty = (struct loop_io){.fd = STDIN_FILENO, .on_ready = on_input};
  ed->signals.fd = -1;
  ed->timer.on_expire = on_time;
  ed->wait.cancel = on_cancel;
  ed->log.write = on_log;
  buf_init(&ed->in, INPUT_MAX);
  buf_init(&ed->text, 4 * INPUT_MAX);
  ed->editor = line_editor_new(&e);
  if (!ed->editor || watch_signals(ed, &e) < 0) return vm_fail(L, &e);
  return 1;
}

LJMP static struct lua_editor *check_editor(lua_State *L)
{
  struct lua_editor *ed = luaL_checkudata(L, 1, EDITOR);
  luaL_argcheck(L, ed->editor, 1, "the editor is closed");
  return ed;
}

LJMP static struct lua_editor *check_active(lua_State *L)
{
  struct lua_editor *ed = check_editor(L);
  luaL_argcheck(L, line_editor_active(ed->editor), 1,
                "no line is being edited");
  return ed;
}

LJMP static int l_start(lua_State *L)
{
  struct lua_editor *ed = check_editor(L);
  struct err e;
  if (line_editor_begin(ed->editor, luaL_checkstring(L, 2), &e) < 0)
    return vm_fail(L, &e);
  log_set_sink(&ed->log);
  lua_pushboolean(L, 1);
  return 1;
}

/* Turns a ^C that was typed after the line, while it was still a key, into a
 * signal for the code that runs next. Drops the input before it, as a terminal
 * does. */
static void pass_interrupt(struct lua_editor *ed)
{
  int waiting = 0;
  uint8_t *to = buf_room(&ed->in, READ_SIZE);
  if (to && ioctl(ed->tty.fd, FIONREAD, &waiting) == 0 && waiting > 0) {
    ssize_t n = read(ed->tty.fd, to, READ_SIZE);
    if (n > 0) ed->in.len += (size_t)n;
  }
  const uint8_t *key =
      ed->in.len ? memchr(ed->in.data, CTRL_C, ed->in.len) : NULL;
  if (!key) return;
  buf_consume(&ed->in, (size_t)(key - ed->in.data) + 1);
  kill(getpid(), SIGINT);
}

LJMP static int l_stop(lua_State *L)
{
  struct lua_editor *ed = check_editor(L);
  if (line_editor_active(ed->editor)) {
    pass_interrupt(ed);
    log_set_sink(NULL);
  }
  line_editor_end(ed->editor);
  return 0;
}

/* ---- keys ---- */

LJMP static int k_key(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_editor *ed = (struct lua_editor *)ctx;
  struct err e;
  enum line_editor_kind kind;
  size_t from, len;
  size_t n = line_editor_key((char *)ed->in.data, ed->in.len, ed->complete,
                             &kind, &from, &len);
  if (!n && ed->in.len &&
      ed->complete) { /* a paste that is too long or cut off */
    n = ed->in.len;
    len = n - from;
  }
  ed->complete = false;
  if (n) {
    lua_pushlstring(L, (char *)ed->in.data + from, len);
    buf_consume(&ed->in, n);
    ed->in.failed = false;
    lua_pushboolean(L, kind == LINE_EDITOR_PASTE);
    return 2;
  }
  if (ed->closed) return 0;
  if (loop_io_add(ed->loop, &ed->tty, EPOLLIN, &e) < 0) return vm_fail(L, &e);
  if (ed->in.len && kind == LINE_EDITOR_KEY &&
      loop_timer_set(ed->loop, &ed->timer, ESC_WAIT) < 0) {
    unwatch(ed);
    return luaL_error(L, "not enough memory");
  }
  return task_await(L, &ed->wait, ctx, k_key);
}

LJMP static int l_key(lua_State *L)
{
  struct lua_editor *ed = check_active(L);
  luaL_argcheck(L, !ed->wait.task, 1, "another task waits for a key");
  task_check_can_wait(L, "editor:key");
  return k_key(L, LUA_OK, (lua_KContext)ed);
}

LJMP static int l_feed(lua_State *L)
{
  size_t n;
  struct lua_editor *ed = check_active(L);
  const char *bytes = luaL_checklstring(L, 2, &n);
  line_editor_feed(ed->editor, bytes, n);
  return 0;
}

/* ---- the line ---- */

LJMP static int l_text(lua_State *L)
{
  struct lua_editor *ed = check_active(L);
  size_t cursor;
  buf_clear(&ed->text);
  if (line_editor_text(ed->editor, &ed->text, &cursor) < 0)
    return luaL_error(L, "not enough memory");
  lib_push_bytes(L, &ed->text);
  lua_pushinteger(L, (lua_Integer)cursor);
  return 2;
}

LJMP static int l_set(lua_State *L)
{
  size_t n;
  struct lua_editor *ed = check_active(L);
  const char *text = luaL_checklstring(L, 2, &n);
  lua_Integer cursor = luaL_optinteger(L, 3, (lua_Integer)n);
  luaL_argcheck(L, cursor >= 0 && (size_t)cursor <= n, 3, "not in the line");
  line_editor_set(ed->editor, text, n, (size_t)cursor);
  return 0;
}

LJMP static int l_prompt(lua_State *L)
{
  struct lua_editor *ed = check_active(L);
  struct err e;
  if (line_editor_prompt(ed->editor, luaL_checkstring(L, 2), &e) < 0)
    return vm_fail(L, &e);
  return 0;
}

LJMP static int l_print(lua_State *L)
{
  size_t n;
  struct lua_editor *ed = check_editor(L);
  const char *bytes = luaL_checklstring(L, 2, &n);
  if (line_editor_active(ed->editor))
    line_editor_print(ed->editor, bytes, n);
  else
    fwrite(bytes, 1, n, stdout);
  return 0;
}

LJMP static int l_suspend(lua_State *L)
{
  line_editor_suspend(check_active(L)->editor);
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

int luaopen_host_line_editor(lua_State *L)
{
  return class_module(L, EDITOR, editor_release, methods, lib);
}
