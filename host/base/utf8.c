/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

/* https://www.unicode.org/versions/latest/core-spec/chapter-3/#G27506, table
 * 3-7: no overlong forms, no surrogates, nothing above U+10FFFF. Returns how
 * many bytes of a character are there, and sets `whole` to whether that is all
 * of it.
 */
static size_t span(const uint8_t *s, size_t left, bool *whole)
{
  uint8_t c = s[0], low = 0x80, high = 0xbf; /* of the second byte */
  size_t i = 1, n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
  *whole = false;
  if (c >= 0x80 && (c < 0xc2 || c > 0xf4)) return 0;
  if (c == 0xe0) low = 0xa0;
  if (c == 0xed) high = 0x9f;
  if (c == 0xf0) low = 0x90;
  if (c == 0xf4) high = 0x8f;
  for (; i < n && i < left && s[i] >= low && s[i] <= high; i++) {
    low = 0x80;
    high = 0xbf;
  }
  *whole = i == n;
  return i;
}

size_t utf8_length(const uint8_t *s, size_t left)
{
  bool whole;
  size_t n = span(s, left, &whole);
  return whole ? n : 0;
}

size_t utf8_broken(const uint8_t *s, size_t left)
{
  bool whole;
  size_t n = span(s, left, &whole);
  return n ? n : 1;
}

bool utf8_is_control(const uint8_t *s)
{
  return *s < 0x20 || *s == 0x7f || (*s == 0xc2 && s[1] < 0xa0);
}
