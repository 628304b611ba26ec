/* SPDX-License-Identifier: MIT */
#include "lua/json_repair.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char LARGEST[] = "1.7976931348623157e308"; /* DBL_MAX */

/* ---- strings ---- */

/* The code unit of "\uXXXX" at `s`, or -1. */
static long code_unit(const char *s, size_t left)
{
  char hex[5] = {0};
  if (left < 6 || s[0] != '\\' || s[1] != 'u') return -1;
  memcpy(hex, s + 2, 4);
  for (int i = 0; i < 4; i++)
    if (!isxdigit((unsigned char)hex[i])) return -1;
  return strtol(hex, NULL, 16);
}

static bool is_high(long unit)
{
  return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(long unit)
{
  return unit >= 0xdc00 && unit <= 0xdfff;
}

/* The length of the character at `s` of a string. Sets `lone` to whether it is
 * half of a surrogate pair. */
static size_t character(const char *s, size_t left, bool *lone)
{
  long unit = code_unit(s, left);
  *lone = false;
  if (unit < 0) return s[0] == '\\' && left > 1 ? 2 : 1;
  if (is_high(unit) && is_low(code_unit(s + 6, left - 6))) return 12;
  *lone = is_high(unit) || is_low(unit);
  return 6;
}

/* ---- numbers ---- */

static size_t digits(const char *s)
{
  size_t n = 0;
  while (s[n] >= '0' && s[n] <= '9') n++;
  return n;
}

/* The length of the number at `s`, 0 when there is none. Sets `whole` to
 * whether it has neither a point nor an exponent. */
static size_t number(const char *s, bool *whole)
{
  size_t n = *s == '-', more;
  size_t first = digits(s + n);
  if (first == 0) return 0;
  n += first;
  *whole = true;
  if (s[n] == '.' && (more = digits(s + n + 1)) > 0) {
    n += 1 + more;
    *whole = false;
  }
  if (s[n] != 'e' && s[n] != 'E') return n;
  size_t sign = s[n + 1] == '+' || s[n + 1] == '-';
  more = digits(s + n + 1 + sign);
  if (more == 0) return n;
  *whole = false;
  return n + 1 + sign + more;
}

/* Writes a whole number of `len` bytes as a float of the same length: 17
 * digits, an exponent and spaces, which fit as it has at least 19 digits. */
static void put_whole(struct buf *out, const char *s, size_t len, double value)
{
  char text[48]; /* d.dddddddddddddddde+xxx */
  snprintf(text, sizeof(text), "%.16e", fabs(value));
  long exponent = strtol(text + 19, NULL, 10) - 16;
  int n = snprintf(text + 18, sizeof(text) - 18, "e%ld", exponent);
  size_t start = out->len;
  if (*s == '-') buf_add(out, "-", 1);
  buf_add(out, text, 1);
  buf_add(out, text + 2, 16 + (size_t)n);
  while (!out->failed && out->len - start < len) buf_add(out, " ", 1);
}

/* Returns whether the number was changed. */
static bool put_number(struct buf *out, const char *s, size_t len, bool whole)
{
  const char *first = s + (*s == '-');
  double value = 0;
  if (first[0] == '0' && isdigit((unsigned char)first[1])) { /* invalid */
    buf_add(out, s, len);
    return false;
  }
  errno = 0;
  if (whole && len >= 19) (void)strtoll(s, NULL, 10);
  bool wide = errno == ERANGE;
  if (wide || !whole) value = strtod(s, NULL);
  bool beyond = isinf(value);
  if (whole && wide) {
    put_whole(out, s, len, beyond ? strtod(LARGEST, NULL) : value);
  } else if (beyond) {
    if (*s == '-') buf_add(out, "-", 1);
    buf_add(out, LARGEST, sizeof(LARGEST) - 1);
  } else {
    buf_add(out, s, len);
  }
  return wide || beyond;
}

/* ---- texts ---- */

/* Appends the text until `out` has `stop` bytes; returns how much of it was
 * read.
 */
static size_t repair(const char *text, size_t len, struct buf *out, size_t stop,
                     bool *changed)
{
  size_t i = 0, n;
  bool in_string = false, whole, lone;
  while (i < len && out->len < stop && !out->failed) {
    const char *s = text + i;
    if (in_string) {
      n = character(s, len - i, &lone);
      buf_add(out, lone ? "\\ufffd" : s, n);
      *changed = *changed || lone;
      in_string = *s != '"';
    } else if ((n = number(s, &whole)) > 0) {
      *changed = put_number(out, s, n, whole) || *changed;
    } else {
      n = 1;
      buf_add(out, s, n);
      in_string = *s == '"';
    }
    i += n;
  }
  return i;
}

bool json_repair(const char *text, size_t len, struct buf *out)
{
  bool changed = false;
  repair(text, len, out, SIZE_MAX, &changed);
  return changed && !out->failed;
}

size_t json_repair_origin(const char *text, size_t len, size_t place)
{
  struct buf out;
  bool changed = false;
  buf_init(&out, SIZE_MAX / 2);
  size_t origin = repair(text, len, &out, place, &changed);
  buf_free(&out);
  return origin;
}
