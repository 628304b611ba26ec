/* SPDX-License-Identifier: MIT */
/* Reads the response to one request: the lines of headers and trailers, as curl
 * hands them over, and the body, decoded and then digested or kept. It knows
 * how far the response has come, and so tells one that ended early from a whole
 * one: curl takes a response that ends within its headers for one without a
 * body. Used by http_transfer.c. All functions are [loop]. */
#ifndef MF_HTTP_READER_H
#define MF_HTTP_READER_H

#include "net/http_types.h"

struct http_decoder;

struct http_reader {
  const struct http_request *request;
  enum http_phase {
    HTTP_WAITING, /* nothing that counts: perhaps an interim response */
    HTTP_HEADERS, /* a status line, and not yet the end of the headers */
    HTTP_MOVED,   /* the headers of a redirect that is followed */
    HTTP_FINAL    /* the headers of the response; its body may be coming */
  } phase;
  int status;            /* of the last status line */
  struct buf headers;    /* of the last response: "Name: value\r\n", unfolded */
  struct buf trailers;   /* the same, of those behind the body */
  struct buf body;       /* HTTP_BODY_BUFFER */
  struct buf values;     /* of one header, while it is looked at */
  struct digest *digest; /* HTTP_BODY_SHA256 */
  bool has_body;         /* some of it has come */
  uint64_t bytes;        /* of the decoded body */
  uint64_t received;     /* of headers and body, as they came */
  struct err failure;    /* why a function below failed, or kind "" */
  struct http_decoder *decoder; /* of a compressed body, once it has begun */
};

/* Prepares for the response to `request`, which is borrowed. 0, or -1 with kind
 * "memory"; http_reader_free then accepts it, and one of all zero. */
int http_reader_init(struct http_reader *r, const struct http_request *request,
                     struct err *e);
void http_reader_free(struct http_reader *r);

/* Takes a line of the headers or a trailer, or a piece of the body. 0, or -1
 * with `failure` set, when the transfer must be ended. */
int http_reader_line(struct http_reader *r, const char *line, size_t n);
int http_reader_body(struct http_reader *r, const void *data, size_t n);

/* After a transfer that succeeded: is the response whole? 0, or -1 with
 * `failure` set. */
int http_reader_finish(struct http_reader *r);

#endif
