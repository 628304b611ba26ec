/* SPDX-License-Identifier: MIT */
#include "wire/msgpack.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- reading ---- */

/* A big-endian unsigned of `width` bytes. */
static int take(struct mp_reader *r, size_t width, uint64_t *value)
{
  if ((size_t)(r->end - r->at) < width) return -1;
  uint64_t v = 0;
  for (size_t i = 0; i < width; i++) v = v << 8 | r->at[i];
  r->at += width;
  *value = v;
  return 0;
}

static int set_int(struct mp_token *t, int64_t value)
{
  t->type = MP_INT;
  t->u.integer = value;
  return 0;
}

static int set_bytes(struct mp_reader *r, struct mp_token *t, enum mp_type type,
                     uint64_t len)
{
  if ((size_t)(r->end - r->at) < len) return -1;
  t->type = type;
  t->u.bytes.data = r->at;
  t->u.bytes.len = (size_t)len;
  r->at += len;
  return 0;
}

/* Every element takes a byte at least, so a larger count is a lie. */
static int set_count(const struct mp_reader *r, struct mp_token *t,
                     enum mp_type type, uint64_t count)
{
  size_t left = (size_t)(r->end - r->at);
  if (count > (type == MP_MAP ? left / 2 : left)) return -1;
  t->type = type;
  t->u.count = (uint32_t)count;
  return 0;
}

static int read_uint(struct mp_reader *r, struct mp_token *t, size_t width)
{
  uint64_t v;
  if (take(r, width, &v) < 0) return -1;
  if (v <= INT64_MAX) return set_int(t, (int64_t)v);
  t->type = MP_UINT;
  t->u.unsigned_integer = v;
  return 0;
}

static int read_int(struct mp_reader *r, struct mp_token *t, size_t width)
{
  uint64_t v;
  if (take(r, width, &v) < 0) return -1;
  uint64_t sign = (uint64_t)1 << (8 * width - 1);
  return set_int(t, (int64_t)((v ^ sign) - sign));
}

static int read_float(struct mp_reader *r, struct mp_token *t, size_t width)
{
  uint64_t v;
  if (take(r, width, &v) < 0) return -1;
  t->type = MP_FLOAT;
  if (width == 4) {
    uint32_t bits = (uint32_t)v;
    float number;
    memcpy(&number, &bits, sizeof(number));
    t->u.number = (double)number;
  } else {
    memcpy(&t->u.number, &v, sizeof(v));
  }
  return 0;
}

static int read_bytes(struct mp_reader *r, struct mp_token *t,
                      enum mp_type type, size_t width)
{
  uint64_t len;
  if (take(r, width, &len) < 0) return -1;
  return set_bytes(r, t, type, len);
}

static int read_count(struct mp_reader *r, struct mp_token *t,
                      enum mp_type type, size_t width)
{
  uint64_t count;
  if (take(r, width, &count) < 0) return -1;
  return set_count(r, t, type, count);
}

static int read_ext(struct mp_reader *r, struct mp_token *t, uint64_t len)
{
  uint64_t type;
  if (take(r, 1, &type) < 0) return -1;
  t->u.bytes.ext_type = (int8_t)(uint8_t)type;
  return set_bytes(r, t, MP_EXT, len);
}

/* The formats 0xc0 .. 0xdf, whose first byte carries no value. */
static int read_tagged(struct mp_reader *r, struct mp_token *t, uint8_t tag)
{
  uint64_t len;
  switch (tag) {
  case 0xc0: t->type = MP_NIL; return 0;
  case 0xc2:
  case 0xc3:
    t->type = MP_BOOL;
    t->u.boolean = tag == 0xc3;
    return 0;
  case 0xc4:
  case 0xc5:
  case 0xc6: return read_bytes(r, t, MP_BIN, (size_t)1 << (tag - 0xc4));
  case 0xc7:
  case 0xc8:
  case 0xc9:
    if (take(r, (size_t)1 << (tag - 0xc7), &len) < 0) return -1;
    return read_ext(r, t, len);
  case 0xca: return read_float(r, t, 4);
  case 0xcb: return read_float(r, t, 8);
  case 0xcc:
  case 0xcd:
  case 0xce:
  case 0xcf: return read_uint(r, t, (size_t)1 << (tag - 0xcc));
  case 0xd0:
  case 0xd1:
  case 0xd2:
  case 0xd3: return read_int(r, t, (size_t)1 << (tag - 0xd0));
  case 0xd4:
  case 0xd5:
  case 0xd6:
  case 0xd7:
  case 0xd8: return read_ext(r, t, (uint64_t)1 << (tag - 0xd4));
  case 0xd9:
  case 0xda:
  case 0xdb: return read_bytes(r, t, MP_STR, (size_t)1 << (tag - 0xd9));
  case 0xdc: return read_count(r, t, MP_ARRAY, 2);
  case 0xdd: return read_count(r, t, MP_ARRAY, 4);
  case 0xde: return read_count(r, t, MP_MAP, 2);
  case 0xdf: return read_count(r, t, MP_MAP, 4);
  default: return -1; /* 0xc1, never used */
  }
}

int mp_read(struct mp_reader *r, struct mp_token *t)
{
  if (r->at == r->end) return 1;
  struct mp_reader in = *r;
  uint8_t tag = *in.at++;
  int rc;
  if (tag <= 0x7f) {
    rc = set_int(t, tag);
  } else if (tag <= 0x8f) {
    rc = set_count(&in, t, MP_MAP, tag & 0x0f);
  } else if (tag <= 0x9f) {
    rc = set_count(&in, t, MP_ARRAY, tag & 0x0f);
  } else if (tag <= 0xbf) {
    rc = set_bytes(&in, t, MP_STR, tag & 0x1f);
  } else if (tag <= 0xdf) {
    rc = read_tagged(&in, t, tag);
  } else {
    rc = set_int(t, tag - 0x100);
  }
  if (rc == 0) *r = in;
  return rc;
}

int mp_read_array(struct mp_reader *r, uint32_t *count)
{
  struct mp_reader in = *r;
  struct mp_token t;
  if (mp_read(&in, &t) != 0 || t.type != MP_ARRAY) return -1;
  *count = t.u.count;
  *r = in;
  return 0;
}

int mp_read_int(struct mp_reader *r, int64_t *value)
{
  struct mp_reader in = *r;
  struct mp_token t;
  if (mp_read(&in, &t) != 0 || t.type != MP_INT) return -1;
  *value = t.u.integer;
  *r = in;
  return 0;
}

int mp_read_bytes(struct mp_reader *r, const uint8_t **data, size_t *len)
{
  struct mp_reader in = *r;
  struct mp_token t;
  if (mp_read(&in, &t) != 0) return -1;
  if (t.type != MP_STR && t.type != MP_BIN) return -1;
  *data = t.u.bytes.data;
  *len = t.u.bytes.len;
  *r = in;
  return 0;
}

int mp_read_seconds(struct mp_reader *r, double *seconds)
{
  struct mp_token t;
  if (mp_read(r, &t) != 0 || (t.type != MP_INT && t.type != MP_FLOAT))
    return -1;
  *seconds = t.type == MP_INT ? (double)t.u.integer : t.u.number;
  return *seconds >= 0 && *seconds <= 1e9 ? 0 : -1; /* NaN: no */
}

int mp_skip(struct mp_reader *r)
{
  struct mp_reader in = *r;
  struct mp_token t;
  /* Values still to come take a byte each at least; the test keeps `wanted`
   * from growing without bound. */
  for (uint64_t wanted = 1; wanted > 0; wanted--) {
    if (wanted > (uint64_t)(in.end - in.at)) return -1;
    if (mp_read(&in, &t) != 0) return -1;
    if (t.type == MP_ARRAY) wanted += t.u.count;
    if (t.type == MP_MAP) wanted += 2 * (uint64_t)t.u.count;
  }
  *r = in;
  return 0;
}

/* ---- writing ---- */

/* A tag and a big-endian unsigned of `width` bytes, followed by room for
 * `extra` bytes: where they go, or NULL. All or nothing. */
static uint8_t *put(struct buf *b, uint8_t tag, size_t width, uint64_t value,
                    size_t extra)
{
  uint8_t *to = buf_room(b, 1 + width + extra);
  if (!to) return NULL;
  *to++ = tag;
  for (size_t i = width; i > 0; i--, value >>= 8) to[i - 1] = (uint8_t)value;
  b->len += 1 + width + extra;
  return to + width;
}

static void put_bytes(struct buf *b, uint8_t tag, size_t width,
                      const void *data, size_t len)
{
  uint8_t *to = put(b, tag, width, len, len);
  if (to && len) memcpy(to, data, len);
}

/* The smallest of 1, 2 and 4 bytes that holds `value`, as a power of two. */
static unsigned size_class(size_t value)
{
  return value <= UINT8_MAX ? 0 : value <= UINT16_MAX ? 1 : 2;
}

/* MessagePack has no length above 32 bits. */
static bool too_long(struct buf *b, size_t len)
{
  if (len > UINT32_MAX) b->failed = true;
  return b->failed;
}

void mp_write_nil(struct buf *b)
{
  put(b, 0xc0, 0, 0, 0);
}

void mp_write_bool(struct buf *b, bool value)
{
  put(b, value ? 0xc3 : 0xc2, 0, 0, 0);
}

static void write_uint(struct buf *b, uint64_t v)
{
  if (v <= 0x7f) {
    put(b, (uint8_t)v, 0, 0, 0);
  } else if (v <= UINT8_MAX) {
    put(b, 0xcc, 1, v, 0);
  } else if (v <= UINT16_MAX) {
    put(b, 0xcd, 2, v, 0);
  } else if (v <= UINT32_MAX) {
    put(b, 0xce, 4, v, 0);
  } else {
    put(b, 0xcf, 8, v, 0);
  }
}

void mp_write_int(struct buf *b, int64_t value)
{
  uint64_t v = (uint64_t)value;
  if (value >= 0) {
    write_uint(b, v);
  } else if (value >= -32) {
    put(b, (uint8_t)v, 0, 0, 0);
  } else if (value >= INT8_MIN) {
    put(b, 0xd0, 1, v, 0);
  } else if (value >= INT16_MIN) {
    put(b, 0xd1, 2, v, 0);
  } else if (value >= INT32_MIN) {
    put(b, 0xd2, 4, v, 0);
  } else {
    put(b, 0xd3, 8, v, 0);
  }
}

void mp_write_float(struct buf *b, double value)
{
  uint64_t bits;
  bool fits = isinf(value) || fabs(value) <= (double)FLT_MAX; /* NaN: no */
  if (fits && (double)(float)value == value) {
    float number = (float)value;
    uint32_t narrow;
    memcpy(&narrow, &number, sizeof(narrow));
    put(b, 0xca, 4, narrow, 0);
    return;
  }
  memcpy(&bits, &value, sizeof(bits));
  put(b, 0xcb, 8, bits, 0);
}

void mp_write_str(struct buf *b, const void *data, size_t len)
{
  if (too_long(b, len)) return;
  if (len < 32) {
    uint8_t *to = put(b, (uint8_t)(0xa0 | len), 0, 0, len);
    if (to && len) memcpy(to, data, len);
    return;
  }
  unsigned c = size_class(len);
  put_bytes(b, (uint8_t)(0xd9 + c), (size_t)1 << c, data, len);
}

void mp_write_cstr(struct buf *b, const char *s)
{
  mp_write_str(b, s, strlen(s));
}

void mp_write_bin(struct buf *b, const void *data, size_t len)
{
  if (too_long(b, len)) return;
  unsigned c = size_class(len);
  put_bytes(b, (uint8_t)(0xc4 + c), (size_t)1 << c, data, len);
}

void mp_write_bin_head(struct buf *b, size_t len)
{
  if (too_long(b, len)) return;
  unsigned c = size_class(len);
  put(b, (uint8_t)(0xc4 + c), (size_t)1 << c, len, 0);
}

static void write_count(struct buf *b, uint8_t fix, uint8_t tag, size_t count)
{
  if (too_long(b, count)) return;
  if (count < 16) {
    put(b, (uint8_t)(fix | count), 0, 0, 0);
  } else if (count <= UINT16_MAX) {
    put(b, tag, 2, count, 0);
  } else {
    put(b, (uint8_t)(tag + 1), 4, count, 0);
  }
}

void mp_write_array(struct buf *b, size_t count)
{
  write_count(b, 0x90, 0xdc, count);
}

void mp_write_map(struct buf *b, size_t count)
{
  write_count(b, 0x80, 0xde, count);
}

void mp_put_int(struct buf *b, const char *key, int64_t value)
{
  mp_write_cstr(b, key);
  mp_write_int(b, value);
}

void mp_put_str(struct buf *b, const char *key, const char *value)
{
  mp_write_cstr(b, key);
  mp_write_cstr(b, value);
}

void mp_put_float(struct buf *b, const char *key, double value)
{
  mp_write_cstr(b, key);
  mp_write_float(b, value);
}
