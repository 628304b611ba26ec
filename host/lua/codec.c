/* SPDX-License-Identifier: MIT */
#include "lua/codec.h"
#include "lua/value_error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Slots of a table that are allocated before its elements have come. */
enum { PREALLOCATE_MAX = 64 * 1024 };

/* ---- the set of tables met so far ---- */

enum { SEEN_FEW = 32 };

/* A hash table of open addressing, at least half empty. Small ones need no
 * memory of their own. */
struct seen {
  size_t count;
  size_t slots; /* a power of two */
  const void **table;
  const void *few[SEEN_FEW];
};

static void seen_init(struct seen *s)
{
  memset(s, 0, sizeof(*s));
  s->slots = SEEN_FEW;
  s->table = s->few;
}

/* The slot that holds `p`, or the free one where it belongs. */
static const void **seen_slot(const void **table, size_t slots, const void *p)
{
  uint64_t hash = (uint64_t)(uintptr_t)p * UINT64_C(0x9e3779b97f4a7c15);
  size_t i = (size_t)(hash >> 32) & (slots - 1);
  while (table[i] && table[i] != p) i = (i + 1) & (slots - 1);
  return &table[i];
}

static void seen_free(struct seen *s)
{
  if (s->table != s->few) free(s->table);
}

static int seen_grow(struct seen *s)
{
  const size_t slots = 2 * s->slots;
  const void **table = calloc(slots, sizeof(*table));
  if (!table) return -1;
  for (size_t i = 0; i < s->slots; i++)
    if (s->table[i]) *seen_slot(table, slots, s->table[i]) = s->table[i];
  seen_free(s);
  s->table = table;
  s->slots = slots;
  return 0;
}

/* 0: added; 1: it was there; -1: out of memory. */
static int seen_add(struct seen *s, const void *p)
{
  if (2 * s->count >= s->slots && seen_grow(s) < 0) return -1;
  const void **slot = seen_slot(s->table, s->slots, p);
  if (*slot) return 1;
  *slot = p;
  s->count++;
  return 0;
}

/* ---- encoding ---- */

struct encoder {
  lua_State *L;
  struct buf *out;
  struct seen seen;
  const void *twice;  /* the table that was met again, once that happened */
  const void *target; /* stop at this table: see report_twice */
  struct value_error error;
};

static int encode_value(struct encoder *c, int idx, int depth);

/* A buf does not tell why it failed: it was the limit unless what was being
 * added, with the longest head there is, would have fitted. */
static int fail_full(struct encoder *c, size_t adding)
{
  const size_t head = 9;
  const struct buf *out = c->out;
  if (out->max - out->len >= head && out->max - out->len - head >= adding)
    return value_error_set(&c->error, "memory", "out of memory");
  return value_error_set(&c->error, "too_large",
                         "over the limit of %zu bytes for the whole value",
                         out->max);
}

/* Writes the value, if there is room, unless it needs a walk; then returns
 * false.
 */
static bool write_scalar(lua_State *L, int idx, struct buf *out)
{
  size_t len;
  const char *s;
  switch (lua_type(L, idx)) {
  case LUA_TNONE:
  case LUA_TNIL: mp_write_nil(out); return true;
  case LUA_TBOOLEAN: mp_write_bool(out, lua_toboolean(L, idx)); return true;
  case LUA_TNUMBER:
    if (lua_isinteger(L, idx))
      mp_write_int(out, lua_tointegerx(L, idx, NULL));
    else
      mp_write_float(out, lua_tonumberx(L, idx, NULL));
    return true;
  case LUA_TSTRING:
    s = lua_tolstring(L, idx, &len);
    mp_write_str(out, s, len);
    return true;
  default: return false;
  }
}

/* Whether the keys are exactly 1..n, where n > 0 is a border of the table:
 * n keys, each an integer in that range. */
static bool is_list(lua_State *L, int idx, lua_Unsigned n)
{
  lua_Unsigned count = 0;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    if (!lua_isinteger(L, -1) ||
        (lua_Unsigned)lua_tointegerx(L, -1, NULL) - 1 >= n) {
      lua_pop(L, 1);
      return false;
    }
    count++;
  }
  return count == n;
}

static int encode_list(struct encoder *c, int idx, lua_Integer n, int depth)
{
  lua_State *L = c->L;
  const int value = lua_gettop(L) + 1;
  mp_write_array(c->out, (size_t)n);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, idx, i);
    if (encode_value(c, value, depth) < 0)
      return value_error_add_index(&c->error, i);
    lua_pop(L, 1);
  }
  return 0;
}

/* The pairs are written behind a head of one byte, before their number is
 * known. Puts the right head there. */
static void set_map_head(struct buf *out, size_t at, size_t count)
{
  if (count == 0) {
    out->data[at] = 0x90; /* an empty table is an empty array */
  } else if (count < 16) {
    out->data[at] = (uint8_t)(0x80 | count);
  } else {
    size_t extra = count <= UINT16_MAX ? 2 : 4;
    size_t body = out->len - at - 1;
    if (count > UINT32_MAX) out->failed = true;
    if (!buf_room(out, extra)) return;
    memmove(out->data + at + 1 + extra, out->data + at + 1, body);
    out->len = at;
    mp_write_map(out, count); /* cannot fail: 1 + extra bytes, there already */
    out->len += body;
  }
}

static int encode_map(struct encoder *c, int idx, int depth)
{
  lua_State *L = c->L;
  struct buf *out = c->out;
  const int key = lua_gettop(L) + 1;
  size_t at = out->len, count = 0;
  mp_write_map(out, 0);
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    if (!write_scalar(L, key, out))
      return value_error_set(&c->error, "encode",
                             "a key that is a %s cannot be sent",
                             lua_typename(L, lua_type(L, key)));
    /* a key that found no room is noticed with its value */
    if (encode_value(c, key + 1, depth) < 0)
      return value_error_add_key(&c->error, L, key);
    lua_pop(L, 1);
    count++;
  }
  if (!out->failed) set_map_head(out, at, count);
  return out->failed ? fail_full(c, 0) : 0;
}

static int encode_table(struct encoder *c, int idx, int depth)
{
  lua_State *L = c->L;
  const void *p = lua_topointer(L, idx);
  if (depth > CODEC_MAX_DEPTH)
    return value_error_set(&c->error, "encode", "nested too deep to be sent");
  if (!lua_checkstack(L, 4))
    return value_error_set(&c->error, "memory", "out of memory");
  if (p == c->target) return value_error_set(&c->error, "encode", "met");
  switch (seen_add(&c->seen, p)) {
  case 0: break;
  case 1: c->twice = p; return value_error_set(&c->error, "encode", "met");
  default: return value_error_set(&c->error, "memory", "out of memory");
  }
  lua_Unsigned n = lua_rawlen(L, idx);
  if (n > 0 && is_list(L, idx, n))
    return encode_list(c, idx, (lua_Integer)n, depth + 1);
  return encode_map(c, idx, depth + 1);
}

static int encode_value(struct encoder *c, int idx, int depth)
{
  lua_State *L = c->L;
  if (write_scalar(L, idx, c->out)) {
    if (!c->out->failed) return 0;
    bool text = lua_type(L, idx) == LUA_TSTRING;
    return fail_full(c, text ? (size_t)lua_rawlen(L, idx) : 0);
  }
  if (lua_istable(L, idx)) return encode_table(c, idx, depth);
  return value_error_set(&c->error, "encode", "%s cannot be sent",
                         lua_typename(L, lua_type(L, idx)));
}

static int encode(struct encoder *c, int idx)
{
  seen_init(&c->seen);
  int rc = encode_value(c, idx, 1);
  seen_free(&c->seen);
  return rc;
}

/* Finds the place where the table was met first by the same walk again. */
static int report_twice(struct encoder *c, int idx, const char *root,
                        struct err *e)
{
  char here[VALUE_PATH_SIZE], first[VALUE_PATH_SIZE];
  value_error_path(&c->error, root, here);
  c->target = c->twice;
  encode(c, idx);
  return err_set(e, "encode",
                 "%.100s: the same table as %.100s cannot be sent twice", here,
                 value_error_path(&c->error, root, first));
}

int codec_encode(lua_State *L, int idx, const char *root, struct buf *out,
                 struct err *e)
{
  const size_t start = out->len;
  const bool failed = out->failed;
  if (write_scalar(L, idx, out) && !out->failed) return 0;

  const int top = lua_gettop(L);
  struct encoder c;
  c.L = L;
  c.out = out;
  c.twice = c.target = NULL;
  idx = lua_absindex(L, idx);
  if (encode(&c, idx) == 0) return 0;
  lua_settop(L, top);
  if (c.twice)
    report_twice(&c, idx, root, e);
  else
    value_error_report(&c.error, root, e);
  lua_settop(L, top);
  out->len = start;
  out->failed = failed;
  return -1;
}

/* ---- decoding ---- */

struct decoder {
  lua_State *L;
  struct mp_reader *r;
  size_t owed; /* values still to come for unfinished tables */
  const char *kind, *reason;
};

static int push_value(struct decoder *d, int depth);

static int fail(struct decoder *d, const char *kind, const char *reason)
{
  d->kind = kind;
  d->reason = reason;
  return -1;
}

/* LJMP: pushes a table to which `values` values are to be added. All unfinished
 * tables together may not claim more values than there are bytes, so that the
 * memory allocated in advance is bounded by the input's size. */
LJMP static int push_table(struct decoder *d, size_t values, size_t list,
                           size_t map, int depth)
{
  size_t left = (size_t)(d->r->end - d->r->at);
  if (depth > CODEC_MAX_DEPTH) return fail(d, "decode", "nested too deep");
  if (d->owed > left || values > left - d->owed)
    return fail(d, "decode", "cut or malformed MessagePack");
  if (!lua_checkstack(d->L, 4)) return fail(d, "memory", "out of memory");
  d->owed += values;
  if (list > PREALLOCATE_MAX) list = PREALLOCATE_MAX;
  if (map > PREALLOCATE_MAX) map = PREALLOCATE_MAX;
  lua_createtable(d->L, (int)list, (int)map);
  return 0;
}

LJMP static int push_list(struct decoder *d, size_t count, int depth)
{
  if (push_table(d, count, count, 0, depth) < 0) return -1;
  for (size_t i = 1; i <= count; i++) {
    d->owed--;
    if (push_value(d, depth + 1) < 0) return -1;
    lua_rawseti(d->L, -2, (lua_Integer)i);
  }
  return 0;
}

static bool is_key(lua_State *L, int idx)
{
  switch (lua_type(L, idx)) {
  case LUA_TBOOLEAN:
  case LUA_TSTRING: return true;
  case LUA_TNUMBER: return !isnan(lua_tonumberx(L, idx, NULL));
  default: return false;
  }
}

LJMP static int push_map(struct decoder *d, size_t count, int depth)
{
  if (push_table(d, 2 * count, 0, count, depth) < 0) return -1;
  for (size_t i = 0; i < count; i++) {
    d->owed--;
    if (push_value(d, depth + 1) < 0) return -1;
    if (!is_key(d->L, -1))
      return fail(d, "decode", "a map key that Lua cannot have");
    d->owed--;
    if (push_value(d, depth + 1) < 0) return -1;
    lua_rawset(d->L, -3);
  }
  return 0;
}

/* LJMP [-0, +1]; on failure -1, with unfinished tables left on the stack. */
LJMP static int push_value(struct decoder *d, int depth)
{
  lua_State *L = d->L;
  struct mp_token t;
  if (mp_read(d->r, &t) != 0)
    return fail(d, "decode", "cut or malformed MessagePack");
  switch (t.type) {
  case MP_NIL: lua_pushnil(L); return 0;
  case MP_BOOL: lua_pushboolean(L, t.u.boolean); return 0;
  case MP_INT: lua_pushinteger(L, t.u.integer); return 0;
  case MP_FLOAT: lua_pushnumber(L, t.u.number); return 0;
  case MP_STR:
  case MP_BIN:
    lua_pushlstring(L, (const char *)t.u.bytes.data, t.u.bytes.len);
    return 0;
  case MP_ARRAY: return push_list(d, t.u.count, depth);
  case MP_MAP: return push_map(d, t.u.count, depth);
  case MP_UINT: return fail(d, "decode", "an integer above 63 bits");
  default: return fail(d, "decode", "an extension type");
  }
}

LJMP int codec_decode(lua_State *L, struct mp_reader *r, struct err *e)
{
  if (r->at == r->end) return 1;
  const uint8_t *start = r->at;
  const int top = lua_gettop(L);
  struct decoder d = {L, r, 0, NULL, NULL};
  if (push_value(&d, 1) == 0) return 0;
  lua_settop(L, top);
  return err_set(e, d.kind, "%s at byte %zu", d.reason,
                 (size_t)(r->at - start));
}
