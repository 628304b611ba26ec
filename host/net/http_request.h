/* SPDX-License-Identifier: MIT */
/* This unit provides an own copy of an HTTP request, with its defaults filled
 * in, for as long as the call waits and runs. Used by http.c and
 * http_transfer.c. [any] thread. */
#ifndef MF_HTTP_ORDER_H
#define MF_HTTP_ORDER_H

#include "net/http_types.h"

struct curl_slist;

struct http_order {
  enum http_body keep;
  uint64_t max_bytes;
  struct http_transfer_options {
    long timeout_ms, connect_timeout_ms, max_redirects;
    bool insecure, compressed;
  } options;
  bool cookies;
  char method[24]; /* empty: GET */
  struct curl_slist *headers;
  void *body;
  size_t body_len;
  /* for a handle that is not used again */
  bool special; /* any of these is set */
  bool metadata, env_proxy;
  char *sign; /* for CURLOPT_AWS_SIGV4, or NULL */
  char *key, *secret;
};

/* 0, or -1 with kind "url" or "memory" and `order` empty. */
int http_order_init(struct http_order *order, const struct http_request *req,
                    struct err *e);
void http_order_free(struct http_order *order); /* accepts all-zero */

bool http_order_has_method(const struct http_order *order, const char *method);
/* Does the request carry a body, perhaps an empty one? */
bool http_order_sends_body(const struct http_order *order);

#endif
