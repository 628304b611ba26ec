/* SPDX-License-Identifier: MIT */
#include "worker/outcome.h"

#include "lua/codec.h"
#include "wire/message.h"
#include "wire/protocol.h"

#include <string.h>

/* ---- errors ---- */

struct error_source {
  lua_State *co;  /* the error value is on top of its stack */
  bool traceback; /* the traceback is below it */
  bool started;   /* the task ran */
  struct buf *out;
};

/* LJMP: encodes an error table that the job made, or a description of any other
 * value; see lua/fleet/worker/failure.lua. */
LJMP static int l_encode_error(lua_State *L)
{
  struct error_source *s = vm_arg(L);
  struct err e;
  luaL_checkstack(L, 8, "error");
  if (!lua_checkstack(s->co, 2)) return luaL_error(L, "stack overflow");
  lua_pushvalue(s->co, -1);
  lua_xmove(s->co, L, 1);
  if (lua_istable(L, 2)) {
    vm_push_library(L, "fleet.worker.failure", "copy");
    lua_pushvalue(L, 2);
    lua_pushboolean(L, s->started);
    lua_call(L, 2, 1);
    if (!lua_isnil(L, 3) && codec_encode(L, 3, "error", s->out, &e) == 0)
      return 0;
  }
  vm_push_library(L, "fleet.worker.failure", "describe");
  lua_pushvalue(L, 2);
  lua_pushnil(L);
  if (s->traceback) {
    lua_pushvalue(s->co, -2);
    lua_xmove(s->co, L, 1);
    lua_replace(L, -2);
  }
  lua_pushboolean(L, s->started);
  lua_call(L, 3, 1);
  if (codec_encode(L, -1, "error", s->out, &e) < 0)
    return luaL_error(L, "%s", e.text);
  return 0;
}

void outcome_put_error(struct buf *b, const char *kind, const char *message,
                       bool started)
{
  mp_write_map(b, 3);
  mp_put_str(b, "kind", kind);
  mp_put_str(b, "message", message);
  mp_put_str(b, "applied", started ? "yes" : "no");
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
  if (vm_pcall(vm, l_encode_error, &s, &e) < 0) {
    /* __tostring raised, it is too large, or memory is out */
    bool memory = !b->failed && !strcmp(e.kind, "memory");
    b->len = start;
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
  b->failed |= error->failed;
  buf_add(b, error->data, error->len);
}

void outcome_raised(struct buf *b, int64_t id, int64_t attempt, struct vm *vm,
                    lua_State *co)
{
  begin(b, id, attempt, false);
  outcome_encode_error(b, vm, co, true, true);
}

bool outcome_results(struct buf *b, int64_t id, int64_t attempt, struct vm *vm,
                     lua_State *co, int nresults)
{
  struct err e;
  int first = lua_gettop(co) - nresults + 1;
  if (b->failed) return false; /* what precedes the result is lost already */
  size_t start = b->len, max = b->max;
  if (nresults >= 2 && lua_isnil(co, first) && !lua_isnil(co, first + 1)) {
    begin(b, id, attempt, false);
    lua_settop(co, first + 1);
    outcome_encode_error(b, vm, co, false, true);
    return false;
  }
  begin(b, id, attempt, true);
  if (nresults == 0) {
    mp_write_nil(b);
    return true;
  }
  b->max = b->len + PROTOCOL_MAX_VALUE;
  int rc = codec_encode(co, first, "result", b, &e);
  b->max = max;
  if (rc == 0) return true;
  b->len = start;
  b->failed = false;
  if (!strcmp(e.kind, "too_large")) /* in place of the limit of codec.c */
    err_set(&e, "too_large", "the result takes more than %d bytes",
            PROTOCOL_MAX_VALUE);
  outcome_failure(b, id, attempt, e.kind, e.text, true);
  return false;
}

/* ---- events of the worker ---- */

void event_begin(struct buf *b, const struct worker_identity *worker,
                 const char *name, size_t fields)
{
  message_begin_event(b, name, worker->index, fields);
  mp_put_int(b, "generation", worker->generation);
}
