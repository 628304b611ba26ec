/* SPDX-License-Identifier: MIT */
/* struct http_connection: a client of the HTTP server. Reads requests, one
 * after the other, lends itself with each to an owner who responds, and ends
 * clients that are slow: the head of a request has HTTP_HEAD_TIMEOUT, its body
 * HTTP_BODY_TIMEOUT and a second more for each HTTP_BODY_RATE bytes, and a
 * client that reads takes 64 KiB within HTTP_WRITE_TIMEOUT. What is malformed,
 * or too large, is answered here (http_message.h). [loop] */
#ifndef MF_HTTP_CONNECTION_H
#define MF_HTTP_CONNECTION_H

#include "event/loop.h"
#include "net/carrier.h"
#include "net/http_message.h"

#include <sys/queue.h>

#define HTTP_HEAD_TIMEOUT (10 * LOOP_S)
#define HTTP_IDLE_TIMEOUT (60 * LOOP_S) /* between requests */
#define HTTP_WRITE_TIMEOUT (30 * LOOP_S)
/* As Apache's mod_reqtimeout has them by default. */
#define HTTP_BODY_TIMEOUT (20 * LOOP_S)
enum {
  HTTP_BODY_RATE = 500,
  HTTP_WINDOW = 64 * 1024, /* bytes read ahead of the owner, sent at once */
};

struct http_connection;

struct http_connection_events {
  /* The head of a request has come. The callee is the owner from now on, until
   * http_connection_release. */
  void (*on_request)(void *arg, struct http_connection *c);
  /* The connection has ended and is freed; never while it has an owner. */
  void (*on_closed)(void *arg, struct http_connection *c);
};

/* For the lists of the server. */
struct http_connection_link {
  TAILQ_ENTRY(http_connection_link) link, waiting;
};

/* Takes over `carrier`, which has not been started, also on failure. NULL and
 * `e` (kind "memory"). */
struct http_connection *
http_connection_new(struct loop *loop, struct carrier *carrier,
                    const struct http_connection_events *events, void *arg,
                    struct err *e);

/* Answers with a refusal and then ends, whatever the client sends: it is one
 * too many. To be called instead of waiting for on_request. */
void http_connection_turn_away(struct http_connection *c);

/* Ends a connection that has no owner at once; one that has an owner when that
 * has released it. */
void http_connection_close(struct http_connection *c);

/* Ends it after the response that is under way, or now. */
void http_connection_shut_down(struct http_connection *c);

/* Whether it waits for a request, of which nothing has come. */
bool http_connection_is_idle(const struct http_connection *c);

/* The place in the list of the server, and back. */
struct http_connection_link *http_connection_link(struct http_connection *c);
struct http_connection *http_connection_of(struct http_connection_link *link);

/* ---- for the owner ---- */

/* Sets what is called when bytes of the body have come, bytes of the response
 * have left, or the client has gone. The callee may call everything below. */
void http_connection_own(struct http_connection *c,
                         void (*on_change)(void *arg), void *arg);
/* Ends the ownership. A response that is not complete ends the connection. */
void http_connection_release(struct http_connection *c);

const struct http_message *http_connection_message(struct http_connection *c);
/* "127.0.0.1:40312" */
const char *http_connection_peer(const struct http_connection *c);
/* The client is gone: nothing more can be read or sent. */
bool http_connection_is_closed(const struct http_connection *c);

/* Bytes of the body that have come; the owner takes them out. Asks for more
 * when there are none. */
struct buf *http_connection_body(struct http_connection *c);
/* Whether there are none, and none will come. */
bool http_connection_body_is_finished(const struct http_connection *c);

/* Begins the response. `headers` are whole lines, each ended by CR LF, without
 * those that say how the body ends, Connection and Date. `length` is that of
 * the body, or HTTP_STREAM when it is not known. To HEAD the body is counted
 * and not sent. */
void http_connection_respond(struct http_connection *c, int status,
                             const char *headers, size_t len, int64_t length);
enum { HTTP_STREAM = -1 };
/* Sends bytes of the body, which are copied. */
void http_connection_write(struct http_connection *c, const void *data,
                           size_t len);
/* Ends the body; bytes that are missing end the connection. */
void http_connection_finish(struct http_connection *c);
/* Whether everything that was written has been taken, or the client is gone. */
bool http_connection_is_sent(const struct http_connection *c);
/* Whether the response has begun. */
bool http_connection_has_begun(const struct http_connection *c);

#endif
