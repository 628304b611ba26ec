/* SPDX-License-Identifier: MIT */
#include "worker/outcome.h"

#include "lua/codec.h"
#include "wire/message.h"
#include "wire/protocol.h"

#include <stdio.h>
#include <string.h>

enum {
  MAX_MESSAGE = 64 * 1024,
  MAX_TRACEBACK = 8 * 1024,
};

/* ---- errors ---- */

struct error_source {
  lua_State *co;  /* the error value is on top of its stack */
  bool traceback; /* the traceback is below it */
  bool started;   /* the task ran */
  bool shows;     /* the content of a table; without it, if that failed */
  struct buf *out;
};

static void put_error(struct buf *b, const char *kind, const char *message,
                      size_t len, bool started, const char *traceback)
{
  mp_write_map(b, traceback ? 4 : 3);
  mp_put_str(b, "kind", kind);
  mp_write_cstr(b, "message");
  mp_write_str(b, message, len);
  mp_put_str(b, "applied", started ? "yes" : "no");
  if (!traceback) return;
  mp_put_str(b, "traceback", traceback);
}

/* LJMP [-0, +1]: pushes the string at `idx`; of a string longer than `max`
 * bytes only its beginning and its length. */
LJMP static void push_cut(lua_State *L, int idx, size_t max)
{
  size_t len;
  const char *text = lua_tolstring(L, idx, &len);
  if (len <= max) {
    lua_pushvalue(L, idx);
    return;
  }
  lua_pushlstring(L, text, max);
  lua_pushfstring(L, " ... (%I bytes)", (lua_Integer)len);
  lua_concat(L, 2);
}

/* LJMP: cuts a field of the error table at 3 if it is a string. */
LJMP static void cut_field(lua_State *L, const char *field, size_t max)
{
  lua_pushstring(L, field);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, 3) == LUA_TSTRING) {
    push_cut(L, lua_gettop(L), max);
    lua_remove(L, -2);
    lua_rawset(L, 3);
  } else {
    lua_pop(L, 2);
  }
}

/* Kinds that only the fleet itself may set, as it acts on them. */
static bool is_reserved(const char *kind)
{
  static const char *const kinds[] = {"cancelled", "crash", "deadline",
                                      "draining",  "lost",  "poisoned",
                                      "refused",   "skew"};
  for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
    if (!strcmp(kind, kinds[i])) return true;
  return false;
}

/* LJMP: moves the fields of the error table at 3 that describe an attempt into
 * a table of its own, the field "inner". They describe another attempt than
 * this one, such as that of a call whose error the job passes on, or are made
 * up. */
LJMP static void set_apart(lua_State *L, bool started)
{
  static const char *const fields[] = {"applied", "node", "attempt", "signal",
                                       "inner"};
  bool any = false;
  lua_createtable(L, 0, 6); /* at 4 */
  for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
    if (lua_getfield(L, 3, fields[i]) == LUA_TNIL) {
      lua_pop(L, 1);
      continue;
    }
    any = true;
    lua_setfield(L, 4, fields[i]);
    lua_pushnil(L);
    lua_setfield(L, 3, fields[i]);
  }
  lua_getfield(L, 3, "kind");
  if (is_reserved(lua_tostring(L, -1))) {
    any = true;
    lua_setfield(L, 4, "kind");
    lua_pushliteral(L, "raise");
    lua_setfield(L, 3, "kind");
  }
  lua_settop(L, 4);
  if (any)
    lua_setfield(L, 3, "inner");
  else
    lua_pop(L, 1);
  lua_pushstring(L, started ? "yes" : "no");
  lua_setfield(L, 3, "applied");
}

/* LJMP [-0, +1]: returns whether the value at 2 is an error of fleet.errors.
 * Then a copy that may be sent is at 3; the job's own is not changed. */
LJMP static bool copy_error(lua_State *L, bool started)
{
  lua_newtable(L);
  if (!lua_istable(L, 2)) return false;
  for (lua_pushnil(L); lua_next(L, 2);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, 3);
  }
  bool is_error = lua_getfield(L, 3, "kind") == LUA_TSTRING &&
                  lua_getfield(L, 3, "message") == LUA_TSTRING;
  lua_settop(L, 3);
  if (!is_error) return false;
  cut_field(L, "message", MAX_MESSAGE);
  cut_field(L, "traceback", MAX_TRACEBACK);
  set_apart(L, started);
  return true;
}

/* LJMP [-0, +1]: pushes the content of a table, as fleet.base.pretty shows it.
 */
LJMP static void push_content(lua_State *L, int idx)
{
  enum { SHOWN = 1000 };
  lua_pushliteral(L, ": ");
  vm_push_library(L, "fleet.base.pretty", "line");
  lua_pushvalue(L, idx);
  lua_pushinteger(L, SHOWN);
  lua_call(L, 2, 1);
  lua_concat(L, 2);
}

/* LJMP: replaces the message on top by what it means in a job, if that differs.
 */
LJMP static void explain(lua_State *L)
{
  if (!strstr(lua_tostring(L, -1), " a nil value (")) return;
  vm_push_library(L, "fleet.worker.absent", "explain");
  lua_insert(L, -2);
  lua_call(L, 1, 1);
}

/* LJMP: an error table that the job made is sent whole (but see set_apart); any
 * other value becomes the message of a "raise". */
LJMP static int l_encode_error(lua_State *L)
{
  struct error_source *s = vm_arg(L);
  struct err e;
  lua_State *co = s->co;
  luaL_checkstack(L, 8, "error");
  if (!lua_checkstack(co, 2)) return luaL_error(L, "stack overflow");
  lua_pushvalue(co, -1);
  lua_xmove(co, L, 1); /* error */
  if (copy_error(L, s->started) && codec_encode(L, 3, "error", s->out, &e) == 0)
    return 0;
  lua_settop(L, 2);
  const char *trace = NULL;
  if (s->traceback) {
    lua_pushvalue(co, -2);
    lua_xmove(co, L, 1);
    if (lua_type(L, 3) == LUA_TSTRING) {
      push_cut(L, 3, MAX_TRACEBACK);
      trace = lua_tostring(L, -1);
    }
  }
  if (lua_isstring(L, 2) || luaL_getmetafield(L, 2, "__tostring")) {
    luaL_tolstring(L, 2, NULL);
  } else { /* as lua.c does, and the content of a table */
    s->shows = lua_istable(L, 2) && !s->shows;
    if (s->shows)
      push_content(L, 2);
    else
      lua_pushliteral(L, "");
    lua_pushfstring(L, "(error object is a %s value%s)", luaL_typename(L, 2),
                    lua_tostring(L, -1));
  }
  push_cut(L, lua_gettop(L), MAX_MESSAGE);
  explain(L);
  size_t len;
  const char *text = lua_tolstring(L, -1, &len);
  bool memory = lua_type(L, 2) == LUA_TSTRING &&
                strstr(text, "not enough memory") != NULL;
  put_error(s->out, memory ? "memory" : "raise", text, len, s->started, trace);
  return 0;
}

void outcome_put_error(struct buf *b, const char *kind, const char *message,
                       bool started)
{
  put_error(b, kind, message, strlen(message), started, NULL);
}

void outcome_encode_error(struct buf *b, struct vm *vm, lua_State *co,
                          bool traceback, bool started)
{
  struct error_source s = {
      .co = co, .traceback = traceback, .started = started, .out = b};
  struct err e;
  if (b->failed) return; /* what precedes the error is lost already */
  size_t start = b->len, max = b->max;
  b->max = start + PROTOCOL_MAX_VALUE;
  int rc = vm_pcall(vm, l_encode_error, &s, &e);
  if (rc < 0 && s.shows && !b->failed) {
    b->len = start;
    rc = vm_pcall(vm, l_encode_error, &s, &e);
  }
  if (rc < 0 || b->failed) {
    bool memory = !b->failed && !strcmp(e.kind, "memory");
    b->len = start; /* __tostring raised, it is too large, or memory is out */
    b->failed = false;
    outcome_put_error(b, memory ? "memory" : "raise",
                      "the task failed, and so did describing its error",
                      started);
  }
  b->max = max;
}

/* ---- tasks ---- */

static void begin(struct buf *b, int64_t id, int64_t attempt, bool ok)
{
  mp_write_array(b, 4);
  mp_write_int(b, id);
  mp_write_int(b, attempt);
  mp_write_bool(b, ok);
}

void outcome_failure(struct buf *b, int64_t id, int64_t attempt,
                     const char *kind, const char *message, bool started)
{
  begin(b, id, attempt, false);
  outcome_put_error(b, kind, message, started);
}

void outcome_error(struct buf *b, int64_t id, int64_t attempt,
                   const struct buf *error)
{
  begin(b, id, attempt, false);
  buf_add(b, error->data, error->len);
}

void outcome_raised(struct buf *b, int64_t id, int64_t attempt, struct vm *vm,
                    lua_State *co)
{
  begin(b, id, attempt, false);
  outcome_encode_error(b, vm, co, true, true);
}

void outcome_results(struct buf *b, int64_t id, int64_t attempt, struct vm *vm,
                     lua_State *co, int nresults)
{
  struct err e;
  int first = lua_gettop(co) - nresults + 1;
  if (b->failed) return; /* what precedes the result is lost already */
  size_t start = b->len, max = b->max;
  if (nresults >= 2 && lua_isnil(co, first) && !lua_isnil(co, first + 1)) {
    begin(b, id, attempt, false);
    lua_settop(co, first + 1);
    outcome_encode_error(b, vm, co, false, true);
    return;
  }
  begin(b, id, attempt, true);
  if (nresults == 0) {
    mp_write_nil(b);
    return;
  }
  b->max = b->len + PROTOCOL_MAX_VALUE;
  int rc = codec_encode(co, first, "result", b, &e);
  b->max = max;
  if (rc == 0) return;
  b->len = start;
  b->failed = false;
  if (!strcmp(e.kind, "too_large")) /* in place of the limit of codec.c */
    err_set(&e, "too_large", "the result takes more than %d bytes",
            PROTOCOL_MAX_VALUE);
  outcome_failure(b, id, attempt, e.kind, e.text, true);
}

/* ---- events of the worker ---- */

void event_begin(struct buf *b, const struct worker_identity *worker,
                 const char *name, size_t fields)
{
  message_begin_event(b, name, worker->index, fields);
  mp_put_int(b, "generation", worker->generation);
}
