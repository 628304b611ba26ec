/* SPDX-License-Identifier: MIT */
/* struct http_message: the head of one request to the HTTP server, as its bytes
 * arrive. The grammar is read by llhttp, or by http-parser where a system has
 * no llhttp. Both are lenient in ways that differ between releases and builds,
 * and leniency is what request smuggling lives on; so what RFC 9112 lets a
 * server refuse is refused here, the same with every parser: a line that ends
 * without CR LF, a folded line, a control character, a name that is no token,
 * more than one Host, two lengths of the body. A body has a Content-Length:
 * transfer codings of requests, which no browser sends, are refused (411).
 * [any] */
#ifndef MF_HTTP_MESSAGE_H
#define MF_HTTP_MESSAGE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  HTTP_MAX_HEAD = 16 * 1024, /* bytes of the request line and the headers */
  HTTP_MAX_FIELDS = 100,     /* headers */
};

/* Bytes within the head. */
struct http_span {
  const char *at;
  size_t len;
};

struct http_field {
  struct http_span name, value;
};

enum http_message_state {
  HTTP_MESSAGE_EMPTY,    /* nothing of it has come */
  HTTP_MESSAGE_PARTIAL,  /* a part of the head has come */
  HTTP_MESSAGE_COMPLETE, /* the head is there and valid */
  HTTP_MESSAGE_REFUSED,  /* see `status` and `why`; nothing more is read */
};

/* Read-only. Spans are valid until the message is cleared. */
struct http_message {
  enum http_message_state state;
  int status;      /* of the response to what was refused */
  const char *why; /* a sentence for its body */
  const char *method;
  struct http_span target;
  struct http_field fields[HTTP_MAX_FIELDS];
  int field_count;
  bool keep_alive;       /* the client would send another request */
  bool is_1_0;           /* it speaks HTTP/1.0 */
  bool expects_continue; /* it waits for 100 (Continue) with the body */
  uint64_t length;       /* of the body, in bytes */
  /* internal */
  struct buf head;
  uint8_t last;     /* byte of the head */
  size_t line;      /* bytes of the line that has no end yet */
  bool skipped;     /* the empty line before a request */
  bool after_value; /* of the field that was added last */
  bool too_many;    /* fields */
};

void http_message_init(struct http_message *m);
/* Makes it ready for the next request. */
void http_message_clear(struct http_message *m);
void http_message_free(struct http_message *m);

/* Takes bytes up to the end of the head and returns how many it has taken:
 * fewer than `len` only when the message is complete or refused. */
size_t http_message_receive(struct http_message *m, const void *data,
                            size_t len);

/* The value of the first header with that name, which is in lower case; NULL:
 * none. */
const struct http_span *http_message_field(const struct http_message *m,
                                           const char *name);

#endif
