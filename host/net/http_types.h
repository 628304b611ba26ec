/* SPDX-License-Identifier: MIT */
/* What the HTTP client takes and gives: limits, requests, responses. The
 * functions are in http.h. */
#ifndef MF_HTTP_TYPES_H
#define MF_HTTP_TYPES_H

#include "base/buf.h"
#include "base/err.h"
#include "wrap/digest.h"

#include <stdbool.h>
#include <stdint.h>

struct http_limits {
  size_t per_origin;      /* transfers at once per scheme://host:port; 0: 64 */
  size_t in_flight;       /* transfers at once in all, if the limit of open
                             files allows them; 0: 512 */
  bool allow_loopback;    /* jobs may reach 127/8 and ::1 */
  uint64_t stall_ms;      /* an answer that has begun and then brings less than
                             a byte a second for so long has failed (kind
                             "timeout"); 0: 30000 */
  const char *user_agent; /* borrowed; NULL: moonfleet/VERSION */
};

enum http_body { HTTP_BODY_BUFFER, HTTP_BODY_SHA256 };

/* AWS Signature Version 4 for a POST with a body, whose URL has no query:
 * libcurl 7.88 signs the parameters of a query in the order they stand, not
 * sorted. The body counts as a form unless Content-Type says otherwise; a
 * session token is a header that the caller gives, and signed. The date is this
 * machine's: given as a header, it would be there twice. */
struct http_sign {
  const char *service, *region; /* letters, digits and dashes */
  const char *key, *secret;
};

/* What to do. All strings are borrowed during http_start only. */
struct http_request {
  const char *method; /* NULL: GET */
  const char *url;    /* http and https only; blanks around it are cut */
  size_t url_len;     /* an embedded NUL is refused */
  const char *const
      *headers;     /* "Name: value" lines, NULL-terminated, or NULL */
  const void *body; /* request body or NULL; copied */
  size_t body_len;
  enum http_body keep;
  uint64_t timeout_ms;         /* whole transfer, from the moment it leaves the
                                  queue; 0: 60000 */
  uint64_t connect_timeout_ms; /* 0: 10000 */
  uint64_t max_bytes; /* of the decoded body; 0: BUFFER 64 MiB, SHA256 none */
  unsigned max_redirects; /* followed; 0 means none */
  bool insecure;          /* do not verify TLS */
  bool compressed;        /* offer gzip and deflate, and decode */
  bool cookies;           /* those of a redirect are sent with the next */
  /* For the program's own requests, never those of a job. None of these follows
   * redirects, and none leaves anything behind for later requests. */
  const struct http_sign *sign; /* or NULL */
  bool metadata;  /* loopback, link-local and instance service addresses may be
                     reached; a connection of its own */
  bool env_proxy; /* by the proxy that https_proxy and its kin name, which may
                     be on loopback */
};

struct http_response {
  long status;                 /* of the last response */
  const char *url;             /* after redirects, its host in ASCII */
  uint64_t bytes;              /* of the decoded body */
  double elapsed;              /* seconds, since the transfer left the queue */
  uint8_t sha256[DIGEST_SIZE]; /* HTTP_BODY_SHA256 */
  /* HTTP_BODY_BUFFER; may be taken by buf_swap. Headers of the last response
   * and what came behind its body: "Name: value\r\n" each, unfolded. */
  struct buf *body, *headers, *trailers;
};

/* Called once per call that was not cancelled, from the loop: `r` and no `e` on
 * success (any HTTP status), or `e`, and in `r` the status alone if an answer
 * had begun, else 0. Kinds are "url" (malformed, or a scheme other than
 * http and https), "dns", "connect" (refused, unreachable, reset), "refused"
 * (an address that jobs may not reach), "tls", "timeout", "too_large",
 * "redirect" (more than max_redirects, or to another scheme), "truncated" (the
 * headers or the body ended early), "protocol" (not HTTP), "decode" (a body
 * that is spoilt, or of a coding that is not asked for), "memory", or "system"
 * (this libcurl cannot sign). Pointers in `r` are valid during the call. The
 * call is freed after it returns. */
typedef void http_done(void *arg, const struct http_response *r,
                       const struct err *e);

#endif
