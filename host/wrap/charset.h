/* SPDX-License-Identifier: MIT */
/* Character sets of the web: finds the charset of a label or a page, and
 * decodes bytes to UTF-8.
 *
 * Labels mean what they mean to browsers (encoding.spec.whatwg.org, section
 * 4.2): gb2312 is gb18030, iso-8859-1 is windows-1252. The tables are those of
 * iconv in libc, plus what they lack compared with browsers. Bytes that do not
 * decode become U+FFFD and never end a text: one for each byte that starts no
 * character, one for a character that the end cuts off, and in UTF-8 and UTF-16
 * one for each longest part of a character, as Python's decoders do with
 * errors="replace". [any] thread. */
#ifndef MF_CHARSET_H
#define MF_CHARSET_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct buf;

struct charset {
  const char *name; /* for people */
  enum {
    CHARSET_UTF8,
    CHARSET_UTF16,
    CHARSET_SINGLE, /* a byte is a character */
    CHARSET_MULTI,  /* of East Asia: bytes, pairs of them, and more */
    CHARSET_ISO_2022_JP,
    CHARSET_USER_DEFINED, /* bytes above ASCII are U+F780 and up */
    CHARSET_REPLACEMENT,  /* never decoded, because it could hide markup */
  } kind;
  const char *iconv;  /* its name for iconv and libxml2, or NULL */
  const char *labels; /* lower case, separated by blanks */
};

extern const struct charset *const charset_utf8;

/* The charset of a label, ignoring case and surrounding blanks; NULL: unknown.
 */
const struct charset *charset_find(const char *label, size_t len);

/* The charset in a media type ("text/html; charset=..."). NULL: none, or
 * unknown.
 */
const struct charset *charset_of_type(const char *type);

/* The charset in an XML declaration. NULL: none, or unknown. */
const struct charset *charset_of_declaration(const char *bytes, size_t len);

/* The charset of an HTML page: that of its byte order mark, or else `given`, or
 * else that of a meta element in its first 1,024 bytes, or else UTF-8 if the
 * page is valid UTF-8, or else that of a later meta element, or else
 * windows-1252. `given`, by the HTTP response or the caller, may be NULL.
 * `mark` is set to the length of the byte order mark, which is not part of the
 * text. */
const struct charset *charset_of_page(const char *bytes, size_t len,
                                      const struct charset *given,
                                      size_t *mark);

bool charset_is_utf8(const char *bytes, size_t len);

/* Appends the bytes to `out` as UTF-8; NUL becomes U+FFFD, too. A failure of
 * `out` (its cap, or memory) is sticky there and not returned. 0, or -1 and `e`
 * (kind "system") if libc has no table for the charset on this machine. */
int charset_decode(const struct charset *c, const char *bytes, size_t len,
                   struct buf *out, struct err *e);

/* Appends one character. */
void charset_add(struct buf *out, unsigned character);

/* Whether iconv knows a charset of this name, which need not be a label. Its
 * kind is then CHARSET_MULTI. */
bool charset_is_known(const char *name);

#endif
