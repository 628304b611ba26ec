/* SPDX-License-Identifier: MIT */
#include "net/http_answer.h"

#include "net/http_decode.h"

#include <string.h>
#include <strings.h>

enum {
  MAX_HEADER_BYTES = 256 * 1024,
  KEPT_HEADER_BYTES = 16 * 1024,
};

static int fail(struct http_answer *a, const char *kind, const char *text)
{
  return err_set(&a->failure, kind, "%s", text);
}

/* ---- head and trailers ---- */

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

/* Adds the values of all headers of this name to `out`, with commas between. */
static void join_values(const struct buf *lines, const char *name,
                        struct buf *out)
{
  size_t len = strlen(name);
  const char *at = lines->len ? (const char *)lines->data : "";
  const char *end = at + lines->len;
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
}

static bool is_followed(const struct http_answer *a)
{
  struct buf location;
  if (a->status < 300 || a->status > 399 || !a->order->options.max_redirects)
    return false;
  buf_init(&location, MAX_HEADER_BYTES);
  join_values(&a->headers, "Location", &location);
  bool followed = location.len > 0 || location.failed;
  buf_free(&location);
  return followed;
}

static void end_head(struct http_answer *a)
{
  if (a->status < 200)
    a->phase = HTTP_SILENT;
  else
    a->phase = is_followed(a) ? HTTP_MOVED : HTTP_ANSWERED;
}

/* A line that begins with a blank goes on with the one before, in the old way:
 * one space stands for the fold. */
static void unfold(struct buf *lines, const char **line, size_t *n)
{
  while (*n && is_blank(**line)) ++*line, --*n;
  while (lines->len && is_blank((char)lines->data[lines->len - 1]))
    lines->len--;
  buf_add(lines, *n ? " " : "\r\n", *n ? 1 : 2);
}

static int add_line(struct http_answer *a, struct buf *lines, const char *line,
                    size_t n)
{
  if (is_blank(*line) && !lines->len) return 0; /* it goes on with nothing */
  if (is_blank(*line)) unfold(lines, &line, &n);
  return buf_add(lines, line, n) == 0
             ? 0
             : fail(a, "too_large", "the headers are larger than 256 KiB");
}

/* The first line of an answer: of an interim one, a redirect, or the last. */
static int begin_head(struct http_answer *a, int status)
{
  if (a->phase == HTTP_HEAD)
    return fail(a, "truncated", "the answer ended within its headers");
  buf_clear(&a->headers);
  buf_clear(&a->trailers);
  a->status = status;
  a->phase = HTTP_HEAD;
  return 0;
}

int http_answer_line(struct http_answer *a, const char *line, size_t n)
{
  a->received += n;
  if (n > 5 && !memcmp(line, "HTTP/", 5))
    return begin_head(a, status_of(line, n));
  bool empty = !n || *line == '\r' || *line == '\n';
  if (a->phase == HTTP_HEAD) {
    if (!empty) return add_line(a, &a->headers, line, n);
    end_head(a);
    return 0;
  }
  return empty ? 0 : add_line(a, &a->trailers, line, n);
}

/* ---- body ---- */

/* Takes decoded bytes; see http_decoder_take. */
static int take(void *arg, const void *data, size_t n)
{
  struct http_answer *a = arg;
  a->bytes += n;
  if (a->order->max_bytes && a->bytes > a->order->max_bytes)
    return err_set(&a->failure, "too_large",
                   "the body is larger than %llu bytes (max_bytes)",
                   (unsigned long long)a->order->max_bytes);
  if (a->order->keep == HTTP_BODY_SHA256)
    return digest_update(a->digest, data, n) == 0
               ? 0
               : fail(a, "memory", "OpenSSL failed to digest the body");
  return buf_add(&a->body, data, n) == 0
             ? 0
             : fail(a, "memory", "out of memory for the body");
}

/* Is this list of transfer codings what every libcurl takes off? */
static bool is_chunked(struct buf *codings)
{
  if (buf_add(codings, "", 1) < 0) return false;
  for (const char *at = (const char *)codings->data;
       *(at += strspn(at, " \t,"));) {
    size_t len = strcspn(at, " \t,");
    bool chunked = len == 7 && !strncasecmp(at, "chunked", len);
    bool identity = len == 8 && !strncasecmp(at, "identity", len);
    if (!chunked && !identity) return false;
    at += len;
  }
  return true;
}

/* Some versions of libcurl would hand on what they do not decode. Nobody asked
 * for it. */
static int check_transfer_coding(struct http_answer *a)
{
  struct buf codings;
  buf_init(&codings, MAX_HEADER_BYTES);
  join_values(&a->headers, "Transfer-Encoding", &codings);
  bool fine = codings.len == 0 || is_chunked(&codings);
  buf_free(&codings);
  return fine ? 0
              : fail(a, "decode",
                     "the body has a transfer coding that was not asked for "
                     "and is not decoded");
}

/* The body begins: is it compressed? */
static int begin_body(struct http_answer *a)
{
  struct buf codings;
  bool plain = true;
  a->has_body = true;
  if (check_transfer_coding(a) < 0) return -1;
  if (!a->order->options.compressed) return 0;
  buf_init(&codings, MAX_HEADER_BYTES);
  join_values(&a->headers, "Content-Encoding", &codings);
  if (codings.len)
    a->decoder = http_decoder_new((const char *)codings.data, codings.len, take,
                                  a, &plain, &a->failure);
  buf_free(&codings);
  return plain || a->decoder ? 0 : -1;
}

int http_answer_data(struct http_answer *a, const void *data, size_t n)
{
  a->received += n;
  if (!a->has_body && begin_body(a) < 0) return -1;
  if (a->decoder) return http_decoder_write(a->decoder, data, n, &a->failure);
  return take(a, data, n);
}

/* ---- the contract ---- */

int http_answer_init(struct http_answer *a, struct err *e)
{
  memset(a, 0, sizeof(*a));
  buf_init(&a->headers, MAX_HEADER_BYTES);
  buf_init(&a->trailers, MAX_HEADER_BYTES);
  a->digest = digest_new(e);
  return a->digest ? 0 : -1;
}

void http_answer_free(struct http_answer *a)
{
  digest_free(a->digest);
  http_decoder_free(a->decoder);
  buf_free(&a->headers);
  buf_free(&a->trailers);
  buf_free(&a->body);
}

int http_answer_begin(struct http_answer *a, const struct http_order *order,
                      struct err *e)
{
  a->order = order;
  a->phase = HTTP_SILENT;
  a->status = 0;
  a->has_body = false;
  a->bytes = a->received = 0;
  a->failure.kind[0] = '\0';
  buf_clear(&a->headers);
  buf_clear(&a->trailers);
  if (order->keep == HTTP_BODY_SHA256) return digest_reset(a->digest, e);
  buf_init(&a->body,
           order->max_bytes > SIZE_MAX ? SIZE_MAX : (size_t)order->max_bytes);
  return 0;
}

int http_answer_end(struct http_answer *a)
{
  if (a->phase == HTTP_SILENT || a->phase == HTTP_HEAD)
    return fail(a, "truncated", "the answer ended within its headers");
  if (a->decoder && !http_decoder_whole(a->decoder))
    return err_set(&a->failure, "truncated",
                   "the compressed body ended early, after %llu decoded bytes",
                   (unsigned long long)a->bytes);
  return 0;
}

void http_answer_rest(struct http_answer *a)
{
  http_decoder_free(a->decoder);
  a->decoder = NULL;
  buf_free(&a->body);
  if (a->headers.cap > KEPT_HEADER_BYTES) buf_free(&a->headers);
  if (a->trailers.cap > KEPT_HEADER_BYTES) buf_free(&a->trailers);
}
