/* SPDX-License-Identifier: MIT */
#include "net/http_connection.h"

#include "base/container.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* After the last response the client may still be sending: to close then would
 * discard the response at its end, too. */
#define DRAIN_TIMEOUT (2 * LOOP_S)
enum {
  MAX_OUT = 128 * 1024 * 1024, /* bytes of a response that wait */
  MAX_LINES = 64 * 1024,       /* bytes of the head of a response */
};

enum state {
  READING,  /* a request */
  OWNED,    /* a request is with its owner */
  SENDING,  /* the owner is done, and the response is on its way */
  DRAINING, /* no request is read any more; what comes is dropped */
};

/* What the timer is for. */
enum wait {
  WAIT_NONE,
  WAIT_IDLE, /* nothing of a request has come */
  WAIT_HEAD,
  WAIT_BODY,
  WAIT_WRITE,
  WAIT_DRAIN,
};

struct http_connection {
  struct http_connection_link link; /* first */
  struct loop *loop;
  struct carrier *carrier;
  const struct http_connection_events *events;
  void *arg;
  enum state state;
  struct http_message message;
  struct buf input; /* that has not been looked at */
  struct buf body;
  uint64_t body_left, body_taken; /* bytes: to come; that have come */
  uint64_t body_began;            /* the owner has first asked for it */
  void (*on_change)(void *arg);
  void *owner;
  /* ---- the response ---- */
  bool begun, finished;
  bool keep;            /* another request may follow */
  bool chunked;         /* the body */
  bool bodiless;        /* a response without body, whatever is written */
  int64_t left;         /* bytes of the body to be written, or HTTP_STREAM */
  struct buf out, next; /* what is being sent; what comes after it */
  size_t at, sending; /* of `out`: bytes that are taken; that are on the way */
  /* ---- its end ---- */
  bool closed;  /* the carrier has ended, or is to */
  bool cut_off; /* the owner is to find the client gone: it was refused */
  bool broken;  /* bytes of the response are missing */
  bool last;    /* no other request is read */
  bool drains;  /* the client may still be sending: see DRAIN_TIMEOUT */
  bool advancing;
  struct loop_timer timer;
  enum wait waits;
};

struct http_connection_link *http_connection_link(struct http_connection *c)
{
  return &c->link;
}

struct http_connection *http_connection_of(struct http_connection_link *link)
{
  return CONTAINER_OF(link, struct http_connection, link);
}

static void advance(struct http_connection *c);

/* ---- time ---- */

static void set_timer(struct http_connection *c, enum wait waits, uint64_t ns)
{
  c->waits = waits;
  loop_timer_set(c->loop, &c->timer, ns);
}

static void clear_timer(struct http_connection *c)
{
  c->waits = WAIT_NONE;
  loop_timer_clear(c->loop, &c->timer);
}

/* ---- the end ---- */

static void destroy(struct http_connection *c)
{
  loop_timer_clear(c->loop, &c->timer);
  carrier_close(c->carrier);
  http_message_free(&c->message);
  buf_free(&c->input);
  buf_free(&c->body);
  buf_free(&c->out);
  buf_free(&c->next);
  c->events->on_closed(c->arg, c);
  free(c);
}

/* Nothing more can be read or sent. The owner learns it; without one the
 * connection is freed. */
static void end(struct http_connection *c)
{
  c->closed = true;
  clear_timer(c);
  if (c->state != OWNED)
    destroy(c);
  else if (c->on_change)
    c->on_change(c->owner);
}

static void on_end(void *arg, const struct err *reason)
{
  (void)reason;
  end(arg);
}

/* ---- sending ---- */

/* Sends what waits, piece by piece; a failure of the carrier is told later. */
static void flush(struct http_connection *c)
{
  while (!c->closed && !c->sending) {
    if (c->at == c->out.len) {
      c->at = 0;
      buf_reset(&c->out);
      if (!c->next.len) break;
      buf_swap(&c->out, &c->next);
    }
    size_t n = c->out.len - c->at;
    if (n > HTTP_WINDOW) n = HTTP_WINDOW;
    struct iovec part = {c->out.data + c->at, n};
    if (carrier_send(c->carrier, &part, 1)) {
      c->at += n;
      continue;
    }
    c->sending = n;
    set_timer(c, WAIT_WRITE, HTTP_WRITE_TIMEOUT);
  }
  if (!c->sending && c->waits == WAIT_WRITE) clear_timer(c);
}

static bool all_is_sent(const struct http_connection *c)
{
  return !c->sending && c->at == c->out.len && !c->next.len;
}

bool http_connection_is_sent(const struct http_connection *c)
{
  return http_connection_is_closed(c) || all_is_sent(c);
}

static void put(struct http_connection *c, const void *data, size_t len)
{
  if (len && buf_add(&c->next, data, len) < 0) c->broken = true;
}

static void put_text(struct http_connection *c, const char *text)
{
  put(c, text, strlen(text));
}

static void on_sent(void *arg)
{
  struct http_connection *c = arg;
  c->at += c->sending;
  c->sending = 0;
  flush(c);
  if (c->state != OWNED)
    advance(c);
  else if (c->on_change)
    c->on_change(c->owner);
}

/* ---- the head of a response ---- */

static const char *reason_of(int status)
{
  static const struct {
    int status;
    const char *reason;
  } reasons[] = {
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {302, "Found"},
      {303, "See Other"},
      {304, "Not Modified"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {410, "Gone"},
      {411, "Length Required"},
      {413, "Content Too Large"},
      {415, "Unsupported Media Type"},
      {417, "Expectation Failed"},
      {421, "Misdirected Request"},
      {422, "Unprocessable Content"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {503, "Service Unavailable"},
      {505, "HTTP Version Not Supported"},
  };
  for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
    if (reasons[i].status == status) return reasons[i].reason;
  return ""; /* RFC 9112, section 4: it may be empty */
}

/* RFC 9110, section 5.6.7; in English whatever the locale. */
static void put_date(struct http_connection *c)
{
  static const char days[] = "SunMonTueWedThuFriSat";
  static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  char line[64];
  struct tm t;
  time_t now = time(NULL);
  if (!gmtime_r(&now, &t)) return;
  snprintf(line, sizeof(line),
           "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n",
           days + 3 * t.tm_wday, t.tm_mday, months + 3 * t.tm_mon,
           1900 + t.tm_year, t.tm_hour, t.tm_min, t.tm_sec);
  put_text(c, line);
}

/* http_connection_respond, also to a client that is cut off. */
static void respond(struct http_connection *c, int status, const char *headers,
                    size_t len, int64_t length)
{
  char line[128];
  const struct http_message *m = &c->message;
  bool never = status == 204 || status == 304; /* has a body */
  c->begun = true;
  c->bodiless = never || (m->method && !strcmp(m->method, "HEAD"));
  c->left = length;
  c->chunked = length == HTTP_STREAM && !m->is_1_0 && !never;
  c->keep = m->keep_alive && !c->body_left && !c->last &&
            (length != HTTP_STREAM || c->chunked);
  snprintf(line, sizeof(line), "HTTP/1.1 %d %s\r\n", status, reason_of(status));
  put_text(c, line);
  put_date(c);
  put(c, headers, len);
  if (c->chunked) put_text(c, "Transfer-Encoding: chunked\r\n");
  if (length != HTTP_STREAM && !never) {
    snprintf(line, sizeof(line), "Content-Length: %" PRId64 "\r\n", length);
    put_text(c, line);
  }
  if (!c->keep)
    put_text(c, "Connection: close\r\n");
  else if (m->is_1_0)
    put_text(c, "Connection: keep-alive\r\n");
  put_text(c, "\r\n");
  flush(c);
}

void http_connection_respond(struct http_connection *c, int status,
                             const char *headers, size_t len, int64_t length)
{
  if (!c->cut_off) respond(c, status, headers, len, length);
}

void http_connection_write(struct http_connection *c, const void *data,
                           size_t len)
{
  char line[24];
  if (!len || c->finished || c->cut_off) return;
  if (c->left != HTTP_STREAM) {
    if ((uint64_t)len > (uint64_t)c->left) len = (size_t)c->left;
    c->left -= (int64_t)len;
  }
  if (c->bodiless || c->closed) return;
  if (c->chunked) {
    snprintf(line, sizeof(line), "%zx\r\n", len);
    put_text(c, line);
  }
  put(c, data, len);
  if (c->chunked) put_text(c, "\r\n");
  flush(c);
}

void http_connection_finish(struct http_connection *c)
{
  if (c->finished) return;
  c->finished = true;
  if (c->left > 0 && !c->bodiless) c->broken = true;
  if (c->chunked && !c->bodiless) put_text(c, "0\r\n\r\n");
  flush(c);
}

bool http_connection_has_begun(const struct http_connection *c)
{
  return c->begun;
}

/* ---- requests ---- */

/* Answers by itself, as the last thing that is sent. */
static void refuse(struct http_connection *c, int status, const char *why)
{
  static const char headers[] = "Content-Type: text/plain; charset=utf-8\r\n"
                                "X-Content-Type-Options: nosniff\r\n"
                                "Cache-Control: no-store\r\n";
  char body[160];
  int len = snprintf(body, sizeof(body), "%s\n", why);
  c->last = c->drains = true;
  respond(c, status, headers, sizeof(headers) - 1, len);
  http_connection_write(c, body, (size_t)len);
  http_connection_finish(c);
  if (c->state != OWNED) c->state = SENDING;
}

/* Moves bytes of the body out of the input. */
static void take_body(struct http_connection *c)
{
  size_t n = c->input.len, room = HTTP_WINDOW - c->body.len;
  if (n > room) n = room;
  if (n > c->body_left) n = (size_t)c->body_left;
  if (!n || buf_add(&c->body, c->input.data, n) < 0) return;
  buf_consume(&c->input, n);
  c->body_left -= n;
  c->body_taken += n;
}

static bool drops_input(const struct http_connection *c)
{
  return c->state == DRAINING || (c->state == SENDING && !c->keep);
}

/* Whether more input is wanted. While a request is with its owner, and its body
 * is there, only the end of the connection is of interest; bytes of another
 * request wait, and stop the reading. */
static bool wants_input(const struct http_connection *c)
{
  if (c->state == READING || drops_input(c)) return true;
  if (c->state == OWNED && c->body_left)
    return c->input.len + c->body.len < HTTP_WINDOW;
  return c->input.len == 0;
}

static void begin_request(struct http_connection *c)
{
  c->state = OWNED;
  c->body_left = c->message.length;
  c->body_taken = c->body_began = 0;
  c->begun = c->finished = c->chunked = c->bodiless = c->keep = false;
  c->left = 0;
  clear_timer(c);
  c->events->on_request(c->arg, c);
}

static void read_request(struct http_connection *c)
{
  struct http_message *m = &c->message;
  size_t used = http_message_receive(m, c->input.data, c->input.len);
  buf_consume(&c->input, used);
  if (m->state == HTTP_MESSAGE_REFUSED)
    refuse(c, m->status, m->why);
  else if (m->state == HTTP_MESSAGE_COMPLETE)
    begin_request(c);
  else if (m->state == HTTP_MESSAGE_PARTIAL && c->waits != WAIT_HEAD)
    set_timer(c, WAIT_HEAD, HTTP_HEAD_TIMEOUT);
}

/* The response was sent: another request follows, or nothing. */
static void end_response(struct http_connection *c)
{
  if (c->keep && !c->last && !c->broken) {
    http_message_clear(&c->message);
    c->state = READING;
    set_timer(c, WAIT_IDLE, HTTP_IDLE_TIMEOUT);
  } else if (c->drains && !c->broken) {
    c->state = DRAINING;
    set_timer(c, WAIT_DRAIN, DRAIN_TIMEOUT);
  } else {
    c->closed = true;
  }
}

/* Does what there is to do without an owner. The loop, instead of calls from
 * one request to the next, bounds the stack: many may have come at once. May
 * free the connection. */
static void advance(struct http_connection *c)
{
  if (c->advancing) return;
  c->advancing = true;
  while (!c->closed) {
    if (c->state == READING && c->input.len)
      read_request(c);
    else if (c->state == SENDING && all_is_sent(c))
      end_response(c);
    else
      break;
  }
  c->advancing = false;
  if (drops_input(c)) buf_reset(&c->input);
  if (c->closed && c->state != OWNED)
    destroy(c);
  else if (!c->closed)
    carrier_pause(c->carrier, !wants_input(c));
}

static void on_bytes(void *arg, const uint8_t *data, size_t len)
{
  struct http_connection *c = arg;
  if (drops_input(c)) return;
  if (buf_add(&c->input, data, len) < 0) {
    end(c);
  } else if (c->state == OWNED && c->body_left) {
    take_body(c);
    carrier_pause(c->carrier, !wants_input(c));
    if (c->on_change) c->on_change(c->owner);
  } else {
    advance(c);
  }
}

static void on_time(struct loop_timer *timer)
{
  struct http_connection *c =
      CONTAINER_OF(timer, struct http_connection, timer);
  enum wait waits = c->waits;
  c->waits = WAIT_NONE;
  if (waits == WAIT_HEAD && c->message.state == HTTP_MESSAGE_PARTIAL) {
    refuse(c, 408, "The head of the request did not come in time.");
    advance(c);
  } else if (waits == WAIT_BODY && !c->begun) {
    refuse(c, 408, "The body of the request did not come in time.");
    c->cut_off = true;
    if (c->on_change) c->on_change(c->owner);
  } else {
    end(c);
  }
}

/* ---- for the owner ---- */

void http_connection_own(struct http_connection *c,
                         void (*on_change)(void *arg), void *arg)
{
  c->on_change = on_change;
  c->owner = arg;
}

const struct http_message *http_connection_message(struct http_connection *c)
{
  return &c->message;
}

const char *http_connection_peer(const struct http_connection *c)
{
  return c->carrier->peer;
}

bool http_connection_is_closed(const struct http_connection *c)
{
  return c->closed || c->cut_off;
}

bool http_connection_body_is_finished(const struct http_connection *c)
{
  return !c->body.len && (!c->body_left || http_connection_is_closed(c));
}

struct buf *http_connection_body(struct http_connection *c)
{
  if (http_connection_is_closed(c)) return &c->body;
  take_body(c);
  if (!c->body.len && c->body_left) {
    uint64_t now = loop_clock();
    if (!c->body_began) {
      c->body_began = now;
      if (c->message.expects_continue && !c->body_taken && !c->begun)
        put_text(c, "HTTP/1.1 100 Continue\r\n\r\n");
      flush(c);
    }
    uint64_t due = c->body_began + HTTP_BODY_TIMEOUT +
                   c->body_taken / HTTP_BODY_RATE * LOOP_S;
    if (!c->sending) set_timer(c, WAIT_BODY, due > now ? due - now : 0);
  } else if (c->waits == WAIT_BODY) {
    clear_timer(c);
  }
  carrier_pause(c->carrier, !wants_input(c));
  return &c->body;
}

void http_connection_release(struct http_connection *c)
{
  c->on_change = NULL;
  c->owner = NULL;
  buf_reset(&c->body);
  if (c->waits == WAIT_BODY) clear_timer(c);
  if (!c->finished) c->closed = true;
  if (c->body_left) c->drains = true;
  c->state = SENDING;
  advance(c);
}

/* ---- construction ---- */

struct http_connection *
http_connection_new(struct loop *loop, struct carrier *carrier,
                    const struct http_connection_events *events, void *arg,
                    struct err *e)
{
  static const struct carrier_events own = {on_bytes, on_sent, on_end};
  struct http_connection *c = err_calloc(sizeof(*c), "a connection", e);
  if (!c) {
    carrier_close(carrier);
    return NULL;
  }
  c->loop = loop;
  c->carrier = carrier;
  c->events = events;
  c->arg = arg;
  c->timer.on_expire = on_time;
  http_message_init(&c->message);
  buf_init(&c->input, 4 * HTTP_WINDOW + MAX_LINES);
  buf_init(&c->body, HTTP_WINDOW);
  buf_init(&c->out, MAX_OUT);
  buf_init(&c->next, MAX_OUT);
  set_timer(c, WAIT_HEAD, HTTP_HEAD_TIMEOUT);
  carrier_start(carrier, &own, c);
  return c;
}

void http_connection_turn_away(struct http_connection *c)
{
  refuse(c, 503, "There are too many connections; try again later.");
  advance(c);
}

bool http_connection_is_idle(const struct http_connection *c)
{
  return c->state == READING && c->message.state == HTTP_MESSAGE_EMPTY &&
         !c->input.len;
}

void http_connection_close(struct http_connection *c)
{
  if (!c->closed) end(c);
}

void http_connection_shut_down(struct http_connection *c)
{
  if (http_connection_is_idle(c))
    destroy(c);
  else
    c->last = true;
}
