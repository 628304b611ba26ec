/* SPDX-License-Identifier: MIT */
/* Decodes compressed bodies with zlib: gzip, in one member or several as
 * gzip(1) reads them, and deflate, which servers send with zlib's header and
 * without. curl could do it, but takes a body that was cut off for a whole one,
 * and refuses a second gzip member. Used by http_reader.c. [any] thread, one at
 * a time. */
#ifndef MF_HTTP_DECODE_H
#define MF_HTTP_DECODE_H

#include "base/err.h"

#include <stdbool.h>

/* The value of Accept-Encoding: what is decoded here. */
#define HTTP_DECODE_ACCEPTED "gzip, deflate"

struct http_decoder;

/* Takes decoded bytes; a value below 0 ends the decoding. */
typedef int http_decoder_take(void *arg, const void *data, size_t n);

/* Makes a decoder for a body with this Content-Encoding: 0 and `*d`, for
 * http_decoder_free, or NULL for a body that needs none; or -1 with kind
 * "decode" for what is not decoded here, or "memory". */
int http_decoder_new(struct http_decoder **d, const char *codings,
                     http_decoder_take *take, void *arg, struct err *e);
void http_decoder_free(struct http_decoder *d); /* accepts NULL */

/* Decodes more of the body. 0, or -1 with kind "decode" or "memory"; when
 * `take` ended it, `e` is unchanged. */
int http_decoder_write(struct http_decoder *d, const void *data, size_t n,
                       struct err *e);

/* May the body end here? */
bool http_decoder_whole(const struct http_decoder *d);

/* Does this Transfer-Encoding, "" when there is none, name nothing but what
 * every libcurl decodes? */
bool http_decode_is_chunked(const char *codings);

#endif
