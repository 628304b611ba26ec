/* SPDX-License-Identifier: MIT */
/* What charset.c and charset_decode.c share; no interface of theirs. */
#ifndef MF_CHARSET_LABEL_H
#define MF_CHARSET_LABEL_H

enum charset_kind {
  CHARSET_UTF8,
  CHARSET_UTF16,
  CHARSET_SINGLE, /* a byte is a character */
  CHARSET_MULTI,
  CHARSET_ISO_2022_JP,
  CHARSET_USER_DEFINED, /* bytes above ASCII are U+F780 and up */
  CHARSET_REPLACEMENT,  /* never decoded: it could hide markup */
};

struct charset {
  const char *name; /* for people */
  enum charset_kind kind;
  const char *iconv;  /* its name there; NULL: not decoded by it */
  const char *labels; /* lower case, between blanks */
};

#endif
