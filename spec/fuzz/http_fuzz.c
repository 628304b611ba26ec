/* SPDX-License-Identifier: MIT */
/* libFuzzer: any bytes as the response of a server, in pieces of any size:
 * lines up to an empty one, then a body, then lines again; and as a URL. A
 * failure has a kind and one line of text; what is kept is within its limits.
 */
#include "net/http_reader.h"
#include "net/http_url.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 100000 };

static void require(bool ok)
{
  if (!ok) abort();
}

static void check_error(const struct err *e)
{
  require(e->kind[0] && e->text[0] && !strpbrk(e->text, "\r\n\033"));
}

/* No line begins with a blank: it would be half of a folded one. */
static void check_lines(const struct buf *lines)
{
  for (size_t i = 0; i < lines->len; i++)
    if (i == 0 || lines->data[i - 1] == '\n')
      require(lines->data[i] != ' ' && lines->data[i] != '\t');
}

/* Reads lines up to an empty one; returns how many bytes are left. */
static size_t take_lines(struct http_reader *a, const uint8_t **at, size_t left)
{
  while (left) {
    const uint8_t *end = memchr(*at, '\n', left);
    size_t n = end ? (size_t)(end - *at) + 1 : left;
    bool empty = **at == '\n' || (**at == '\r' && n == 2);
    if (http_reader_line(a, (const char *)*at, n) < 0) return 0;
    *at += n;
    left -= n;
    if (empty && a->phase == HTTP_FINAL) break;
  }
  return left;
}

static void check_response(const uint8_t *data, size_t size, size_t step)
{
  static const struct http_request request = {
      .max_bytes = MAX_BYTES, .compressed = true, .max_redirects = 1};
  struct http_reader a;
  struct err e;
  require(http_reader_init(&a, &request, &e) == 0);
  size_t left = take_lines(&a, &data, size);
  while (left > 8 && !a.failure.kind[0]) { /* trailers are the last bytes */
    size_t n = left - 8 < step ? left - 8 : step;
    http_reader_body(&a, data, n);
    data += n;
    left -= n;
  }
  if (!a.failure.kind[0]) take_lines(&a, &data, left);
  if (!a.failure.kind[0]) http_reader_finish(&a);
  if (a.failure.kind[0]) check_error(&a.failure);
  require(a.body.len <= MAX_BYTES);
  check_lines(&a.headers);
  check_lines(&a.trailers);
  http_reader_free(&a);
}

static void check_url(const char *text, size_t len)
{
  size_t origin;
  struct err e;
  char *url = http_url_normalise(text, len, &origin, &e);
  if (!url) {
    check_error(&e);
    return;
  }
  require(origin <= strlen(url) && *url && http_url_is_web(url));
  require(!http_url_is_international(url));
  free(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size == 0) return 0;
  size_t step = data[0];
  if (step)
    check_response(data + 1, size - 1, step);
  else
    check_url((const char *)data + 1, size - 1);
  return 0;
}
