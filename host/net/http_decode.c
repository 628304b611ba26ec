/* SPDX-License-Identifier: MIT */
#include "net/http_decode.h"

#define ZLIB_CONST
#include <zlib.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
  OUT_BYTES = 32 * 1024,
  GZIP_BITS = 15 + 16, /* as inflateInit2 has it */
  ZLIB_BITS = 15,
  RAW_BITS = -15,
};

struct http_decoder {
  z_stream z;
  bool ready; /* `z` is initialised */
  const char *name;
  enum { BEFORE, WITHIN, AFTER, PADDING } at; /* of a compressed part */
  bool again;                                 /* the part is not the first */
  http_decoder_take *take;
  void *arg;
  unsigned char out[OUT_BYTES];
};

/* ---- which coding ---- */

/* The next name of a list; NULL at its end. */
static const char *next_name(const char **at, const char *end, size_t *len)
{
  while (*at < end && strchr(" \t,", **at)) ++*at;
  const char *name = *at;
  while (*at < end && !strchr(" \t,", **at)) ++*at;
  *len = (size_t)(*at - name);
  return *len ? name : NULL;
}

static bool is(const char *name, size_t len, const char *word)
{
  return len == strlen(word) && !strncasecmp(name, word, len);
}

/* "gzip" or "deflate"; NULL for none or another. */
static const char *coding_of(const char *codings, const char *end, bool *plain)
{
  const char *name, *found = NULL;
  size_t len = 0;
  *plain = true;
  while ((name = next_name(&codings, end, &len))) {
    if (is(name, len, "identity") || is(name, len, "none")) continue;
    if (!*plain) return NULL; /* several, one over the other */
    *plain = false;
    if (is(name, len, "gzip") || is(name, len, "x-gzip")) found = "gzip";
    if (is(name, len, "deflate")) found = "deflate";
  }
  return found;
}

/* For one line of text: no other than printable ASCII. */
static void refuse_coding(const char *codings, size_t len, struct err *e)
{
  char shown[41];
  size_t n = len < sizeof(shown) ? len : sizeof(shown) - 1;
  for (size_t i = 0; i < n; i++)
    shown[i] = codings[i] >= ' ' && codings[i] <= '~' ? codings[i] : '?';
  shown[n] = '\0';
  err_set(e, "decode",
          "the body is encoded as '%s'; what is decoded is gzip or deflate "
          "(compressed = false gives the body as it was sent)",
          shown);
}

struct http_decoder *http_decoder_new(const char *codings, size_t len,
                                      http_decoder_take *take, void *arg,
                                      bool *plain, struct err *e)
{
  const char *name = coding_of(codings, codings + len, plain);
  if (*plain) return NULL;
  if (!name) {
    refuse_coding(codings, len, e);
    return NULL;
  }
  struct http_decoder *d = malloc(sizeof(*d));
  if (!d) {
    err_set(e, "memory", "out of memory to decode the body");
    return NULL;
  }
  memset(d, 0, offsetof(struct http_decoder, out));
  d->name = name;
  d->take = take;
  d->arg = arg;
  return d;
}

void http_decoder_free(struct http_decoder *d)
{
  if (!d) return;
  if (d->ready) inflateEnd(&d->z);
  free(d);
}

/* ---- decoding ---- */

/* A part begins with this byte. What has zlib's method number in it has zlib's
 * header: without, a first block of this kind would have bits set that are
 * padding. */
static int begin(struct http_decoder *d, unsigned char first, struct err *e)
{
  int bits = (first & 0x0f) == Z_DEFLATED ? ZLIB_BITS : RAW_BITS;
  if (*d->name == 'g') bits = GZIP_BITS;
  d->again = d->ready;
  int rc = d->ready ? inflateReset(&d->z) : inflateInit2(&d->z, bits);
  if (rc != Z_OK)
    return err_set(e, "memory", "out of memory to decode the body");
  d->ready = true;
  d->at = WITHIN;
  return 0;
}

static int rubbish(const struct http_decoder *d, struct err *e)
{
  return err_set(e, "decode",
                 "the body goes on after the end of its %s data, with bytes "
                 "that are none",
                 d->name);
}

static int refuse(const struct http_decoder *d, int rc, struct err *e)
{
  const z_stream *z = &d->z;
  if (rc == Z_MEM_ERROR)
    return err_set(e, "memory", "out of memory to decode the body");
  if (d->again && z->total_out == 0) return rubbish(d, e);
  return err_set(e, "decode",
                 "the body is not valid %s, as its header says it is: %s, "
                 "after %lu decoded bytes",
                 d->name, z->msg ? z->msg : "preset dictionary", z->total_out);
}

/* Decodes what `z` has been given, up to the end of the part. */
static int inflate_part(struct http_decoder *d, struct err *e)
{
  z_stream *z = &d->z;
  int rc = Z_OK;
  do {
    z->next_out = d->out;
    z->avail_out = OUT_BYTES;
    rc = inflate(z, Z_SYNC_FLUSH);
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
      return refuse(d, rc, e);
    size_t n = OUT_BYTES - z->avail_out;
    if (n && d->take(d->arg, d->out, n) < 0) return -1;
  } while (rc == Z_OK && (z->avail_in || !z->avail_out));
  if (rc == Z_STREAM_END) d->at = AFTER;
  return 0;
}

/* Goes on after a part with another, or with zero bytes to the end. */
static int go_on(struct http_decoder *d, unsigned char next, struct err *e)
{
  if (d->at == AFTER && next == 0x1f && *d->name == 'g')
    return begin(d, next, e);
  if (next) return rubbish(d, e);
  d->at = PADDING;
  return 0;
}

int http_decoder_write(struct http_decoder *d, const void *data, size_t n,
                       struct err *e)
{
  const unsigned char *at = data, *end = at + n;
  while (at < end) {
    if (d->at == BEFORE && begin(d, *at, e) < 0) return -1;
    if (d->at == WITHIN) {
      d->z.next_in = at;
      d->z.avail_in = (uInt)(end - at);
      if (inflate_part(d, e) < 0) return -1;
      at = end - d->z.avail_in;
    } else {
      if (go_on(d, *at, e) < 0) return -1;
      if (d->at == PADDING) at++;
    }
  }
  return 0;
}

bool http_decoder_whole(const struct http_decoder *d)
{
  return d->at != WITHIN;
}
