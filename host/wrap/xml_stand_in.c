/* SPDX-License-Identifier: MIT */
/* Characters that gumbo would replace, and those that stand in for them
 * meanwhile (xml_internal.h). */
#include "wrap/xml_internal.h"

#include "base/buf.h"
#include "wrap/charset.h"

#include <string.h>

/* Stand-ins are characters of the last private use area, from FIRST on: first
 * those for control characters, then for U+FDD0 to U+FDEF, then for the last
 * two of each plane. */
enum { FIRST = 0x10fe00, NONES = FIRST + 0xa0, ENDS = FIRST + 0xc0 };

static bool is_among_stand_ins(unsigned c)
{
  return c >= FIRST && c <= FIRST + 0xff;
}

/* The character at `p`, which has `*n` bytes. */
static unsigned read_character(const uint8_t *p, size_t *n)
{
  *n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
  unsigned c = *n == 1 ? *p : *p & (0x7fu >> *n);
  for (size_t i = 1; i < *n; i++) c = c << 6 | (p[i] & 0x3f);
  return c;
}

static bool needs_stand_in(unsigned c)
{
  if (c < ' ') return c != '\t' && c != '\n' && c != '\f' && c != '\r';
  return (c >= 0x7f && c <= 0x9f) || (c >= 0xfdd0 && c <= 0xfdef) ||
         (c & 0xfffe) == 0xfffe;
}

static unsigned stand_in_for(unsigned c)
{
  if (c <= 0x9f) return FIRST + c;
  if (c >= 0xfdd0 && c <= 0xfdef) return NONES + c - 0xfdd0;
  return ENDS + (c >> 16) * 2 + (c & 1);
}

static unsigned stood_for(unsigned c)
{
  if (c < NONES) return c - FIRST;
  if (c < ENDS) return 0xfdd0 + c - NONES;
  return (c - ENDS) / 2 << 16 | 0xfffe | (c & 1);
}

bool xml_needs_stand_ins(const char *utf8, size_t len)
{
  const uint8_t *p = (const uint8_t *)utf8, *end = p + len;
  size_t n;
  for (; p < end; p += n)
    if (needs_stand_in(read_character(p, &n))) return true;
  return false;
}

void xml_put_stand_ins(const char *utf8, size_t len, struct buf *out)
{
  enum { REPLACEMENT = 0xfffd };
  const uint8_t *p = (const uint8_t *)utf8, *end = p + len, *from = p;
  size_t n;
  for (; p < end; p += n) {
    unsigned c = read_character(p, &n);
    if (!needs_stand_in(c) && !is_among_stand_ins(c)) continue;
    buf_add(out, from, (size_t)(p - from));
    charset_add(out, needs_stand_in(c) ? stand_in_for(c) : REPLACEMENT);
    from = p + n;
  }
  buf_add(out, from, (size_t)(end - from));
}

void xml_take_stand_ins(char *utf8)
{
  char *to = strstr(utf8, "\xf4\x8f"), *from = to;
  size_t n;
  while (from && *from) {
    unsigned c = read_character((const uint8_t *)from, &n);
    if (is_among_stand_ins(c) && c < ENDS + 2 * 17) {
      uint8_t bytes[4] = {0};
      struct buf one = {.data = bytes, .cap = sizeof(bytes), .max = 4};
      charset_add(&one, stood_for(c));
      memcpy(to, bytes, one.len);
      to += one.len;
    } else {
      memmove(to, from, n);
      to += n;
    }
    from += n;
  }
  if (to) *to = '\0';
}
