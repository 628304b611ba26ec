/* SPDX-License-Identifier: MIT */
#include "utf8.h"

/* https://www.unicode.org/versions/latest/core-spec/chapter-3/#G27506, table
 * 3-7: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t utf8_length(const uint8_t *s, size_t left)
{
  uint8_t c = s[0], low = 0x80, high = 0xbf;
  size_t n;
  if (c < 0x80) return 1;
  if (c < 0xc2 || c > 0xf4) return 0;
  n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
  if (c == 0xe0) low = 0xa0;
  if (c == 0xed) high = 0x9f;
  if (c == 0xf0) low = 0x90;
  if (c == 0xf4) high = 0x8f;
  if (left < n || s[1] < low || s[1] > high) return 0;
  for (size_t i = 2; i < n; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  return n;
}
