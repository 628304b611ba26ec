/* SPDX-License-Identifier: MIT */
#include "net/http_reader.h"

#include "net/http_decode.h"

#include <string.h>
#include <strings.h>

enum { MAX_HEADER_BYTES = 256 * 1024 };

static int fail(struct http_reader *r, const char *kind, const char *text)
{
  return err_set(&r->failure, kind, "%s", text);
}

/* ---- headers and trailers ---- */

/* 200 of "HTTP/1.1 200 OK", or 0 */
static int status_of(const char *line, size_t n)
{
  const char *at = memchr(line, ' ', n);
  int code = 0;
  if (!at || n - (size_t)(at - line) < 4) return 0;
  for (int i = 1; i <= 3; i++) {
    if (at[i] < '0' || at[i] > '9') return 0;
    code = code * 10 + at[i] - '0';
  }
  return code;
}

static bool is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The values of all headers of this name, with commas between; "" when there
 * are none, NULL when memory is out. Valid until the next call. */
static const char *header_values(struct http_reader *r, const char *name)
{
  size_t len = strlen(name);
  struct buf *out = &r->values;
  const char *at = r->headers.len ? (const char *)r->headers.data : "";
  const char *end = at + r->headers.len;
  buf_clear(out);
  while (at < end) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    stop = stop ? stop + 1 : end;
    const char *next = stop;
    if ((size_t)(stop - at) > len && at[len] == ':' &&
        !strncasecmp(at, name, len)) {
      at += len + 1;
      while (at < stop && is_blank(*at)) at++;
      while (at < stop && is_blank(stop[-1])) stop--;
      if (out->len && at < stop) buf_add(out, ",", 1);
      buf_add(out, at, (size_t)(stop - at));
    }
    at = next;
  }
  return buf_add(out, "", 1) == 0 ? (const char *)out->data : NULL;
}

static void end_headers(struct http_reader *r)
{
  bool moved =
      r->status >= 300 && r->status <= 399 && r->request->max_redirects;
  const char *location = moved ? header_values(r, "Location") : "";
  if (r->status < 200)
    r->phase = HTTP_WAITING;
  else
    r->phase = !location || *location ? HTTP_MOVED : HTTP_FINAL;
}

/* A line that begins with a blank continues the one before, an obsolete form:
 * one space replaces the fold. */
static void unfold(struct buf *lines, const char **line, size_t *n)
{
  while (*n && is_blank(**line)) ++*line, --*n;
  while (lines->len && is_blank((char)lines->data[lines->len - 1]))
    lines->len--;
  buf_add(lines, *n ? " " : "\r\n", *n ? 1 : 2);
}

static int add_line(struct http_reader *r, struct buf *lines, const char *line,
                    size_t n)
{
  if (is_blank(*line) && !lines->len) return 0; /* there is none before */
  if (is_blank(*line)) unfold(lines, &line, &n);
  return buf_add(lines, line, n) == 0
             ? 0
             : fail(r, "too_large", "the headers are larger than 256 KiB");
}

/* Handles the first line of a response: an interim one, a redirect, or the
 * last. */
static int begin_headers(struct http_reader *r, int status)
{
  if (r->phase == HTTP_HEADERS)
    return fail(r, "truncated", "the response ended within its headers");
  buf_clear(&r->headers);
  buf_clear(&r->trailers);
  r->status = status;
  r->phase = HTTP_HEADERS;
  return 0;
}

int http_reader_line(struct http_reader *r, const char *line, size_t n)
{
  r->received += n;
  if (n > 5 && !memcmp(line, "HTTP/", 5))
    return begin_headers(r, status_of(line, n));
  bool empty = !n || *line == '\r' || *line == '\n';
  bool within = r->phase == HTTP_HEADERS;
  if (!empty) return add_line(r, within ? &r->headers : &r->trailers, line, n);
  if (within) end_headers(r);
  return 0;
}

/* ---- body ---- */

/* Takes decoded bytes; see http_decoder_take. */
static int take(void *arg, const void *data, size_t n)
{
  struct http_reader *r = arg;
  r->bytes += n;
  if (r->request->max_bytes && r->bytes > r->request->max_bytes)
    return err_set(&r->failure, "too_large",
                   "the body is larger than %llu bytes (max_bytes)",
                   (unsigned long long)r->request->max_bytes);
  if (!r->digest)
    return buf_add(&r->body, data, n) == 0
               ? 0
               : fail(r, "memory", "out of memory for the body");
  return digest_update(r->digest, data, n, &r->failure);
}

static int begin_body(struct http_reader *r)
{
  r->has_body = true;
  /* some versions of libcurl would hand on what they do not decode */
  const char *codings = header_values(r, "Transfer-Encoding");
  if (!codings || !http_decode_is_chunked(codings))
    return fail(r, "decode",
                "the body has a transfer coding that was not asked for "
                "and is not decoded");
  if (!r->request->compressed) return 0;
  codings = header_values(r, "Content-Encoding");
  if (!codings) return fail(r, "memory", "out of memory for the headers");
  return http_decoder_new(&r->decoder, codings, take, r, &r->failure);
}

int http_reader_body(struct http_reader *r, const void *data, size_t n)
{
  r->received += n;
  if (!r->has_body && begin_body(r) < 0) return -1;
  if (r->decoder) return http_decoder_write(r->decoder, data, n, &r->failure);
  return take(r, data, n);
}

/* ---- lifetime ---- */

int http_reader_init(struct http_reader *r, const struct http_request *request,
                     struct err *e)
{
  uint64_t most = request->max_bytes;
  memset(r, 0, sizeof(*r));
  r->request = request;
  buf_init(&r->headers, MAX_HEADER_BYTES);
  buf_init(&r->trailers, MAX_HEADER_BYTES);
  buf_init(&r->values, MAX_HEADER_BYTES);
  buf_init(&r->body, most > SIZE_MAX ? SIZE_MAX : (size_t)most);
  if (request->keep != HTTP_BODY_SHA256) return 0;
  r->digest = digest_new(e);
  return r->digest ? 0 : -1;
}

void http_reader_free(struct http_reader *r)
{
  digest_free(r->digest);
  http_decoder_free(r->decoder);
  buf_free(&r->headers);
  buf_free(&r->trailers);
  buf_free(&r->values);
  buf_free(&r->body);
}

int http_reader_finish(struct http_reader *r)
{
  if (r->phase == HTTP_WAITING || r->phase == HTTP_HEADERS)
    return fail(r, "truncated", "the response ended within its headers");
  if (r->decoder && !http_decoder_whole(r->decoder))
    return err_set(&r->failure, "truncated",
                   "the compressed body ended early, after %llu decoded bytes",
                   (unsigned long long)r->bytes);
  return 0;
}
