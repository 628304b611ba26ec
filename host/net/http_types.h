/* SPDX-License-Identifier: MIT */
/* Types of the HTTP client: limits, requests, responses. The functions are in
 * http.h. */
#ifndef MF_HTTP_TYPES_H
#define MF_HTTP_TYPES_H

#include "base/buf.h"
#include "base/err.h"
#include "wrap/digest.h"

#include <stdbool.h>
#include <stdint.h>

struct http_limits {
  size_t per_origin;       /* transfers at once per scheme://host:port; 0: 64 */
  size_t in_flight;        /* transfers at once in all, as far as the limit of
                              open files allows; 0: 512 */
  const char *allow_hosts; /* list of http_filter.h; NULL: only public addresses
                            */
  uint64_t stall_ms; /* a response that has begun fails with "timeout" when
                        less than a byte a second arrives for this long;
                        0: 30000 */
};

enum http_body { HTTP_BODY_BUFFER, HTTP_BODY_SHA256 };

/* AWS Signature Version 4 for a POST with a body and without a query: libcurl
 * 7.88 signs the parameters of a query in the order they stand, not sorted. The
 * body counts as a form unless there is a Content-Type header; a session token
 * is a header that the caller gives, and is signed. The date is this machine's:
 * given as a header, it would be sent twice. */
struct http_sign {
  const char *service, *region; /* letters, digits and dashes */
  const char *key, *secret;
};

struct http_request {
  const char *method; /* a token; NULL: GET */
  const char *url;    /* http and https only; blanks around it are cut */
  size_t url_len;     /* an embedded NUL is refused */
  const char *const
      *headers;     /* "Name: value" lines, NULL-terminated, or NULL */
  const void *body; /* or NULL */
  size_t body_len;
  enum http_body keep;
  uint64_t timeout_ms; /* of the whole transfer, from the moment it leaves the
                          queue; 0: 60000 */
  uint64_t connect_timeout_ms; /* 0: 10000 */
  uint64_t max_bytes; /* of the decoded body; 0: BUFFER 64 MiB, SHA256 none */
  unsigned max_redirects; /* followed; 0 means none */
  bool insecure;          /* do not verify TLS */
  bool compressed;        /* offer gzip and deflate, and decode */
  bool cookies;           /* send those of a redirect with the next request */
  /* For the program's own requests, never those of a job. None of these follows
   * redirects, and none leaves anything behind for later requests. Each may
   * reach loopback and private addresses. */
  const struct http_sign *sign; /* or NULL */
  bool metadata;  /* may reach link-local addresses and metadata services, too;
                     has a connection of its own */
  bool env_proxy; /* use the proxy of https_proxy and its kin */
};

struct http_response {
  long status;                 /* of the last response */
  const char *url;             /* after redirects, its host in ASCII */
  uint64_t bytes;              /* of the decoded body */
  double elapsed;              /* seconds since the transfer left the queue */
  uint8_t sha256[DIGEST_SIZE]; /* HTTP_BODY_SHA256 */
  /* HTTP_BODY_BUFFER; buf_swap may take them. The headers of the last response
   * and the trailers behind its body: "Name: value\r\n" each, unfolded. */
  struct buf *body, *headers, *trailers;
};

/* Called from the loop, once per call that was not cancelled: with `r` and no
 * `e` on success (any HTTP status), or with `e`, and in `r` only the status if
 * a response had begun, else 0. Kinds are "url" (malformed, or a scheme other
 * than http and https), "dns", "connect" (refused, unreachable, reset),
 * "refused" (an address that jobs may not reach), "tls", "timeout",
 * "too_large", "redirect" (more than max_redirects, or to another scheme),
 * "truncated" (the headers or the body ended early), "protocol" (not HTTP),
 * "decode" (a body that is corrupt, or has a coding that was not asked for),
 * "memory", or "system" (this libcurl cannot sign). Pointers in `r` are valid
 * during the call. The call is freed after it returns. */
typedef void http_done(void *arg, const struct http_response *r,
                       const struct err *e);

#endif
