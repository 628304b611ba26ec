/* SPDX-License-Identifier: MIT */
/* The HTTP server's connections over a carrier in memory: what is answered to
 * which bytes, in whatever pieces these come. */
#include "../test.h"
#include "net/http_connection.h"
#include "pipe_carrier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct test http_server_tests[];

#define HOST "Host: a\r\n"

/* A server that answers each request with its method, target and body. */
struct bed {
  struct test_run *t;
  struct loop *loop;
  struct pipe_end server, client;
  struct http_connection *connection; /* NULL: it has ended */
  struct http_connection *owned;
  struct buf body, received;
  bool stream; /* answers without a length, byte by byte */
  bool holds;  /* the response until hold_end */
  bool ended;  /* the client has seen the end */
  int requests;
};

static void answer(struct bed *b)
{
  const struct http_message *m = http_connection_message(b->owned);
  static const char headers[] = "X-Test: yes\r\n";
  char line[300];
  int n = snprintf(line, sizeof(line), "%s %.*s %.*s", m->method,
                   (int)m->target.len, m->target.at, (int)b->body.len,
                   b->body.data ? (char *)b->body.data : "");
  struct http_connection *c = b->owned;
  http_connection_respond(c, 200, headers, sizeof(headers) - 1,
                          b->stream ? HTTP_STREAM : n);
  for (int i = 0; b->stream && i < n; i++)
    http_connection_write(c, line + i, 1);
  if (!b->stream) http_connection_write(c, line, (size_t)n);
  http_connection_finish(c);
  b->owned = NULL;
  http_connection_release(c);
}

static void on_change(void *arg)
{
  struct bed *b = arg;
  if (!b->owned) return;
  struct buf *body = http_connection_body(b->owned);
  if (body->len) {
    buf_add(&b->body, body->data, body->len);
    buf_clear(body);
    http_connection_body(b->owned);
  }
  if (http_connection_is_closed(b->owned)) {
    struct http_connection *c = b->owned;
    b->owned = NULL;
    http_connection_release(c);
  } else if (http_connection_body_is_finished(b->owned) && !b->holds) {
    answer(b);
  }
}

static void on_request(void *arg, struct http_connection *c)
{
  struct bed *b = arg;
  b->requests++;
  b->owned = c;
  buf_clear(&b->body);
  http_connection_own(c, on_change, b);
  on_change(b);
}

static void on_closed(void *arg, struct http_connection *c)
{
  struct bed *b = arg;
  CHECK(b->t, b->connection == c);
  b->connection = NULL;
}

static void on_bytes(void *arg, const uint8_t *data, size_t len)
{
  buf_add(&((struct bed *)arg)->received, data, len);
}

static void on_sent(void *arg)
{
  (void)arg;
}

static void on_end(void *arg, const struct err *reason)
{
  (void)reason;
  ((struct bed *)arg)->ended = true;
}

static bool set_up(struct bed *b, struct test_run *t)
{
  static const struct http_connection_events events = {on_request, on_closed};
  static const struct carrier_events client = {on_bytes, on_sent, on_end};
  struct err e;
  memset(b, 0, sizeof(*b));
  b->t = t;
  buf_init(&b->body, 1 << 20);
  buf_init(&b->received, 1 << 20);
  pipe_init(&b->server, &b->client);
  b->server.room = b->client.room = SIZE_MAX;
  b->loop = loop_new(&e);
  if (!CHECK(t, b->loop)) return false;
  b->connection =
      http_connection_new(b->loop, &b->server.carrier, &events, b, &e);
  carrier_start(&b->client.carrier, &client, b);
  return CHECK(t, b->connection);
}

static void tear_down(struct bed *b)
{
  if (b->connection) http_connection_close(b->connection);
  CHECK(b->t, !b->connection);
  CHECK(b->t, !b->server.wrong);
  pipe_free(&b->server);
  pipe_free(&b->client);
  buf_free(&b->body);
  buf_free(&b->received);
  loop_free(b->loop);
}

/* The client sends bytes, in pieces of `step`; both ends run until nothing
 * happens. */
static void send(struct bed *b, const char *bytes, size_t step)
{
  for (size_t left = strlen(bytes), n; left; left -= n, bytes += n) {
    n = left < step ? left : step;
    if (b->connection && !b->server.paused) pipe_feed(&b->server, bytes, n);
    pipe_run(&b->server, &b->client);
  }
}

static const char *received(struct bed *b)
{
  buf_add(&b->received, "", 1);
  b->received.len--;
  return (const char *)b->received.data;
}

static int count(const char *text, const char *what)
{
  int n = 0;
  for (; (text = strstr(text, what)); text += strlen(what)) n++;
  return n;
}

/* ---- what is answered ---- */

struct exchange {
  const char *request;
  int status;
  const char *body; /* a part of the response */
};

static void check_exchange(struct test_run *t, const struct exchange *x,
                           size_t step)
{
  struct bed b;
  char line[64];
  if (!set_up(&b, t)) return;
  snprintf(line, sizeof(line), "HTTP/1.1 %d ", x->status);
  send(&b, x->request, step);
  if (!CHECK(t, !strncmp(received(&b), line, strlen(line))))
    fprintf(stderr, "%s\nin pieces of %zu gave %s\n", x->request, step,
            received(&b));
  CHECK(t, !x->body || strstr(received(&b), x->body));
  CHECK_INT(t, count(received(&b), "HTTP/1.1 "), 1);
  CHECK(t, strstr(received(&b), "\r\nDate: "));
  tear_down(&b);
}

static void check_exchanges(struct test_run *t, const struct exchange *list)
{
  for (; list->request; list++)
    for (size_t step = 1; step < 100; step = step * 3 + 1)
      check_exchange(t, list, step);
}

static void test_answers(struct test_run *t)
{
  static const struct exchange list[] = {
      {"GET /a?b=c HTTP/1.1\r\n" HOST "\r\n", 200, "\r\n\r\nGET /a?b=c "},
      {"\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 200, "GET / "},
      {"GET / HTTP/1.0\r\n\r\n", 200, "Connection: close\r\n"},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200,
       "Connection: keep-alive\r\n"},
      {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", 200,
       "Connection: close\r\n"},
      {"GET / HTTP/1.1\r\n" HOST "X-Empty:\r\nX-Blanks: \t a b \t \r\n\r\n",
       200, "GET / "},
      {"GET / HTTP/1.1\r\n" HOST "X-Latin: \xe9\r\n\r\n", 200, "GET / "},
      {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", 200,
       "POST /x hello"},
      {"POST /x HTTP/1.1\r\n" HOST "content-length:  0 \r\n\r\n", 200,
       "POST /x "},
      {"TRACE / HTTP/1.1\r\n" HOST "\r\n", 200, "TRACE / "},
      {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 200, "OPTIONS * "},
      {NULL, 0, NULL},
  };
  check_exchanges(t, list);
}

static void test_two_lengths(struct test_run *t)
{
  static const struct exchange list[] = {
      /* who reads these differently than a proxy before them serves a request
         that the proxy has not seen */
      {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n"
       "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       400, NULL},
      {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n"
       "Content-Length: 5\r\n\r\n0\r\n\r\n",
       400, NULL},
      {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n"
       "Content-Length: 6\r\n\r\nhello",
       400, NULL},
      {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n"
       "Content-Length: 5\r\n\r\nhello",
       400, NULL},
      {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\nhello", 400,
       NULL},
      {"POST / HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\nhello", 400, NULL},
      {"POST / HTTP/1.1\r\n" HOST "Content-Length: 0x5\r\n\r\nhello", 400,
       NULL},
      {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5 5\r\n\r\nhello", 400,
       NULL},
      {"POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\nhello", 400, NULL},
      {"POST / HTTP/1.1\r\n" HOST
       "Content-Length: 99999999999999999999\r\n\r\nhello",
       400, NULL},
      {"POST / HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\nhello", 400, NULL},
      {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 411,
       NULL},
      {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 400,
       NULL},
      {"POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400,
       NULL},
      {NULL, 0, NULL},
  };
  check_exchanges(t, list);
}

static void test_malformed(struct test_run *t)
{
  static const struct exchange list[] = {
      {"GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", 400, "blank"},
      {"GET / HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n", 400, "blank"},
      {"GET / HTTP/1.1\r\n " HOST "\r\n", 400, "blank"},
      {"GET / HTTP/1.1\n" HOST "\r\n", 400, "CR LF"},
      {"GET / HTTP/1.1\r\n" HOST "X: a\nY: b\r\n\r\n", 400, "CR LF"},
      {"GET / HTTP/1.1\r\n" HOST "X: a\rY: b\r\n\r\n", 400, "CR LF"},
      {"GET / HTTP/1.1\r\n" HOST "X: a\r\r\n\r\n", 400, "CR LF"},
      {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400, "one Host"},
      {"GET / HTTP/1.1\r\n\r\n", 400, "one Host"},
      {"GET / HTTP/1.0\r\n" HOST HOST "\r\n", 400, "one Host"},
      {"GET / HTTP/1.1\r\n" HOST "X: a\001b\r\n\r\n", 400, "control"},
      {"GET / HTTP/1.1\r\n" HOST "X: a\177b\r\n\r\n", 400, "control"},
      {"GET / HTTP/1.1\r\n" HOST "No colon\r\n\r\n", 400, NULL},
      {"GET / HTTP/1.1\r\n" HOST ": no name\r\n\r\n", 400, NULL},
      {"GET / HTTP/1.1\r\n" HOST "Na me: x\r\n\r\n", 400, NULL},
      {"GET / HTTP/1.1\r\n" HOST "N\xc3\xa4me: x\r\n\r\n", 400, NULL},
      {"GET  / HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
      {"GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
      {"GET /a b HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
      {"GET /\r\n\r\n", 400, NULL},
      {"GET\r\n\r\n", 400, NULL},
      {" GET / HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
      {"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
      {"FETCH / HTTP/1.1\r\n" HOST "\r\n", 501, "method"},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, NULL},
      {"GET / HTTP/2.0\r\n" HOST "\r\n", 505, "HTTP/1.1"},
      {"GET / HTTP/1.2\r\n" HOST "\r\n", 505, "HTTP/1.1"},
      {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nExpect: 200-ok\r\n\r\n",
       417, NULL},
      {"\x16\x03\x01\x02", 400, "control"}, /* TLS */
      {NULL, 0, NULL},
  };
  check_exchanges(t, list);
}

/* A request with a header of that many bytes, and that many short ones. */
static char *long_request(size_t line, int fields)
{
  size_t size = line + 10 * (size_t)fields + 100;
  char *text = calloc(size + 1, 1);
  if (!text) return NULL;
  int at = snprintf(text, size, "GET / HTTP/1.1\r\n" HOST "X: ");
  memset(text + at, 'a', line);
  char *end = text + at + line;
  memcpy(end, "\r\n", 2);
  end += 2;
  for (int i = 0; i < fields; i++, end += 6) memcpy(end, "Y: b\r\n", 6);
  memcpy(end, "\r\n", 2);
  return text;
}

static void test_large_heads(struct test_run *t)
{
  struct {
    size_t line;
    int fields, status;
  } cases[] = {{HTTP_MAX_HEAD - 100, 0, 200}, {HTTP_MAX_HEAD, 0, 431},
               {1000 * 1000, 0, 431},         {1, HTTP_MAX_FIELDS - 2, 200},
               {1, HTTP_MAX_FIELDS - 1, 431}, {1, 1000, 431}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    char *text = long_request(cases[i].line, cases[i].fields);
    if (!CHECK(t, text)) return;
    check_exchange(t, &(struct exchange){text, cases[i].status, NULL}, 5000);
    free(text);
  }
}

/* ---- one after the other ---- */

static void test_pipelining(struct test_run *t)
{
  struct bed b;
  if (!set_up(&b, t)) return;
  send(&b,
       "GET /1 HTTP/1.1\r\n" HOST "\r\n"
       "POST /2 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
       "HEAD /3 HTTP/1.1\r\n" HOST "\r\n"
       "GET /4 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"
       "GET /5 HTTP/1.1\r\n" HOST "\r\n",
       SIZE_MAX);
  CHECK_INT(t, b.requests, 4);
  CHECK(t, strstr(received(&b), "POST /2 abc"));
  CHECK_INT(t, count(received(&b), "HEAD /3"), 0);
  CHECK_INT(t, count(received(&b), "Content-Length: 8\r\n"), 1); /* of HEAD */
  CHECK(t, b.ended && !b.connection);
  tear_down(&b);
}

static void test_thousands_at_once(struct test_run *t)
{
  enum { N = 2000 };
  static const char one[] = "GET / HTTP/1.1\r\n" HOST "\r\n";
  struct bed b;
  char *all = calloc(N, sizeof(one));
  if (!CHECK(t, all) || !set_up(&b, t)) return;
  for (size_t i = 0; i < N; i++)
    memcpy(all + i * (sizeof(one) - 1), one, sizeof(one));
  send(&b, all, SIZE_MAX);
  CHECK_INT(t, b.requests, N);
  CHECK_INT(t, count(received(&b), "HTTP/1.1 200 "), N);
  tear_down(&b);
  free(all);
}

/* A client that reads nothing gets no second answer, however many requests it
 * sends, and what it sends is not read. */
static void test_client_that_does_not_read(struct test_run *t)
{
  struct bed b;
  if (!set_up(&b, t)) return;
  b.server.room = 10;
  for (int i = 0; i < 1000 && !b.server.paused; i++)
    pipe_feed(&b.server, "GET / HTTP/1.1\r\n" HOST "\r\n", 27);
  CHECK(t, b.server.paused);
  CHECK_INT(t, b.requests, 1);
  pipe_run(&b.server, &b.client);
  CHECK(t, !b.server.paused);
  tear_down(&b);
}

static void test_chunks(struct test_run *t)
{
  struct bed b;
  if (!set_up(&b, t)) return;
  b.stream = true;
  send(&b, "GET /a HTTP/1.1\r\n" HOST "\r\n", SIZE_MAX);
  CHECK(t, strstr(received(&b), "Transfer-Encoding: chunked\r\n"));
  CHECK(t, strstr(received(&b), "\r\n1\r\nG\r\n1\r\nE\r\n1\r\nT\r\n"));
  CHECK(t, strstr(received(&b), "\r\n0\r\n\r\n"));
  CHECK(t, b.connection);
  send(&b, "GET /a HTTP/1.0\r\n\r\n", SIZE_MAX);
  CHECK(t, strstr(received(&b), "Connection: close\r\n\r\nGET /a "));
  CHECK(t, b.ended && !b.connection);
  tear_down(&b);
}

/* ---- bodies ---- */

static void test_continue(struct test_run *t)
{
  static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
  struct bed b;
  if (!set_up(&b, t)) return;
  send(&b,
       "POST / HTTP/1.1\r\n" HOST
       "Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n",
       SIZE_MAX);
  CHECK_STR(t, received(&b), go_on);
  send(&b, "hello", SIZE_MAX);
  CHECK(t, strstr(received(&b), "POST / hello"));
  tear_down(&b);
}

/* The owner answers without reading: what still comes is no request. */
static void test_body_that_is_not_read(struct test_run *t)
{
  struct bed b;
  if (!set_up(&b, t)) return;
  b.holds = true;
  send(&b, "POST / HTTP/1.1\r\n" HOST "Content-Length: 90\r\n\r\n", SIZE_MAX);
  answer(&b);
  send(&b, "GET /inner HTTP/1.1\r\n" HOST "\r\n", SIZE_MAX);
  CHECK_INT(t, b.requests, 1);
  CHECK_INT(t, count(received(&b), "HTTP/1.1 200 "), 1);
  CHECK(t, strstr(received(&b), "Connection: close\r\n"));
  tear_down(&b);
}

static void test_large_body_waits_for_owner(struct test_run *t)
{
  static char piece[HTTP_WINDOW];
  struct bed b;
  if (!set_up(&b, t)) return;
  b.holds = true;
  memset(piece, 'a', sizeof(piece));
  send(&b, "POST / HTTP/1.1\r\n" HOST "Content-Length: 900000\r\n\r\n",
       SIZE_MAX);
  http_connection_own(b.owned, NULL, NULL); /* it does not take them */
  for (int i = 0; i < 20 && !b.server.paused; i++)
    pipe_feed(&b.server, piece, sizeof(piece));
  CHECK(t, b.server.paused);
  http_connection_own(b.owned, on_change, &b);
  for (int i = 0; i < 40; i++) {
    if (!b.server.paused) pipe_feed(&b.server, piece, sizeof(piece));
    on_change(&b);
  }
  CHECK_INT(t, b.body.len, 900000);
  tear_down(&b);
}

static void test_client_leaves(struct test_run *t)
{
  struct bed b;
  if (!set_up(&b, t)) return;
  b.holds = true;
  send(&b, "GET / HTTP/1.1\r\n" HOST "\r\n", SIZE_MAX);
  CHECK(t, b.owned);
  pipe_break(&b.server); /* the owner releases it */
  CHECK(t, !b.owned && !b.connection);
  tear_down(&b);
}

static void test_turned_away(struct test_run *t)
{
  struct bed b;
  if (!set_up(&b, t)) return;
  http_connection_turn_away(b.connection);
  send(&b, "GET / HTTP/1.1\r\n" HOST "\r\n", SIZE_MAX);
  CHECK_INT(t, b.requests, 0);
  CHECK(t, strstr(received(&b), "HTTP/1.1 503 "));
  CHECK(t, b.connection); /* it drains */
  tear_down(&b);
}

const struct test http_server_tests[] = {
    {"http server: answers requests in pieces of any size", test_answers},
    {"http server: refuses bodies whose length has two meanings",
     test_two_lengths},
    {"http server: refuses what is malformed", test_malformed},
    {"http server: bounds the head", test_large_heads},
    {"http server: answers requests that come at once, in order",
     test_pipelining},
    {"http server: answers thousands that come at once",
     test_thousands_at_once},
    {"http server: a client that does not read is not read either",
     test_client_that_does_not_read},
    {"http server: sends bodies without length in chunks", test_chunks},
    {"http server: asks for a body that waits for it", test_continue},
    {"http server: a body that is not read ends the connection",
     test_body_that_is_not_read},
    {"http server: a large body waits for its owner",
     test_large_body_waits_for_owner},
    {"http server: the owner learns that the client has left",
     test_client_leaves},
    {"http server: tells those that are too many to come later",
     test_turned_away},
    {NULL, NULL},
};
