/* SPDX-License-Identifier: MIT */
/* This unit provides character sets of the web: which one a label of a page or
 * a header means, which one a page is in, and its bytes as UTF-8.
 *
 * Labels mean what browsers take them for (encoding.spec.whatwg.org, section
 * 4.2): gb2312 is gb18030, iso-8859-1 is windows-1252. Tables are those of
 * iconv in libc, with what they lack beside those of browsers added here. What
 * does not decode is U+FFFD, and never ends a text: one for each byte that
 * starts no character, one for what the end cuts off, and in UTF-8 and UTF-16
 * one for each longest piece of a character, as Python's decoders do it with
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
    CHARSET_REPLACEMENT,  /* never decoded: it could hide markup */
  } kind;
  const char *iconv;  /* its name for iconv and libxml2, or NULL */
  const char *labels; /* lower case, separated by blanks */
};

extern const struct charset *const charset_utf8;

/* The charset of a label, without regard to case and blanks around it. NULL:
 * it is the label of none. */
const struct charset *charset_find(const char *label, size_t len);

/* The charset that a media type names ("text/html; charset=..."). NULL: it
 * names none that is known. */
const struct charset *charset_of_type(const char *type);

/* The charset that an XML declaration names; NULL: there is none, or it names
 * none that is known. */
const struct charset *charset_of_declaration(const char *bytes, size_t len);

/* The charset of a page of HTML: that of its byte order mark, or else `told`,
 * or else that of a meta element in its first 1,024 bytes, or else UTF-8 if all
 * of it is, or that of a later meta element, or else windows-1252. `told`, by
 * the transport or the caller, may be NULL. `mark` is set to the length of the
 * byte order mark, which is no part of the text. */
const struct charset *charset_of_page(const char *bytes, size_t len,
                                      const struct charset *told, size_t *mark);

bool charset_is_utf8(const char *bytes, size_t len);

/* Appends the bytes as UTF-8; NUL is U+FFFD, too. Failure of `out` (its cap, or
 * memory) is sticky there and not told here. 0, or -1 and `e` (kind "system")
 * when this machine's libc has no table for the charset. */
int charset_decode(const struct charset *c, const char *bytes, size_t len,
                   struct buf *out, struct err *e);

/* Appends one character. */
void charset_add(struct buf *out, unsigned character);

/* Whether iconv knows a charset of that name, which need not be a label. */
bool charset_is_known(const char *name);
/* The same as charset_decode for a charset that charset_is_known. */
int charset_decode_named(const char *name, const char *bytes, size_t len,
                         struct buf *out, struct err *e);

#endif
