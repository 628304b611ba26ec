/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"
#include "lua/json.h"
#include "lua/value_error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- characters ---- */

static void put(struct buf *b, char c)
{
  uint8_t *to = buf_room(b, 1);
  if (!to) return;
  *to = (uint8_t)c;
  b->len++;
}

static void put_text(struct buf *b, const char *s)
{
  buf_add(b, s, strlen(s));
}

static bool is_plain(uint8_t c)
{
  return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* U+2028 and U+2029 end a line in JavaScript; U+0080 to U+009F are control
 * characters for terminals. */
static bool is_special(const uint8_t *s, size_t n)
{
  if (n == 2) return utf8_is_control(s);
  return n == 3 && s[0] == 0xe2 && s[1] == 0x80 && (s[2] & 0xfe) == 0xa8;
}

static void put_escape(struct buf *b, const uint8_t *s, size_t n)
{
  static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
  char text[8];
  for (const char *p = shorts; n == 1 && *p; p += 2) {
    if ((uint8_t)p[0] != s[0]) continue;
    put(b, '\\');
    put(b, p[1]);
    return;
  }
  unsigned code = n == 3 ? 0x2000u + (s[2] & 0x3f) : s[n - 1];
  snprintf(text, sizeof(text), "\\u%04x", code);
  put_text(b, text);
}

/* Writes the string between the quotes; writes nothing and returns false when
 * it is not UTF-8. */
static bool put_utf8(struct buf *b, const char *text, size_t len)
{
  const uint8_t *s = (const uint8_t *)text;
  const size_t start = b->len;
  size_t done = 0, i = 0;
  while (i < len) {
    if (is_plain(s[i])) {
      i++;
      continue;
    }
    size_t n = utf8_length(s + i, len - i);
    if (n == 0) {
      b->len = start;
      return false;
    }
    if (n == 1 || is_special(s + i, n)) {
      buf_add(b, s + done, i - done);
      put_escape(b, s + i, n);
      done = i + n;
    }
    i += n;
  }
  buf_add(b, s + done, len - done);
  return true;
}

/* RFC 4648, section 4. */
static void put_base64(struct buf *b, const char *text, size_t len)
{
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz0123456789+/";
  const uint8_t *s = (const uint8_t *)text;
  for (size_t i = 0; i < len; i += 3) {
    const bool second = len - i > 1, third = len - i > 2;
    uint32_t v = (uint32_t)s[i] << 16;
    if (second) v |= (uint32_t)s[i + 1] << 8;
    if (third) v |= s[i + 2];
    put(b, digits[v >> 18]);
    put(b, digits[v >> 12 & 63]);
    put(b, second ? digits[v >> 6 & 63] : '=');
    put(b, third ? digits[v & 63] : '=');
  }
}

static void write_string(struct buf *b, const char *s, size_t len)
{
  const size_t start = b->len;
  put(b, '"');
  if (put_utf8(b, s, len)) {
    put(b, '"');
    return;
  }
  b->len = start;
  put_text(b, "{\"base64\":\"");
  put_base64(b, s, len);
  put_text(b, "\"}");
}

void json_write_name(struct json_out *out, const char *s, size_t len)
{
  struct buf *b = &out->text;
  put(b, '"');
  if (!put_utf8(b, s, len)) {
    put_text(b, "base64:");
    put_base64(b, s, len);
  }
  put(b, '"');
}

/* ---- numbers ---- */

static void write_integer(struct buf *b, lua_Integer value)
{
  char text[24];
  size_t at = sizeof(text);
  lua_Unsigned v = (lua_Unsigned)value;
  if (value < 0) v = 0 - v;
  do {
    text[--at] = (char)('0' + v % 10);
    v /= 10;
  } while (v);
  if (value < 0) text[--at] = '-';
  buf_add(b, text + at, sizeof(text) - at);
}

static void write_finite(struct buf *b, lua_Number value)
{
  char text[40];
  /* whole numbers that 15 digits hold, by far the most frequent */
  if (fabs(value) < 1e15 && value == floor(value) && !signbit(value)) {
    write_integer(b, (lua_Integer)value);
    put_text(b, ".0");
    return;
  }
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, sizeof(text), "%.*g", digits, value);
    if (digits < 17 && strtod(text, NULL) == value) break;
  }
  put_text(b, text);
  if (!strpbrk(text, ".e")) put_text(b, ".0");
}

static void write_float(struct buf *b, lua_Number value)
{
  if (isnan(value))
    put_text(b, "\"NaN\"");
  else if (isinf(value))
    put_text(b, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
  else
    write_finite(b, value);
}

/* ---- values ---- */

/* The place of the text of a member, from the quote of its name to the comma
 * after its value. */
struct mark {
  size_t start, name_end, end;
};

struct writer {
  lua_State *L;
  struct json_out *out;
  const void *open[JSON_MAX_DEPTH]; /* the tables around the value */
  struct value_error error;
};

static int write_value(struct writer *w, int idx, int depth);

static int fail(struct writer *w, const char *reason)
{
  return value_error_set(&w->error, "encode", "%s", reason);
}

static int fail_memory(struct writer *w)
{
  return value_error_set(&w->error, "memory", "out of memory");
}

static int fail_type(struct writer *w, const char *what, int idx)
{
  return value_error_set(&w->error, "encode", "%s%s cannot be written as JSON",
                         what, lua_typename(w->L, lua_type(w->L, idx)));
}

/* A buf does not tell why it failed; memory hardly ever runs out before the
 * limit. */
static int fail_full(struct writer *w)
{
  return value_error_set(&w->error, "too_large",
                         "over the limit of %zu bytes, or out of memory",
                         w->out->text.max);
}

/* Whether the key at -2 is "n". Then `n` is its value, or -1 for no integer. */
static bool is_length(lua_State *L, lua_Integer *n)
{
  size_t len;
  if (lua_type(L, -2) != LUA_TSTRING) return false;
  const char *key = lua_tolstring(L, -2, &len);
  if (len != 1 || *key != 'n') return false;
  *n = lua_isinteger(L, -1) ? lua_tointegerx(L, -1, NULL) : -1;
  return true;
}

/* The length of a table that becomes an array, as an empty one does; -1 for an
 * object. */
static lua_Integer array_size(lua_State *L, int idx)
{
  lua_Integer count = 0, max = 0, length = 0;
  bool has_length = false;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_Integer i = lua_isinteger(L, -2) ? lua_tointegerx(L, -2, NULL) : 0;
    if (i < 1) {
      if (!is_length(L, &length)) {
        lua_pop(L, 2);
        return -1;
      }
      has_length = true;
    } else {
      if (i > max) max = i;
      count++;
    }
    lua_pop(L, 1);
  }
  if (has_length && (count == 0 || length < max)) return -1;
  if (has_length) max = length;
  return max - 8 <= 2 * count ? max : -1;
}

static int write_array(struct writer *w, int idx, lua_Integer n, int depth)
{
  lua_State *L = w->L;
  struct buf *b = &w->out->text;
  const int value = lua_gettop(L) + 1;
  put(b, '[');
  for (lua_Integer i = 1; i <= n; i++) {
    if (i > 1) put(b, ',');
    lua_rawgeti(L, idx, i);
    if (write_value(w, value, depth) < 0)
      return value_error_add_index(&w->error, i);
    lua_pop(L, 1);
  }
  put(b, ']');
  return 0;
}

static int write_key(struct writer *w, int idx)
{
  lua_State *L = w->L;
  struct buf *b = &w->out->text;
  size_t len;
  const char *s;
  switch (lua_type(L, idx)) {
  case LUA_TSTRING:
    s = lua_tolstring(L, idx, &len);
    json_write_name(w->out, s, len);
    return 0;
  case LUA_TNUMBER:
    put(b, '"');
    if (lua_isinteger(L, idx))
      write_integer(b, lua_tointegerx(L, idx, NULL));
    else if (isinf(lua_tonumberx(L, idx, NULL)))
      put_text(b, lua_tonumberx(L, idx, NULL) > 0 ? "Infinity" : "-Infinity");
    else
      write_finite(b, lua_tonumberx(L, idx, NULL));
    put(b, '"');
    return 0;
  case LUA_TBOOLEAN:
    put_text(b, lua_toboolean(L, idx) ? "\"true\"" : "\"false\"");
    return 0;
  default: return fail_type(w, "a key that is a ", idx);
  }
}

static int compare_marks(const void *left, const void *right, void *text)
{
  const struct mark *a = left, *b = right;
  const uint8_t *base = text;
  size_t m = a->name_end - a->start, n = b->name_end - b->start;
  int order = memcmp(base + a->start, base + b->start, m < n ? m : n);
  return order ? order : (m > n) - (m < n);
}

/* Brings the `count` members, whose text ends the buffer, into order. */
static int sort_members(struct writer *w, struct mark *marks, size_t count)
{
  struct buf *b = &w->out->text, *sorted = &w->out->sorted;
  const size_t start = marks[0].start;
  bool in_order = true;
  for (size_t i = 1; in_order && i < count; i++)
    in_order = compare_marks(&marks[i - 1], &marks[i], b->data) < 0;
  if (in_order) return 0;
  qsort_r(marks, count, sizeof(*marks), compare_marks, b->data);
  for (size_t i = 1; i < count; i++) {
    if (compare_marks(&marks[i - 1], &marks[i], b->data) != 0) continue;
    return value_error_set(&w->error, "encode",
                           "two keys are both %.*s\" in JSON",
                           (int)(marks[i].name_end - marks[i].start),
                           (const char *)b->data + marks[i].start);
  }
  buf_clear(sorted);
  for (size_t i = 0; i < count; i++)
    buf_add(sorted, b->data + marks[i].start, marks[i].end - marks[i].start);
  if (sorted->failed) return fail_memory(w);
  memcpy(b->data + start, sorted->data, sorted->len);
  return 0;
}

static int write_object(struct writer *w, int idx, int depth)
{
  lua_State *L = w->L;
  struct buf *b = &w->out->text, *marks = &w->out->marks;
  const int key = lua_gettop(L) + 1;
  const size_t first = marks->len;
  put(b, '{');
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    struct mark m = {b->len, 0, 0};
    if (write_key(w, key) < 0) return -1;
    m.name_end = b->len - 1; /* without the quote, which is above space and ! */
    put(b, ':');
    if (write_value(w, key + 1, depth) < 0)
      return value_error_add_key(&w->error, L, key);
    put(b, ',');
    m.end = b->len;
    buf_add(marks, &m, sizeof(m));
    lua_pop(L, 1);
  }
  if (b->failed) return fail_full(w);
  if (marks->failed) return fail_memory(w);
  void *at = marks->data + first;
  if (sort_members(w, at, (marks->len - first) / sizeof(struct mark)) < 0)
    return -1;
  marks->len = first;
  b->data[b->len - 1] = '}'; /* for the last comma */
  return 0;
}

static int write_table(struct writer *w, int idx, int depth)
{
  lua_State *L = w->L;
  const void *p = lua_topointer(L, idx);
  for (int i = 0; i < depth; i++)
    if (w->open[i] == p) return fail(w, "the table contains itself");
  if (depth == JSON_MAX_DEPTH)
    return fail(w, "nested too deep to be written as JSON");
  if (!lua_checkstack(L, 4)) return fail_memory(w);
  w->open[depth] = p;
  lua_Integer n = array_size(L, idx);
  if (n >= 0) return write_array(w, idx, n, depth + 1);
  return write_object(w, idx, depth + 1);
}

static int write_value(struct writer *w, int idx, int depth)
{
  lua_State *L = w->L;
  struct buf *b = &w->out->text;
  size_t len;
  const char *s;
  switch (lua_type(L, idx)) {
  case LUA_TNONE:
  case LUA_TNIL: put_text(b, "null"); break;
  case LUA_TBOOLEAN:
    put_text(b, lua_toboolean(L, idx) ? "true" : "false");
    break;
  case LUA_TNUMBER:
    if (lua_isinteger(L, idx))
      write_integer(b, lua_tointegerx(L, idx, NULL));
    else
      write_float(b, lua_tonumberx(L, idx, NULL));
    break;
  case LUA_TSTRING:
    s = lua_tolstring(L, idx, &len);
    write_string(b, s, len);
    break;
  case LUA_TTABLE: return write_table(w, idx, depth);
  default: return fail_type(w, "", idx);
  }
  return b->failed ? fail_full(w) : 0;
}

int json_write(lua_State *L, int idx, const char *root, struct json_out *out,
               struct err *e)
{
  struct writer w; /* not all set: `open` is large */
  const int top = lua_gettop(L);
  w.L = L;
  w.out = out;
  buf_clear(&out->marks);
  int rc = write_value(&w, lua_absindex(L, idx), 0);
  lua_settop(L, top);
  return rc == 0 ? 0 : value_error_report(&w.error, root, e);
}

void json_out_init(struct json_out *out, size_t max)
{
  buf_init(&out->text, max);
  buf_init(&out->marks, SIZE_MAX / 2); /* both are bounded by the text */
  buf_init(&out->sorted, SIZE_MAX / 2);
}

void json_out_reset(struct json_out *out)
{
  buf_reset(&out->text);
  buf_reset(&out->marks);
  buf_reset(&out->sorted);
}

void json_out_free(struct json_out *out)
{
  buf_free(&out->text);
  buf_free(&out->marks);
  buf_free(&out->sorted);
}
