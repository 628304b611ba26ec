/* SPDX-License-Identifier: MIT */
/* This unit provides the URL of a request as the client goes on with it:
 * without the blanks around it, and with a host name beyond ASCII in its ASCII
 * form, in any locale. Used by http.c and http_transfer.c. [any] thread. */
#ifndef MF_HTTP_URL_H
#define MF_HTTP_URL_H

#include "base/err.h"

#include <stdbool.h>

struct http_url {
  const char *text; /* does not end with NUL; of the text given, or `ascii` */
  size_t len;
  size_t origin; /* the length of scheme://user@host:port */
  char *ascii;   /* the text where it had to be changed, ends with NUL; else
                    NULL */
};

/* Reads what curl and the queue need to know; curl checks the rest. `text` is
 * borrowed as long as `u` is used. 0, or -1 with kind "url" or "memory". */
int http_url_read(struct http_url *u, const char *text, size_t len,
                  struct err *e);
void http_url_free(struct http_url *u);

/* The URL for an error text: without a password, printable, not too long. */
void http_url_show(const char *url, size_t len, char *out, size_t size);

/* Does the URL begin with http:// or https://? */
bool http_url_is_web(const char *url);

/* Has the host of this URL a byte beyond ASCII? */
bool http_url_is_international(const char *url);

#endif
