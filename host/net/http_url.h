/* SPDX-License-Identifier: MIT */
/* The URL of a request: checked, and its host name converted to ASCII in any
 * locale. Used by http.c and http_transfer.c. [any] thread. */
#ifndef MF_HTTP_URL_H
#define MF_HTTP_URL_H

#include "base/err.h"

#include <stdbool.h>

/* Checks what curl and the queue rely on; curl checks the rest. Returns the URL
 * for free(), without the blanks around it and with an ASCII host name, and in
 * `*origin` the length of its scheme://user@host:port; or NULL and `e` with
 * kind "url" or "memory". */
char *http_url_normalise(const char *text, size_t len, size_t *origin,
                         struct err *e);

/* The URL for an error text: without a password, printable, not too long. */
void http_url_show(const char *url, size_t len, char *out, size_t size);

/* Does the URL begin with http:// or https://? */
bool http_url_is_web(const char *url);

/* Has the host of this URL a byte beyond ASCII? */
bool http_url_is_international(const char *url);

#endif
