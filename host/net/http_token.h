/* SPDX-License-Identifier: MIT */
/* Tokens of HTTP (RFC 9110, section 5.6.2): methods and names of headers.
 * [any] */
#ifndef MF_HTTP_TOKEN_H
#define MF_HTTP_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static inline bool http_is_token(const char *s, size_t len)
{
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)s[i];
    bool letter = (c | 32) >= 'a' && (c | 32) <= 'z';
    bool digit = c >= '0' && c <= '9';
    if (!letter && !digit && (!c || !strchr("!#$%&'*+-.^_`|~", c)))
      return false;
  }
  return len > 0;
}

#endif
