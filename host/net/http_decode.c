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
  enum { BEFORE, WITHIN, AFTER, PADDING } at; /* of a member */
  bool again;                                 /* it is not the first */
  http_decoder_take *take;
  void *arg;
  unsigned char out[OUT_BYTES];
};

/* ---- names of codings ---- */

/* The next name of a list; NULL at its end. */
static const char *next_name(const char **at, size_t *len)
{
  const char *name = *at + strspn(*at, " \t,");
  *len = strcspn(name, " \t,");
  *at = name + *len;
  return *len ? name : NULL;
}

static bool is(const char *name, size_t len, const char *word)
{
  return len == strlen(word) && !strncasecmp(name, word, len);
}

bool http_decode_is_chunked(const char *codings)
{
  const char *name;
  size_t len = 0;
  while ((name = next_name(&codings, &len)))
    if (!is(name, len, "chunked") && !is(name, len, "identity")) return false;
  return true;
}

/* "gzip" or "deflate", "" when there is no coding; NULL for another, or one
 * over the other. */
static const char *coding_of(const char *codings)
{
  const char *name, *found = "";
  size_t len = 0;
  while ((name = next_name(&codings, &len))) {
    if (is(name, len, "identity") || is(name, len, "none")) continue;
    if (!found || *found) return NULL;
    found = NULL;
    if (is(name, len, "gzip") || is(name, len, "x-gzip")) found = "gzip";
    if (is(name, len, "deflate")) found = "deflate";
  }
  return found;
}

/* Shows the codings as one line of printable ASCII. */
static int refuse_codings(const char *codings, struct err *e)
{
  char shown[41];
  size_t n = 0;
  for (; n + 1 < sizeof(shown) && codings[n]; n++)
    shown[n] = codings[n] >= ' ' && codings[n] <= '~' ? codings[n] : '?';
  shown[n] = '\0';
  return err_set(e, "decode",
                 "the body is encoded as '%s', but only gzip and deflate can "
                 "be decoded (compressed = false returns the body as sent)",
                 shown);
}

static int out_of_memory(struct err *e)
{
  return err_set(e, "memory", "out of memory to decode the body");
}

int http_decoder_new(struct http_decoder **made, const char *codings,
                     http_decoder_take *take, void *arg, struct err *e)
{
  const char *name = coding_of(codings);
  *made = NULL;
  if (!name) return refuse_codings(codings, e);
  if (!*name) return 0;
  struct http_decoder *d = *made = malloc(sizeof(*d));
  if (!d) return out_of_memory(e);
  memset(d, 0, offsetof(struct http_decoder, out));
  d->name = name;
  d->take = take;
  d->arg = arg;
  return 0;
}

void http_decoder_free(struct http_decoder *d)
{
  if (!d) return;
  if (d->ready) inflateEnd(&d->z);
  free(d);
}

/* ---- decoding ---- */

/* Begins a member, whose first byte is `first`. Data with zlib's method number
 * in that byte have zlib's header: a raw first block of that kind would have
 * padding bits set. */
static int begin(struct http_decoder *d, unsigned char first, struct err *e)
{
  int bits = (first & 0x0f) == Z_DEFLATED ? ZLIB_BITS : RAW_BITS;
  if (*d->name == 'g') bits = GZIP_BITS;
  d->again = d->ready;
  int rc = d->ready ? inflateReset(&d->z) : inflateInit2(&d->z, bits);
  if (rc != Z_OK) return out_of_memory(e);
  d->ready = true;
  d->at = WITHIN;
  return 0;
}

static int refuse_excess(const struct http_decoder *d, struct err *e)
{
  return err_set(e, "decode", "the body has other bytes behind its %s data",
                 d->name);
}

static int refuse(const struct http_decoder *d, int rc, struct err *e)
{
  const z_stream *z = &d->z;
  if (rc == Z_MEM_ERROR) return out_of_memory(e);
  if (d->again && z->total_out == 0) return refuse_excess(d, e);
  return err_set(e, "decode",
                 "the body is not valid %s, though its header says so: %s, "
                 "after %lu decoded bytes",
                 d->name, z->msg ? z->msg : "preset dictionary", z->total_out);
}

/* Decodes the input of `z`, up to the end of the member. */
static int inflate_member(struct http_decoder *d, struct err *e)
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

/* Behind a member there may be another, or zero bytes to the end. */
static int continue_after(struct http_decoder *d, unsigned char next,
                          struct err *e)
{
  if (d->at == AFTER && next == 0x1f && *d->name == 'g')
    return begin(d, next, e);
  if (next) return refuse_excess(d, e);
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
      if (inflate_member(d, e) < 0) return -1;
      at = end - d->z.avail_in;
    } else {
      if (continue_after(d, *at, e) < 0) return -1;
      if (d->at == PADDING) at++;
    }
  }
  return 0;
}

bool http_decoder_whole(const struct http_decoder *d)
{
  return d->at != WITHIN;
}
