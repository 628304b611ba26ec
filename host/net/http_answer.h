/* SPDX-License-Identifier: MIT */
/* This unit provides what comes back for one request: the lines of its headers
 * and trailers, as curl hands them over, and the body, decoded and digested or
 * kept. It knows how far the answer has come, so that what ends early is told
 * from what is whole: curl takes an answer that ends within its headers for one
 * without a body. Used by http_transfer.c. All functions are [loop]. */
#ifndef MF_HTTP_ANSWER_H
#define MF_HTTP_ANSWER_H

#include "base/buf.h"
#include "base/err.h"
#include "net/http_request.h"
#include "wrap/digest.h"

struct http_decoder;

struct http_answer {
  enum http_phase {
    HTTP_SILENT,  /* nothing has come that counts: perhaps an interim answer */
    HTTP_HEAD,    /* a status line, and not yet the end of the headers */
    HTTP_MOVED,   /* the headers of a redirect that is followed */
    HTTP_ANSWERED /* the headers of the answer; its body may be coming */
  } phase;
  int status;         /* of the last status line */
  struct buf headers; /* "Name: value\r\n" each, unfolded, of the last answer */
  struct buf trailers; /* the same, of what came behind the body */
  struct buf body;     /* HTTP_BODY_BUFFER */
  bool has_body;       /* some of it has come */
  uint64_t bytes;      /* of the decoded body */
  uint64_t received;   /* of headers and body, as they came */
  struct err failure;  /* why http_answer_line or _data refused, or kind "" */
  struct digest *digest;
  struct http_decoder *decoder; /* of a compressed body, once it has begun */
  const struct http_order *order;
};

/* 0, or -1 with kind "memory". */
int http_answer_init(struct http_answer *a, struct err *e);
void http_answer_free(struct http_answer *a); /* accepts all-zero */

/* Prepares for the answer to `order`, which is borrowed. 0, or -1 with kind
 * "memory". */
int http_answer_begin(struct http_answer *a, const struct http_order *order,
                      struct err *e);

/* Takes a line of the head or a trailer, or a piece of the body. 0, or -1 with
 * `failure` set, when the transfer is to be ended. */
int http_answer_line(struct http_answer *a, const char *line, size_t n);
int http_answer_data(struct http_answer *a, const void *data, size_t n);

/* Is what came, now that the transfer has ended well, a whole answer? 0, or -1
 * with `failure` set. */
int http_answer_end(struct http_answer *a);

/* Lets go of large memory. */
void http_answer_rest(struct http_answer *a);

#endif
