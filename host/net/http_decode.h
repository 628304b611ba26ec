/* SPDX-License-Identifier: MIT */
/* This unit provides the decoding of compressed bodies by zlib: gzip, in one
 * part or several as gzip(1) reads them, and deflate, which servers send with
 * zlib's header and without. curl could do it, but takes a body that was cut
 * off for a whole one, and refuses the second part of a gzip body. Used by
 * http_transfer.c. [any] thread, one at a time. */
#ifndef MF_HTTP_DECODE_H
#define MF_HTTP_DECODE_H

#include "base/err.h"

#include <stdbool.h>

/* The value of Accept-Encoding: what is decoded here. */
#define HTTP_DECODE_ACCEPTED "gzip, deflate"

struct http_decoder;

/* Takes decoded bytes; a value below 0 ends the decoding. */
typedef int http_decoder_take(void *arg, const void *data, size_t n);

/* A decoder for a body with this Content-Encoding, for http_decoder_free, or
 * NULL: `*plain` when the body needs none, else `e`, kind "decode" for what
 * is not decoded here, or "memory". */
struct http_decoder *http_decoder_new(const char *codings, size_t len,
                                      http_decoder_take *take, void *arg,
                                      bool *plain, struct err *e);
void http_decoder_free(struct http_decoder *d); /* accepts NULL */

/* Decodes more of the body. 0, or -1 with kind "decode" or "memory"; when
 * `take` ended it, `e` is as it was. */
int http_decoder_write(struct http_decoder *d, const void *data, size_t n,
                       struct err *e);

/* May the body end here? */
bool http_decoder_whole(const struct http_decoder *d);

#endif
