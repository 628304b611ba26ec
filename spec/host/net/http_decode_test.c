/* SPDX-License-Identifier: MIT */
/* host/net/http_decode.c with bodies in pieces of any size, and cut off
 * anywhere; and the limits of http_socket.c. */
#include "../test.h"
#include "base/buf.h"
#include "net/http_decode.h"
#include "net/http_socket.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

extern const struct test http_decode_tests[];

enum { GZIP = 31, ZLIB = 15, RAW = -15, MOST = 4096 };

static int keep(void *arg, const void *data, size_t n)
{
  return buf_add(arg, data, n);
}

/* Appends `text`, compressed, to `to`. */
static void pack(struct test_run *t, struct buf *to, int bits, const char *text)
{
  z_stream z = {0};
  uint8_t out[MOST];
  CHECK_INT(t, deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY),
            Z_OK);
  z.next_in = (Bytef *)(uintptr_t)text;
  z.avail_in = (uInt)strlen(text);
  z.next_out = out;
  z.avail_out = sizeof(out);
  CHECK_INT(t, deflate(&z, Z_FINISH), Z_STREAM_END);
  buf_add(to, out, sizeof(out) - z.avail_out);
  deflateEnd(&z);
}

static struct http_decoder *open_decoder(struct test_run *t, const char *coding,
                                         struct buf *out)
{
  struct err e;
  struct http_decoder *d;
  buf_clear(out);
  CHECK_INT(t, http_decoder_new(&d, coding, keep, out, &e), 0);
  CHECK(t, d);
  return d;
}

/* Decodes in pieces of `step` bytes. Is it whole, and this text? */
static void check_text(struct test_run *t, const char *coding,
                       const struct buf *body, size_t step, const char *text)
{
  struct buf out;
  struct err e;
  buf_init(&out, SIZE_MAX);
  struct http_decoder *d = open_decoder(t, coding, &out);
  for (size_t at = 0; at < body->len; at += step) {
    size_t n = body->len - at < step ? body->len - at : step;
    CHECK_INT(t, http_decoder_write(d, body->data + at, n, &e), 0);
  }
  CHECK(t, http_decoder_whole(d));
  CHECK_BYTES(t, out.data, out.len, text, strlen(text));
  http_decoder_free(d);
  buf_free(&out);
}

/* A body is whole only where a member ends. */
static void check_cuts(struct test_run *t, const char *coding,
                       const struct buf *body, size_t end_of_first)
{
  struct buf out;
  struct err e;
  buf_init(&out, SIZE_MAX);
  struct http_decoder *d = open_decoder(t, coding, &out);
  for (size_t i = 0; i < body->len; i++) {
    CHECK_INT(t, http_decoder_whole(d), i == 0 || i == end_of_first);
    CHECK_INT(t, http_decoder_write(d, body->data + i, 1, &e), 0);
  }
  CHECK(t, http_decoder_whole(d));
  http_decoder_free(d);
  buf_free(&out);
}

static void test_pieces(struct test_run *t)
{
  static const struct {
    const char *coding;
    int bits;
  } kinds[] = {{"gzip", GZIP}, {"deflate", ZLIB}, {"deflate", RAW}};
  static const char text[] = "a body, a body, another body";
  for (size_t k = 0; k < 3; k++) {
    struct buf body;
    buf_init(&body, SIZE_MAX);
    pack(t, &body, kinds[k].bits, text);
    check_cuts(t, kinds[k].coding, &body, 0);
    for (size_t zeros = 0; zeros < 3; zeros++) {
      for (size_t step = 1; step <= body.len; step++)
        check_text(t, kinds[k].coding, &body, step, text);
      buf_add(&body, "", 1);
    }
    buf_free(&body);
  }
}

static void test_parts(struct test_run *t)
{
  struct buf body;
  buf_init(&body, SIZE_MAX);
  pack(t, &body, GZIP, "one,");
  size_t first = body.len;
  pack(t, &body, GZIP, "two");
  for (size_t step = 1; step <= body.len; step++)
    check_text(t, "gzip", &body, step, "one,two");
  check_cuts(t, "gzip", &body, first);
  buf_free(&body);
}

static void test_excess(struct test_run *t)
{
  static const char *const excess[] = {"y", "\x1fy", "\x1f\x8byyy"};
  struct buf body, out;
  struct err e;
  buf_init(&out, SIZE_MAX);
  buf_init(&body, SIZE_MAX);
  for (size_t i = 0; i < 3; i++) {
    buf_clear(&body);
    pack(t, &body, GZIP, "one");
    buf_add(&body, excess[i], strlen(excess[i]));
    struct http_decoder *d = open_decoder(t, "gzip", &out);
    CHECK_INT(t, http_decoder_write(d, body.data, body.len, &e), -1);
    CHECK_STR(t, e.kind, "decode");
    CHECK(t, strstr(e.text, "has other bytes behind its gzip data"));
    http_decoder_free(d);
  }
  buf_free(&body);
  buf_free(&out);
}

static int refuse(void *arg, const void *data, size_t n)
{
  (void)data, (void)n;
  ++*(int *)arg;
  return -1;
}

/* A failure of the taker ends the decoding at once, and leaves `e` to it. */
static void test_refused(struct test_run *t)
{
  struct buf body;
  struct err e = {{0}, {0}};
  struct http_decoder *d;
  int times = 0;
  buf_init(&body, SIZE_MAX);
  pack(t, &body, GZIP, "one");
  pack(t, &body, GZIP, "two");
  CHECK_INT(t, http_decoder_new(&d, "gzip", refuse, &times, &e), 0);
  CHECK_INT(t, http_decoder_write(d, body.data, body.len, &e), -1);
  CHECK_INT(t, times, 1);
  CHECK_STR(t, e.kind, "");
  http_decoder_free(d);
  buf_free(&body);
}

static void test_codings(struct test_run *t)
{
  static const char *const none[] = {"", " ", "identity", ", identity ,",
                                     "none"};
  static const char *const others[] = {
      "br", "gzi", "gzipp", "gzip,gzip", "identity, zstd", "gzip;q=1"};
  struct http_decoder *d;
  struct err e;
  for (size_t i = 0; i < 5; i++) {
    CHECK_INT(t, http_decoder_new(&d, none[i], keep, NULL, &e), 0);
    CHECK(t, !d);
  }
  for (size_t i = 0; i < 6; i++) {
    CHECK_INT(t, http_decoder_new(&d, others[i], keep, NULL, &e), -1);
    CHECK_STR(t, e.kind, "decode");
    CHECK(t, strstr(e.text, others[i]));
  }
}

static void test_files(struct test_run *t)
{
  for (size_t limit = 0; limit < 5000; limit++) {
    struct http_files f = http_files_divide(limit);
    CHECK(t, f.connections >= 1 && f.lookups >= 1);
    if (limit >= 64) CHECK(t, f.connections + 4 * f.lookups + 40 <= limit);
    if (limit == 256) CHECK(t, f.connections >= 64 && f.lookups >= 16);
    if (limit == 1024) CHECK(t, f.connections >= 400 && f.lookups >= 64);
  }
  struct http_files plenty = http_files_divide(65536);
  CHECK(t, plenty.connections > 512 && plenty.lookups > 512);
}

const struct test http_decode_tests[] = {
    {"http decode: in pieces, cut off, and padded", test_pieces},
    {"http decode: several members", test_parts},
    {"http decode: other bytes behind a member", test_excess},
    {"http decode: ended by its taker", test_refused},
    {"http decode: names of codings", test_codings},
    {"http files: shares of a limit of open files", test_files},
    {NULL, NULL},
};
