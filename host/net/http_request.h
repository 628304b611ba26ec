/* SPDX-License-Identifier: MIT */
/* The options of an HTTP request: their defaults, and how they are given to
 * curl. Used by http.c and http_transfer.c. [any] thread. */
#ifndef MF_HTTP_REQUEST_H
#define MF_HTTP_REQUEST_H

#include "net/http_types.h"

#include <curl/curl.h>

/* Sets an option of an easy handle; true when curl refuses it. */
#define HTTP_SET(easy, option, value)                                          \
  (curl_easy_setopt(easy, CURLOPT_##option, value) != CURLE_OK)

/* Fills in a method and limits that are not given. */
void http_request_set_defaults(struct http_request *r);

/* Is it one of the program's own, signed or allowed more than a job's? */
bool http_request_is_privileged(const struct http_request *r);

/* Sets all options of the request but its URL on a fresh handle. curl borrows
 * the body and the list `*headers` until the transfer has ended; the caller
 * then frees the list, also on failure. 0, or -1 with kind "memory" or
 * "system". */
int http_request_apply(const struct http_request *r, CURL *easy,
                       struct curl_slist **headers, struct err *e);

#endif
