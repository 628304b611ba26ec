/* SPDX-License-Identifier: MIT */
/* libFuzzer: any bytes as those of a client of the HTTP server. The first byte
 * says how the owner responds, the second in which pieces the rest arrives. At
 * once and in pieces the same is answered; each response is whole and has a
 * status, and a header that was accepted has no line break in it. */
#include "../host/net/pipe_carrier.c" /* NOLINT: programs here are one file */
#include "net/http_connection.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STREAMS = 1, HEADS_ONLY = 2, SLOW = 4 };

struct bed {
  struct pipe_end server, client;
  struct http_connection *connection, *owned;
  struct buf out; /* what the client has received, less the dates */
  uint8_t how;
  uint64_t body, requests;
};

static void require(bool ok)
{
  if (!ok) abort();
}

static void check_message(const struct http_message *m)
{
  require(m->state == HTTP_MESSAGE_COMPLETE && m->method && m->target.len);
  require(m->field_count <= HTTP_MAX_FIELDS);
  for (size_t i = 0; i < m->target.len; i++)
    require(m->target.at[i] > ' ' && m->target.at[i] < 0x7f);
  for (int i = 0; i < m->field_count; i++) {
    const struct http_field *f = &m->fields[i];
    require(f->name.len > 0);
    require(!memchr(f->name.at, ':', f->name.len));
    for (size_t k = 0; k < f->value.len; k++)
      require(f->value.at[k] != '\r' && f->value.at[k] != '\n' &&
              f->value.at[k]);
  }
}

static void respond(struct bed *b)
{
  struct http_connection *c = b->owned;
  char text[] = "body";
  bool streams = b->how & STREAMS;
  http_connection_respond(c, 200, "A: b\r\n", 6, streams ? HTTP_STREAM : 4);
  http_connection_write(c, text, 2);
  http_connection_write(c, text + 2, 2);
  http_connection_finish(c);
  b->owned = NULL;
  http_connection_release(c);
}

static void on_change(void *arg)
{
  struct bed *b = arg;
  if (!b->owned) return;
  struct buf *body = http_connection_body(b->owned);
  b->body += body->len;
  if (body->len) {
    buf_clear(body);
    http_connection_body(b->owned);
  }
  if (http_connection_is_closed(b->owned)) {
    struct http_connection *c = b->owned;
    b->owned = NULL;
    http_connection_release(c);
  } else if (http_connection_body_is_finished(b->owned)) {
    respond(b);
  }
}

static void on_request(void *arg, struct http_connection *c)
{
  struct bed *b = arg;
  check_message(http_connection_message(c));
  b->requests++;
  b->owned = c;
  http_connection_own(c, on_change, b);
  if (b->how & HEADS_ONLY)
    respond(b);
  else
    on_change(b);
}

static void on_closed(void *arg, struct http_connection *c)
{
  struct bed *b = arg;
  require(b->connection == c);
  b->connection = NULL;
}

static void on_bytes(void *arg, const uint8_t *data, size_t len)
{
  buf_add(&((struct bed *)arg)->out, data, len);
}

static void on_sent(void *arg)
{
  (void)arg;
}

static void on_end(void *arg, const struct err *reason)
{
  (void)arg, (void)reason;
}

static void run(struct loop *loop, struct bed *b, const uint8_t *data,
                size_t size, size_t step)
{
  static const struct http_connection_events events = {on_request, on_closed};
  static const struct carrier_events client = {on_bytes, on_sent, on_end};
  struct err e;
  pipe_init(&b->server, &b->client);
  b->server.room = b->how & SLOW ? 100 : SIZE_MAX;
  b->client.room = SIZE_MAX;
  buf_init(&b->out, 64 * 1024 * 1024);
  b->connection = http_connection_new(loop, &b->server.carrier, &events, b, &e);
  require(b->connection);
  carrier_start(&b->client.carrier, &client, b);
  while (size && b->connection) {
    size_t n = size < step ? size : step;
    if (b->server.paused) break; /* only while a response is on its way */
    pipe_feed(&b->server, data, n);
    pipe_run(&b->server, &b->client);
    data += n;
    size -= n;
  }
  pipe_run(&b->server, &b->client);
  require(!b->connection || !b->server.paused);
  if (b->connection) pipe_break(&b->server);
  require(!b->connection && !b->owned && !b->server.wrong);
  pipe_free(&b->server);
  pipe_free(&b->client);
}

/* Drops every part that begins with `from` and is `len` bytes long. */
static void drop(struct buf *out, const char *from, size_t len)
{
  uint8_t *at;
  while (out->len && (at = memmem(out->data, out->len, from, strlen(from)))) {
    size_t rest = out->len - (size_t)(at - out->data);
    require(rest >= len);
    memmove(at, at + len, rest - len);
    out->len -= len;
  }
}

/* Dates differ, and whether a body had to be asked for. */
static void drop_what_differs(struct buf *out)
{
  static const char asked[] = "HTTP/1.1 100 Continue\r\n\r\n";
  drop(out, asked, sizeof(asked) - 1);
  drop(out,
       "\r\nDate: ", sizeof("\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT") - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct loop *loop;
  struct err e;
  if (!loop) loop = loop_new(&e);
  if (!loop || size < 3) return 0;
  struct bed once = {.how = data[0]}, pieces = {.how = data[0]};
  run(loop, &once, data + 2, size - 2, SIZE_MAX);
  run(loop, &pieces, data + 2, size - 2, 1 + data[1] % 64u);
  drop_what_differs(&once.out);
  drop_what_differs(&pieces.out);
  require(once.requests == pieces.requests && once.body == pieces.body);
  require(once.out.len == pieces.out.len);
  require(!once.out.len ||
          !memcmp(once.out.data, pieces.out.data, once.out.len));
  require(!once.out.len ||
          (once.out.len > 12 && !memcmp(once.out.data, "HTTP/1.1 ", 9)));
  buf_free(&once.out);
  buf_free(&pieces.out);
  return 0;
}
