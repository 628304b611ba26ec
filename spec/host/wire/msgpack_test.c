/* SPDX-License-Identifier: MIT */
/* host/wire/msgpack.c against libmsgpack-c, which shares no code with it: the
 * same bytes written, the same values read, the same inputs refused. Its
 * <msgpack.h> would be ours, hence the single headers. */
#include "../test.h"
#include "wire/msgpack.h"

#include <math.h>
#include <msgpack/pack.h>
#include <msgpack/sbuffer.h>
#include <msgpack/unpack.h>
#include <stdlib.h>
#include <string.h>

extern const struct test msgpack_tests[];

/* ---- random values, written by both ---- */

struct pair {
  struct buf ours;
  msgpack_sbuffer theirs;
  msgpack_packer packer;
  uint64_t random;
};

static void pair_init(struct pair *p, uint64_t seed)
{
  buf_init(&p->ours, SIZE_MAX);
  msgpack_sbuffer_init(&p->theirs);
  msgpack_packer_init(&p->packer, &p->theirs, msgpack_sbuffer_write);
  p->random = seed;
}

static void pair_free(struct pair *p)
{
  buf_free(&p->ours);
  msgpack_sbuffer_destroy(&p->theirs);
}

static uint64_t below(struct pair *p, uint64_t n)
{
  return test_random(&p->random) % n;
}

/* Numbers of every size with the borders of the formats among them. */
static int64_t random_int(struct pair *p)
{
  uint64_t v = test_random(&p->random) >> below(p, 64);
  if (below(p, 2)) v = ((uint64_t)1 << below(p, 64)) + below(p, 3) - 1;
  return (int64_t)(below(p, 2) ? v : 0 - v);
}

static void write_float(struct pair *p)
{
  uint64_t bits = test_random(&p->random);
  double value;
  memcpy(&value, &bits, sizeof(value));
  if (below(p, 2)) value = (double)(int64_t)bits / 1024;
  if (below(p, 2)) value = (double)(int8_t)bits / 4;
  mp_write_float(&p->ours, value);
  /* theirs does not choose the shorter form by itself */
  if (isinf(value) || (fabs(value) < 3e38 && (double)(float)value == value))
    msgpack_pack_float(&p->packer, (float)value);
  else
    msgpack_pack_double(&p->packer, value);
}

static void write_bytes(struct pair *p, bool text)
{
  static const size_t sizes[] = {31, 32, 33, 255, 256, 257};
  static const char data[300];
  size_t len = (size_t)below(p, 16);
  if (below(p, 8) == 0) len = sizes[below(p, 6)];
  if (text) {
    mp_write_str(&p->ours, data, len);
    msgpack_pack_str_with_body(&p->packer, data, len);
  } else {
    mp_write_bin(&p->ours, data, len);
    msgpack_pack_bin_with_body(&p->packer, data, len);
  }
}

static void write_random(struct pair *p, int depth)
{
  size_t n = (size_t)(below(p, 40) ? below(p, 5) : 14 + below(p, 4));
  int64_t i;
  switch (below(p, depth > 0 ? 9 : 6)) {
  case 0:
    mp_write_nil(&p->ours);
    msgpack_pack_nil(&p->packer);
    return;
  case 1:
    mp_write_bool(&p->ours, n & 1);
    if (n & 1)
      msgpack_pack_true(&p->packer);
    else
      msgpack_pack_false(&p->packer);
    return;
  case 2:
  case 3:
    i = random_int(p);
    mp_write_int(&p->ours, i);
    msgpack_pack_int64(&p->packer, i);
    return;
  case 4: write_float(p); return;
  case 5: write_bytes(p, n & 1); return;
  case 6:
  case 7:
    mp_write_array(&p->ours, n);
    msgpack_pack_array(&p->packer, n);
    break;
  default:
    mp_write_map(&p->ours, n);
    msgpack_pack_map(&p->packer, n);
    n *= 2;
  }
  while (n-- > 0) write_random(p, depth - 1);
}

/* ---- what both read ---- */

static bool same_bytes(const struct mp_token *t, const char *data, size_t len)
{
  return t->u.bytes.len == len && (!len || !memcmp(t->u.bytes.data, data, len));
}

/* Whether the next value of `r` is `o`. */
static bool same_value(struct mp_reader *r, const msgpack_object *o)
{
  struct mp_token t;
  if (mp_read(r, &t) != 0) return false;
  switch (o->type) {
  case MSGPACK_OBJECT_NIL: return t.type == MP_NIL;
  case MSGPACK_OBJECT_BOOLEAN:
    return t.type == MP_BOOL && t.u.boolean == o->via.boolean;
  case MSGPACK_OBJECT_POSITIVE_INTEGER:
    if (o->via.u64 > INT64_MAX)
      return t.type == MP_UINT && t.u.unsigned_integer == o->via.u64;
    return t.type == MP_INT && t.u.integer == (int64_t)o->via.u64;
  case MSGPACK_OBJECT_NEGATIVE_INTEGER:
    return t.type == MP_INT && t.u.integer == o->via.i64;
  case MSGPACK_OBJECT_FLOAT32:
  case MSGPACK_OBJECT_FLOAT64:
    return t.type == MP_FLOAT && (t.u.number == o->via.f64 ||
                                  (isnan(t.u.number) && isnan(o->via.f64)));
  case MSGPACK_OBJECT_STR:
    return t.type == MP_STR && same_bytes(&t, o->via.str.ptr, o->via.str.size);
  case MSGPACK_OBJECT_BIN:
    return t.type == MP_BIN && same_bytes(&t, o->via.bin.ptr, o->via.bin.size);
  case MSGPACK_OBJECT_EXT:
    return t.type == MP_EXT && t.u.bytes.ext_type == o->via.ext.type &&
           same_bytes(&t, o->via.ext.ptr, o->via.ext.size);
  case MSGPACK_OBJECT_ARRAY:
    if (t.type != MP_ARRAY || t.u.count != o->via.array.size) return false;
    for (uint32_t i = 0; i < o->via.array.size; i++)
      if (!same_value(r, &o->via.array.ptr[i])) return false;
    return true;
  case MSGPACK_OBJECT_MAP:
    if (t.type != MP_MAP || t.u.count != o->via.map.size) return false;
    for (uint32_t i = 0; i < o->via.map.size; i++)
      if (!same_value(r, &o->via.map.ptr[i].key) ||
          !same_value(r, &o->via.map.ptr[i].val))
        return false;
    return true;
  default: return false;
  }
}

/* Both read `len` bytes the same way: one value of the same extent, or none.
 * The copy has its exact size, for the address sanitizer. */
static void compare_reading(struct test_run *t, const void *bytes, size_t len)
{
  uint8_t *copy = malloc(len ? len : 1);
  if (!CHECK(t, copy)) return;
  if (len) memcpy(copy, bytes, len);
  struct mp_reader r = {copy, copy + len}, skip = r;
  size_t off = 0;
  msgpack_unpacked u;
  msgpack_unpacked_init(&u);
  int theirs = msgpack_unpack_next(&u, (const char *)copy, len, &off);
  int ours = mp_skip(&skip);
  if (theirs == MSGPACK_UNPACK_SUCCESS) {
    CHECK_INT(t, ours, 0);
    CHECK_INT(t, skip.at - copy, off);
    CHECK(t, same_value(&r, &u.data));
    CHECK(t, r.at == skip.at);
  } else {
    CHECK_INT(t, ours, -1);
    CHECK(t, skip.at == copy);
  }
  msgpack_unpacked_destroy(&u);
  free(copy);
}

/* ---- tests ---- */

static void test_random_trees(struct test_run *t)
{
  for (uint64_t seed = 0; seed < 100000 && !t->failures; seed++) {
    struct pair p;
    pair_init(&p, seed);
    write_random(&p, 4);
    CHECK_BYTES(t, p.ours.data, p.ours.len, p.theirs.data, p.theirs.size);
    compare_reading(t, p.theirs.data, p.theirs.size);
    pair_free(&p);
  }
}

/* Theirs allocates by the counts of 32 bits that it meets. */
static bool has_wide_count(const struct buf *b)
{
  return memchr(b->data, 0xdd, b->len) || memchr(b->data, 0xdf, b->len);
}

/* Bytes changed at random reach the forms that no writer picks. */
static void test_changed_bytes(struct test_run *t)
{
  for (uint64_t seed = 0; seed < 100000 && !t->failures; seed++) {
    struct pair p;
    pair_init(&p, seed);
    write_random(&p, 2);
    for (uint64_t n = 1 + below(&p, 3); n > 0; n--) {
      uint8_t with =
          (uint8_t)(below(&p, 2) ? 0xc0 + below(&p, 32) : below(&p, 256));
      p.ours.data[below(&p, p.ours.len)] = with;
    }
    if (!has_wide_count(&p.ours)) compare_reading(t, p.ours.data, p.ours.len);
    pair_free(&p);
  }
}

static void test_every_cut(struct test_run *t)
{
  for (uint64_t seed = 0; seed < 2000 && !t->failures; seed++) {
    struct pair p;
    pair_init(&p, seed);
    write_random(&p, 3);
    for (size_t len = 0; len < p.ours.len && len < 300; len++)
      compare_reading(t, p.ours.data, len);
    pair_free(&p);
  }
}

static void test_int_borders(struct test_run *t)
{
  static const struct {
    int64_t value;
    size_t len;
    const char *bytes;
  } cases[] = {
      {0, 1, "\x00"},
      {127, 1, "\x7f"},
      {128, 2, "\xcc\x80"},
      {255, 2, "\xcc\xff"},
      {256, 3, "\xcd\x01\x00"},
      {65535, 3, "\xcd\xff\xff"},
      {65536, 5, "\xce\x00\x01\x00\x00"},
      {UINT32_MAX, 5, "\xce\xff\xff\xff\xff"},
      {(int64_t)UINT32_MAX + 1, 9, "\xcf\x00\x00\x00\x01\x00\x00\x00\x00"},
      {INT64_MAX, 9, "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"},
      {-1, 1, "\xff"},
      {-32, 1, "\xe0"},
      {-33, 2, "\xd0\xdf"},
      {-128, 2, "\xd0\x80"},
      {-129, 3, "\xd1\xff\x7f"},
      {-32768, 3, "\xd1\x80\x00"},
      {-32769, 5, "\xd2\xff\xff\x7f\xff"},
      {INT32_MIN, 5, "\xd2\x80\x00\x00\x00"},
      {(int64_t)INT32_MIN - 1, 9, "\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"},
      {INT64_MIN, 9, "\xd3\x80\x00\x00\x00\x00\x00\x00\x00"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct buf b;
    int64_t back = 0;
    buf_init(&b, 16);
    mp_write_int(&b, cases[i].value);
    CHECK_BYTES(t, b.data, b.len, cases[i].bytes, cases[i].len);
    struct mp_reader r = {b.data, b.data + b.len};
    CHECK_INT(t, mp_read_int(&r, &back), 0);
    CHECK_INT(t, back, cases[i].value);
    buf_free(&b);
  }
}

static void test_length_borders(struct test_run *t)
{
  static const size_t lens[] = {0,   15,  16,    31,    32,
                                255, 256, 65535, 65536, 100000};
  static const char data[100000];
  for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
    struct pair p;
    pair_init(&p, 1);
    mp_write_array(&p.ours, 3);
    msgpack_pack_array(&p.packer, 3);
    mp_write_str(&p.ours, data, lens[i]);
    msgpack_pack_str_with_body(&p.packer, data, lens[i]);
    mp_write_bin(&p.ours, data, lens[i]);
    msgpack_pack_bin_with_body(&p.packer, data, lens[i]);
    mp_write_array(&p.ours, lens[i]);
    msgpack_pack_array(&p.packer, lens[i]);
    for (size_t n = 0; n < lens[i]; n++) {
      mp_write_map(&p.ours, n == 0 ? lens[i] : 0);
      msgpack_pack_map(&p.packer, n == 0 ? lens[i] : 0);
      for (size_t k = 0; n == 0 && k < 2 * lens[i]; k++) {
        mp_write_nil(&p.ours);
        msgpack_pack_nil(&p.packer);
      }
    }
    CHECK_BYTES(t, p.ours.data, p.ours.len, p.theirs.data, p.theirs.size);
    compare_reading(t, p.ours.data, p.ours.len);
    pair_free(&p);
  }
}

/* Where a size has no more than 32 bits there are none. */
static void test_lengths_above_32_bits(struct test_run *t)
{
#if SIZE_MAX > UINT32_MAX
  const size_t len = (size_t)UINT32_MAX + 1;
  void (*const writers[])(struct buf *, size_t) = {mp_write_array,
                                                   mp_write_map};
  struct buf b;
  for (size_t i = 0; i < 2; i++) {
    buf_init(&b, SIZE_MAX);
    writers[i](&b, len - 1);
    CHECK(t, !b.failed);
    writers[i](&b, len);
    CHECK(t, b.failed);
    CHECK_INT(t, b.len, 5);
    buf_free(&b);
  }
  buf_init(&b, SIZE_MAX);
  mp_write_str(&b, "", len); /* fails before it looks at the bytes */
  CHECK(t, b.failed);
  buf_clear(&b);
  mp_write_bin(&b, "", len);
  CHECK(t, b.failed);
  CHECK_INT(t, b.len, 0);
  buf_free(&b);
#else
  (void)t;
#endif
}

static void test_false_counts(struct test_run *t)
{
  static const struct {
    const char *bytes;
    size_t len;
    bool good;
  } cases[] = {
      {"\xdd\xff\xff\xff\xff", 5, false},
      {"\xdd\x00\x00\x00\x02\x01", 6, false},
      {"\xdd\x00\x00\x00\x02\x01\x01", 7, true},
      {"\xdf\x00\x00\x00\x01\x01", 6, false},
      {"\xdf\x00\x00\x00\x01\x01\x01", 7, true},
      {"\xdf\x80\x00\x00\x01\x01\x01", 7, false},
      {"\xdb\xff\xff\xff\xff", 5, false},
      {"\xc6\x00\x00\x00\x01", 5, false},
      {"\xc9\x00\x00\x00\x00\x01", 6, true},
      {"\xc9\xff\xff\xff\xff\x01", 6, false},
      {"\x92\x91\x01", 3, false}, /* each count fits, not both */
      {"\xc1", 1, false},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    const uint8_t *at = (const uint8_t *)cases[i].bytes;
    struct mp_reader r = {at, at + cases[i].len};
    CHECK_INT(t, mp_skip(&r), cases[i].good ? 0 : -1);
    CHECK(t, r.at == (cases[i].good ? r.end : at));
  }
}

static void test_typed_reads(struct test_run *t)
{
  static const uint8_t bytes[] = {0x92, 0x05, 0xa1, 'x',  0xc4, 1,
                                  'y',  0xcf, 0xff, 0xff, 0xff, 0xff,
                                  0xff, 0xff, 0xff, 0xff};
  struct mp_reader r = {bytes, bytes + sizeof(bytes)};
  struct mp_token token;
  uint32_t count = 0;
  int64_t i = 0;
  const uint8_t *data;
  size_t len;
  CHECK_INT(t, mp_read_int(&r, &i), -1);
  CHECK_INT(t, mp_read_bytes(&r, &data, &len), -1);
  CHECK_INT(t, mp_read_array(&r, &count), 0);
  CHECK_INT(t, count, 2);
  CHECK_INT(t, mp_read_array(&r, &count), -1);
  CHECK_INT(t, mp_read_int(&r, &i), 0);
  CHECK_INT(t, i, 5);
  CHECK_INT(t, mp_read_bytes(&r, &data, &len), 0);
  CHECK_BYTES(t, data, len, "x", 1);
  CHECK_INT(t, mp_read_bytes(&r, &data, &len), 0);
  CHECK_BYTES(t, data, len, "y", 1);
  CHECK_INT(t, mp_read_int(&r, &i), -1); /* no int64_t */
  CHECK_INT(t, mp_read(&r, &token), 0);
  CHECK(t, token.type == MP_UINT && token.u.unsigned_integer == UINT64_MAX);
  CHECK_INT(t, mp_read(&r, &token), 1);
  CHECK_INT(t, mp_read_int(&r, &i), -1);
  CHECK_INT(t, mp_skip(&r), -1);
}

static void test_deep_skip(struct test_run *t)
{
  enum { DEEP = 1000000 };
  uint8_t *bytes = malloc(DEEP);
  if (!CHECK(t, bytes)) return;
  memset(bytes, 0x91, DEEP);
  struct mp_reader r = {bytes, bytes + DEEP};
  CHECK_INT(t, mp_skip(&r), -1);
  bytes[DEEP - 1] = 0xc0;
  CHECK_INT(t, mp_skip(&r), 0);
  CHECK(t, r.at == r.end);
  free(bytes);
}

/* Every limit below the size of a value: sticky failure, no part of a token. */
static void test_small_buffers(struct test_run *t)
{
  for (size_t max = 0; max < 64; max++) {
    struct buf b;
    buf_init(&b, max);
    mp_write_array(&b, 4);
    mp_write_int(&b, 70000);
    mp_write_float(&b, 0.1);
    mp_write_cstr(&b, "twelve bytes");
    mp_write_bin(&b, "thirty-two bytes, not one less..", 32);
    CHECK(t, b.failed == (max < 62));
    size_t whole = max < 1    ? 0
                   : max < 6  ? 1
                   : max < 15 ? 6
                   : max < 28 ? 15
                              : 28;
    CHECK_INT(t, b.len, max < 62 ? whole : 62);
    mp_write_nil(&b);
    CHECK(t, b.failed == (max < 63));
    buf_free(&b);
  }
}

const struct test msgpack_tests[] = {
    {"msgpack: random trees", test_random_trees},
    {"msgpack: changed bytes", test_changed_bytes},
    {"msgpack: every cut", test_every_cut},
    {"msgpack: borders of integers", test_int_borders},
    {"msgpack: borders of lengths", test_length_borders},
    {"msgpack: lengths above 32 bits", test_lengths_above_32_bits},
    {"msgpack: false counts", test_false_counts},
    {"msgpack: typed reads", test_typed_reads},
    {"msgpack: deep skip", test_deep_skip},
    {"msgpack: small buffers", test_small_buffers},
    {NULL, NULL},
};
