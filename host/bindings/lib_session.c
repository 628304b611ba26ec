/* SPDX-License-Identifier: MIT */
/* The part of host.channel that is about sessions: messages of wire/protocol.h,
 * built and read in place (net/resumable.h).
 *
 *   session{self=, on_event=, on_arrived=, on_room=, on_end=}
 *                               a session that is at no node yet. It calls
 *                               these functions from the loop; they must not
 *                               wait:
 *       on_event(self, ...)     for each event in a message that arrives, with
 *                               its elements, nine at most
 *       on_arrived(self, acked)  after the last event of a message; acked: the
 *                               number of the last message that the node has
 *                               acknowledged
 *       on_room(self)           there may be room, after room or batch have
 *                               returned 0
 *       on_end(self, err, final)  its channel has ended. final: the session
 *                               cannot go on over another one: a message was
 *                               malformed, a function raised, or memory is out
 *   session:open(channel, key, seconds [, release])
 *                               opens the session at the node, or goes on with
 *                               it, over this channel from now on: true
 *                               (waits), or nil, err, and true if the node
 *                               itself answered with that error
 *   session:add(name, ...)      appends an element, an array of the arguments,
 *                               to the message being built: ("blob", key,
 *                               bytes), ("drop", key), ("close", job),
 *                               ("answer", worker, generation, number, bytes).
 *                               Returns true, or nil, err.
 *   session:batch(worker, generation, keys, job, first, attempt, timeout,
 *           items [, from, to])
 *                               appends a batch and returns the number of its
 *                               tasks, and that of the message. keys: the
 *                               list, encoded. items: one item, encoded; or a
 *                               list, of which the values `from` to `to` are
 *                               encoded, as many as the message and the limit
 *                               have room for. Returns 0 when there is no room
 *                               for any, with an error when the first cannot be
 *                               encoded.
 *   session:retract()           takes the last batch back, if nothing was
 *                               appended since and no other task has run
 *   session:flush()             has what was appended sent once the tasks that
 *                               can run have run, as soon as channel and limits
 *                               allow
 *   session:room()              tasks that may be added now; 0 when no message
 *                               should be built now; on_room is called later
 *   session:number()            of the message with the last element
 *   session:acked()             the number of the last message that the node
 *                               has acknowledged
 *   session:hold(on)            while on, the node is granted no further bytes
 *   session:close()             leaves the channel, and frees what it holds;
 *                               none of its functions is called any more */
#include "base/container.h"
#include "bindings/lib.h"
#include "bindings/lib_channel.h"
#include "lua/class.h"
#include "lua/codec.h"
#include "wire/protocol.h"

#include <string.h>

#define SESSION "host.channel.session"

/* A longer time limit of tasks counts as none: the protocol can express 30
 * years. */
#define MAX_SECONDS 1e9

/* Elements of an event that on_event gets. */
enum { EVENT_FIELDS = 9 };

/* User values of a session. */
enum { SELF = 1, ON_EVENT, ON_ARRIVED, ON_ROOM, ON_END, ITS_CHANNEL };

struct lua_session {
  struct vm *vm;
  struct resumable r;
  struct lua_channel *channel; /* or NULL */
  bool closed;
  bool has_failed;    /* it cannot go on over another channel */
  bool is_delivering; /* a message, during which `r` must live */
  bool wants_room;    /* on_room is to be called */
  uint64_t tasks;     /* sent since the beginning */
  size_t batch, end;  /* where the last batch begins and ends in the message */
  uint64_t batch_tasks;
  bool is_waiting; /* for the flusher */
  LIST_ENTRY(lua_session) link;
};

void lib_session_leave(struct lua_session *s)
{
  if (s->channel) s->channel->session = NULL;
  s->channel = NULL;
  resumable_detach(&s->r);
}

/* ---- what arrives in a session ---- */

/* LJMP [-0, +1] or [-0, +0]: pushes a function of the session, whose handle is
 * at `index`; returns whether there is one. */
LJMP static bool push_handler(lua_State *L, int index, int which)
{
  if (lua_getiuservalue(L, index, which) == LUA_TFUNCTION) return true;
  lua_pop(L, 1);
  return false;
}

/* LJMP [-0, +1]: the handle of a session that is not closed. */
LJMP static void push_session(lua_State *L, struct lua_session *s)
{
  lua_rawgetp(L, LUA_REGISTRYINDEX, s);
}

struct call {
  struct lua_session *session;
  int which;
  const struct err *reason;
};

LJMP static int l_call_handler(lua_State *L)
{
  const struct call *c = vm_arg(L);
  push_session(L, c->session);
  if (!push_handler(L, 2, c->which)) return 0;
  lua_getiuservalue(L, 2, SELF);
  if (c->reason) vm_push_error(L, c->reason);
  lua_pushboolean(L, c->session->has_failed);
  lua_call(L, c->reason ? 3 : 2, 0);
  return 0;
}

void lib_session_ended(struct lua_session *s, const struct err *reason)
{
  struct call c = {.session = s, .which = ON_END, .reason = reason};
  struct err e;
  lib_session_leave(s);
  if (s->closed) return;
  if (vm_pcall(s->vm, l_call_handler, &c, &e) < 0)
    log_error(e.text); /* a bug */
}

static void on_room(void *arg)
{
  struct lua_session *s = arg;
  struct call c = {.session = s, .which = ON_ROOM};
  struct err e;
  if (!s->wants_room || s->closed) return;
  s->wants_room = false;
  if (vm_pcall(s->vm, l_call_handler, &c, &e) < 0) log_error(e.text);
}

/* LJMP [-0, +n]: pushes the elements of the next array, EVENT_FIELDS at most.
 * Returns their number n; or 0 at the end; or -1 and `e`. */
LJMP static int push_event(lua_State *L, struct mp_reader *r, struct err *e)
{
  uint32_t count;
  int n = 0;
  if (r->at == r->end) return 0;
  if (mp_read_array(r, &count) < 0 || count == 0)
    return err_set(e, "protocol", "malformed event");
  for (; count > 0; count--) {
    bool ok = n < EVENT_FIELDS ? codec_decode(L, r, e) == 0 : mp_skip(r) == 0;
    if (!ok) return err_set(e, "protocol", "malformed event");
    n += n < EVENT_FIELDS;
  }
  return n;
}

struct arrival {
  struct lua_session *session;
  struct mp_reader reader;
  struct err *e;
  int rc;
};

LJMP static int l_deliver(lua_State *L)
{
  enum { HANDLE = 2, HANDLER, OWNER };
  struct arrival *a = vm_arg(L);
  push_session(L, a->session);
  if (!push_handler(L, HANDLE, ON_EVENT)) return 0;
  lua_getiuservalue(L, HANDLE, SELF);
  luaL_checkstack(L, EVENT_FIELDS + 8, "event");
  while (!a->session->closed) {
    lua_pushvalue(L, HANDLER);
    lua_pushvalue(L, OWNER);
    a->rc = push_event(L, &a->reader, a->e);
    if (a->rc <= 0) break;
    lua_call(L, 1 + a->rc, 0);
  }
  if (a->session->closed || a->rc < 0 || !push_handler(L, HANDLE, ON_ARRIVED))
    return 0;
  lua_pushvalue(L, OWNER);
  lua_pushinteger(L, (lua_Integer)a->session->r.acked);
  lua_call(L, 2, 0);
  return 0;
}

static int on_message(void *arg, const uint8_t *data, size_t len, struct err *e)
{
  struct lua_session *s = arg;
  struct arrival a = {.session = s, .reader = {data, data + len}, .e = e};
  s->is_delivering = true;
  int rc = vm_pcall(s->vm, l_deliver, &a, e);
  s->is_delivering = false;
  if (s->closed) resumable_free(&s->r);
  if (rc == 0 && a.rc >= 0) return 0;
  s->has_failed = true;
  return -1;
}

static const struct resumable_events resumable_events = {
    .on_message = on_message,
    .on_room = on_room,
};

/* ---- sessions ---- */

LJMP static struct lua_session *check_session(lua_State *L)
{
  struct lua_session *s = luaL_checkudata(L, 1, SESSION);
  if (s->closed) luaL_error(L, "the session is closed");
  return s;
}

static void session_release(void *object)
{
  struct lua_session *s = object;
  if (s->is_waiting) LIST_REMOVE(s, link);
  s->is_waiting = false;
  s->closed = true;
  if (!s->vm) return; /* it was never made */
  lib_session_leave(s);
  if (!s->is_delivering) resumable_free(&s->r);
}

LJMP static int l_session_close(lua_State *L)
{
  struct lua_session *s = luaL_checkudata(L, 1, SESSION);
  session_release(s);
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, s);
  return 0;
}

LJMP int lib_session(lua_State *L)
{
  static const char *const fields[] = {"self", "on_event", "on_arrived",
                                       "on_room", "on_end"};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  struct lua_session *s = class_new(L, SESSION, sizeof(*s), ITS_CHANNEL);
  for (int i = 0; i < 5; i++) {
    lua_getfield(L, 1, fields[i]);
    lua_setiuservalue(L, 2, SELF + i);
  }
  /* it gets events until it is closed */
  lua_pushvalue(L, 2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, s);
  s->vm = vm_of(L);
  resumable_init(&s->r, s->vm->host->loop, 0, &resumable_events, s);
  return 1;
}

/* What a session does with the reply to its "open". */
static int take_opened(void *arg, const uint8_t *data, size_t len,
                       struct err *e)
{
  struct lua_session *s = arg;
  static const char *const kinds[] = {"lost", "refused", "memory", "tls"};
  struct mp_reader r = {data, data + len};
  const uint8_t *name, *kind, *text;
  size_t name_len, kind_len, text_len;
  uint32_t count;
  int64_t number[3] = {0};
  if (mp_read_array(&r, &count) == 0 && count >= 3 &&
      mp_read_bytes(&r, &name, &name_len) == 0) {
    if (name_len == 6 && !memcmp(name, "opened", 6) && count >= 4 &&
        mp_read_int(&r, &number[0]) == 0 && mp_read_int(&r, &number[1]) == 0 &&
        mp_read_int(&r, &number[2]) == 0) {
      struct resumable_ack ack = {.received = (uint64_t)number[0],
                                  .bytes = (uint64_t)number[1],
                                  .tasks = (uint64_t)number[2]};
      return resumable_resume(&s->r, &ack, e);
    }
    if (name_len == 5 && !memcmp(name, "error", 5) &&
        mp_read_bytes(&r, &kind, &kind_len) == 0 &&
        mp_read_bytes(&r, &text, &text_len) == 0) {
      err_set(e, "protocol", "%.*s", (int)(text_len < 250 ? text_len : 250),
              (const char *)text);
      for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strlen(kinds[i]) == kind_len && !memcmp(kinds[i], kind, kind_len))
          memcpy(e->kind, kinds[i], kind_len + 1);
      return -1;
    }
  }
  return err_set(e, "protocol", "malformed reply");
}

LJMP static int l_open(lua_State *L)
{
  struct lua_session *s = check_session(L);
  struct lua_channel *c = luaL_checkudata(L, 2, CHANNEL);
  size_t len;
  const char *key = luaL_checklstring(L, 3, &len);
  lua_Number seconds = luaL_optnumber(L, 4, 0);
  size_t release_len = 0;
  const char *release = luaL_optlstring(L, 5, NULL, &release_len);
  struct resumable_ack ack;
  struct buf b;
  uint8_t bytes[512];
  luaL_argcheck(L, len == PROTOCOL_SESSION_SIZE, 3, "a key expected");
  task_check_can_wait(L, "session:open");
  if (c->channel) {
    lib_session_leave(s);
    if (c->session) lib_session_leave(c->session);
    channel_attach(c->channel, &s->r);
    s->channel = c;
    c->session = s;
    lua_pushvalue(L, 2); /* lives as long as it is the session's */
    lua_setiuservalue(L, 1, ITS_CHANNEL);
  }
  resumable_offer(&s->r, &ack);
  buf_init(&b, sizeof(bytes));
  mp_write_array(&b, release ? 5 : 4);
  mp_write_cstr(&b, "open");
  mp_write_bin(&b, key, len);
  mp_write_int(&b, (int64_t)ack.received);
  mp_write_int(&b, (int64_t)ack.bytes);
  if (release) mp_write_str(&b, release, release_len);
  len = b.failed ? 0 : b.len;
  if (len) memcpy(bytes, b.data, len); /* what follows may raise */
  buf_free(&b);
  if (!len) return luaL_error(L, "cannot make the request");
  return lib_request(L, 2, bytes, len, seconds, take_opened, s);
}

/* ---- what a session sends ---- */

static struct buf *open_message(struct lua_session *s)
{
  struct buf *b = resumable_message(&s->r);
  s->batch = s->end = 0;
  return b;
}

LJMP static int l_add(lua_State *L)
{
  struct lua_session *s = check_session(L);
  struct err e;
  int top = lua_gettop(L);
  struct buf *b = open_message(s);
  size_t start = b->len;
  mp_write_array(b, (size_t)(top - 1));
  for (int i = 2; i <= top; i++) {
    if (codec_encode(L, i, "message", b, &e) == 0) continue;
    b->len = start;
    return vm_fail(L, &e);
  }
  lua_pushboolean(L, true);
  return 1;
}

/* Big-endian, in place of a fixed-size number of zero. */
static void patch(struct buf *b, size_t at, size_t value)
{
  if (b->failed) return;
  for (int i = 0; i < 4; i++)
    b->data[at + (size_t)i] = (uint8_t)(value >> (24 - 8 * i));
}

/* The tasks that may be added to a message. */
static uint64_t room(const struct lua_session *s)
{
  uint64_t limit = s->r.limit.tasks;
  if (!s->r.resumed || !resumable_has_room(&s->r)) return 0;
  return limit > s->tasks ? limit - s->tasks : 0;
}

/* Encodes values of the list at `index`, as many as the message has room for;
 * returns how many, 0 with `e`. */
LJMP static lua_Integer add_items(lua_State *L, int index, lua_Integer from,
                                  lua_Integer to, struct buf *b, struct err *e)
{
  const size_t items = b->len, most = b->max;
  lua_Integer n = 0;
  for (; from + n <= to; n++) {
    size_t before = b->len;
    if (before >= RESUMABLE_MESSAGE && n > 0) break;
    lua_rawgeti(L, index, from + n);
    b->max =
        items + PROTOCOL_MAX_VALUE < most ? items + PROTOCOL_MAX_VALUE : most;
    int rc = codec_encode(L, -1, "item", b, e);
    b->max = most;
    lua_pop(L, 1);
    if (rc < 0) break;
    if (b->len > RESUMABLE_MESSAGE && n > 0) {
      b->len = before;
      break;
    }
  }
  return n;
}

LJMP static int l_batch(lua_State *L)
{
  static const uint8_t zero_uint32[] = {0xce, 0, 0, 0, 0};
  static const uint8_t empty_bin32[] = {0xc6, 0, 0, 0, 0};
  struct lua_session *s = check_session(L);
  size_t keys_len, items_len = 0;
  struct err e = {.kind = ""};
  lua_Integer worker = luaL_checkinteger(L, 2);
  lua_Integer generation = luaL_checkinteger(L, 3);
  const char *keys = luaL_checklstring(L, 4, &keys_len);
  lua_Integer job = luaL_checkinteger(L, 5), first = luaL_checkinteger(L, 6);
  lua_Integer attempt = luaL_checkinteger(L, 7), n = 1;
  lua_Number timeout = luaL_checknumber(L, 8);
  const char *items = lua_tolstring(L, 9, &items_len);
  lua_Integer from = items ? 1 : luaL_checkinteger(L, 10);
  lua_Integer to = items ? 1 : luaL_checkinteger(L, 11);
  if (!(timeout <= MAX_SECONDS)) timeout = 0;
  const uint64_t max = room(s);
  if (!items) luaL_checktype(L, 9, LUA_TTABLE);
  if (max == 0) {
    s->wants_room = true;
    lua_pushinteger(L, 0);
    return 1;
  }
  if ((uint64_t)(to - from) >= max) to = from + (lua_Integer)max - 1;
  struct buf *b = open_message(s);
  const size_t start = b->len;
  mp_write_array(b, 10);
  mp_write_cstr(b, "batch");
  mp_write_int(b, worker);
  mp_write_int(b, generation);
  buf_add(b, keys, keys_len);
  mp_write_int(b, job);
  mp_write_int(b, first);
  size_t count_at = b->len + 1;
  buf_add(b, zero_uint32, sizeof(zero_uint32));
  mp_write_int(b, attempt);
  mp_write_float(b, timeout);
  size_t items_at = b->len + 1;
  buf_add(b, empty_bin32, sizeof(empty_bin32));
  if (items)
    buf_add(b, items, items_len);
  else
    n = add_items(L, 9, from, to, b, &e);
  if (n == 0) {
    b->len = start;
    lua_pushinteger(L, 0);
    vm_push_error(L, &e);
    return 2;
  }
  patch(b, count_at, (size_t)n);
  patch(b, items_at, b->len - items_at - 4);
  s->batch = start;
  s->end = b->len;
  s->batch_tasks = (uint64_t)n;
  s->tasks += (uint64_t)n;
  lua_pushinteger(L, n);
  lua_pushinteger(L, (lua_Integer)resumable_number(&s->r));
  return 2;
}

LJMP static int l_retract(lua_State *L)
{
  struct lua_session *s = check_session(L);
  struct buf *b = &s->r.open;
  if (s->end == 0 || b->len != s->end) return 0;
  b->len = s->batch;
  s->tasks -= s->batch_tasks;
  s->end = 0;
  return 0;
}

static void flush(struct lua_session *s)
{
  struct err e;
  s->end = 0;
  if (!resumable_failed(&s->r)) {
    resumable_flush(&s->r);
    return;
  }
  s->has_failed = true;
  err_set(&e, "memory", "out of memory for a message");
  lib_session_ended(s, &e);
}

static bool run_flusher(struct loop_hook *hook)
{
  struct channel_flusher *f = CONTAINER_OF(hook, struct channel_flusher, hook);
  struct lua_session *s;
  while ((s = LIST_FIRST(&f->sessions))) {
    LIST_REMOVE(s, link);
    s->is_waiting = false;
    flush(s);
  }
  return false;
}

void channel_flusher_add(struct channel_flusher *f, struct loop *loop)
{
  LIST_INIT(&f->sessions);
  f->hook.run = run_flusher;
  loop_hook_add(loop, &f->hook);
}

LJMP static int l_flush(lua_State *L)
{
  struct lua_session *s = check_session(L);
  if (s->is_waiting) return 0;
  s->is_waiting = true;
  LIST_INSERT_HEAD(&s->vm->host->flusher->sessions, s, link);
  return 0;
}

LJMP static int l_room(lua_State *L)
{
  struct lua_session *s = check_session(L);
  uint64_t n = room(s);
  s->wants_room = n == 0;
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

LJMP static int l_number(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)resumable_number(&check_session(L)->r));
  return 1;
}

LJMP static int l_acked(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)check_session(L)->r.acked);
  return 1;
}

LJMP static int l_hold(lua_State *L)
{
  resumable_hold(&check_session(L)->r, lua_toboolean(L, 2));
  return 0;
}

static const luaL_Reg session_methods[] = {
    {"acked", l_acked},         {"add", l_add},     {"batch", l_batch},
    {"close", l_session_close}, {"flush", l_flush}, {"hold", l_hold},
    {"number", l_number},       {"open", l_open},   {"retract", l_retract},
    {"room", l_room},           {NULL, NULL},
};

void lib_session_register(lua_State *L)
{
  class_add(L, SESSION, session_release, session_methods);
}
