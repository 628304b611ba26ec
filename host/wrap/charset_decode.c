/* SPDX-License-Identifier: MIT */
/* Decodes bytes to UTF-8, by iconv's tables and what they lack (charset.h). */
#include "wrap/charset.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <string.h>

/* ---- output ---- */

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

static void add_replacement(struct buf *out)
{
  buf_add(out, replacement, sizeof(replacement) - 1);
}

/* Appends UTF-8. Replaces NUL, which no parser behind this accepts. */
static void add_text(struct buf *out, const char *text, size_t len)
{
  const char *nul;
  while (len && (nul = memchr(text, '\0', len))) {
    size_t n = (size_t)(nul - text);
    buf_add(out, text, n);
    add_replacement(out);
    text += n + 1;
    len -= n + 1;
  }
  buf_add(out, text, len);
}

void charset_add(struct buf *out, unsigned c)
{
  char text[4] = {(char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3f)),
                  (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f))};
  size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  char *from = text + sizeof(text) - n;
  if (n == 1) *from = (char)c;
  if (n == 2) *from = (char)(0xc0 | c >> 6);
  if (n == 3) *from = (char)(0xe0 | c >> 12);
  add_text(out, from, n);
}

/* ---- UTF-8 ---- */

/* Length of the valid UTF-8 at the start. */
static size_t span(const uint8_t *p, size_t len)
{
  size_t at = 0;
  while (at < len) {
    uint64_t eight;
    while (len - at >= sizeof(eight)) { /* all ASCII */
      memcpy(&eight, p + at, sizeof(eight));
      if (eight & 0x8080808080808080) break;
      at += sizeof(eight);
    }
    size_t n = at < len ? utf8_length(p + at, len - at) : 0;
    if (!n) break;
    at += n;
  }
  return at;
}

bool charset_is_utf8(const char *bytes, size_t len)
{
  return span((const uint8_t *)bytes, len) == len;
}

static void decode_utf8(const char *bytes, size_t len, struct buf *out)
{
  while (len) {
    size_t n = span((const uint8_t *)bytes, len);
    add_text(out, bytes, n);
    if (n < len) {
      add_replacement(out);
      n += utf8_broken((const uint8_t *)bytes + n, len - n);
    }
    bytes += n;
    len -= n;
  }
}

/* ---- by iconv ---- */

static const iconv_t NONE = (iconv_t)-1;

/* A charset of iconv, and a second one for characters that the first lacks. */
struct tables {
  const char *name;
  iconv_t cd;
  iconv_t nec; /* NONE until needed */
  bool no_nec; /* it does not exist here */
};

static iconv_t open_table(const char *name, struct err *e)
{
  iconv_t cd = iconv_open("UTF-8", name);
  if (cd == NONE)
    err_set(
        e, "system",
        "no table for the charset %s: install those of libc (gconv modules)",
        name);
  return cd;
}

/* Converts up to the first error. 0 at the end, or errno. */
static int convert(iconv_t cd, const char **at, size_t *left, struct buf *out)
{
  char text[4096];
  for (;;) {
    char *to = text, *from = (char *)(uintptr_t)*at; /* only read */
    size_t room = sizeof(text);
    size_t r = iconv(cd, &from, left, &to, &room);
    int error = r == (size_t)-1 ? errno : 0;
    *at = from;
    add_text(out, text, sizeof(text) - room);
    if (error != E2BIG || out->failed) return error;
  }
}

/* Writes what iconv holds back for a possible combining character. */
static void flush(iconv_t cd, struct buf *out)
{
  char text[64], *to = text;
  size_t room = sizeof(text);
  iconv(cd, NULL, NULL, &to, &room);
  add_text(out, text, sizeof(text) - room);
}

/* Differences of glibc from both browsers and Python. */
struct fix {
  const char *iconv;
  bool (*is_invalid)(uint8_t c); /* never part of a character */
  struct {
    uint16_t bytes, character;
  } more[8];
};

static bool is_invalid_in_euc_jp(uint8_t c)
{
  return c >= 0x80 && c <= 0xa0 && c != 0x8e && c != 0x8f;
}

static bool is_invalid_in_big5(uint8_t c)
{
  return c == 0x80 || c == 0xff;
}

static const struct fix fixes[] = {
    {"MACINTOSH", NULL, {{0xc6, 0x2206}, {0xf0, 0xf8ff}}},
    {"MAC-UK", NULL, {{0xff, 0x20ac}}},
    {"EUC-JP", is_invalid_in_euc_jp, {{0, 0}}},
    {"BIG5-HKSCS",
     is_invalid_in_big5,
     {{0xa15a, 0x2574},
      {0xa1c3, 0xffe3},
      {0xa1c5, 0x02cd},
      {0xa1fe, 0xff0f},
      {0xa240, 0xff3c},
      {0xa2cc, 0x5341},
      {0xa2ce, 0x5345}}},
    {"CP932",
     NULL,
     {{0x80, 0x80},
      {0xa0, 0xf8f0},
      {0xfd, 0xf8f1},
      {0xfe, 0xf8f2},
      {0xff, 0xf8f3}}},
};

static const struct fix *fix_of(const char *iconv)
{
  for (size_t i = 0; i < sizeof(fixes) / sizeof(fixes[0]); i++)
    if (!strcmp(fixes[i].iconv, iconv)) return &fixes[i];
  return NULL;
}

/* Appends a character that iconv lacks or has wrong, and returns its length in
 * bytes; 0: it is not one of them. */
static size_t add_more(const struct fix *m, const char *at, size_t left,
                       struct buf *out)
{
  uint8_t first = (uint8_t)at[0], second = left > 1 ? (uint8_t)at[1] : 0;
  for (size_t i = 0; m && i < sizeof(m->more) / sizeof(m->more[0]); i++) {
    unsigned bytes = m->more[i].bytes;
    if (bytes && (bytes == first || bytes == (unsigned)(first << 8 | second))) {
      charset_add(out, m->more[i].character);
      return bytes > 0xff ? 2 : 1;
    }
  }
  return 0;
}

/* Converts each byte by itself, because in some charsets iconv combines a
 * letter and its accent. */
static void decode_single(iconv_t cd, const char *name, const char *bytes,
                          size_t len, struct buf *out)
{
  struct buf characters;
  size_t start[257] = {0};
  buf_init(&characters, 256 * 4);
  for (unsigned i = 0; i < 256; i++) {
    char byte = (char)i;
    const char *at = &byte;
    size_t left = 1;
    if (!add_more(fix_of(name), at, left, &characters)) {
      if (convert(cd, &at, &left, &characters)) add_replacement(&characters);
      flush(cd, &characters);
    }
    start[i + 1] = characters.len;
  }
  for (size_t i = 0; i < len && !characters.failed && !out->failed; i++) {
    uint8_t c = (uint8_t)bytes[i];
    buf_add(out, characters.data + start[c], start[c + 1] - start[c]);
  }
  out->failed = out->failed || characters.failed;
  buf_free(&characters);
}

/* Browsers have NEC's characters in row 13 of JIS X 0208, such as a circled 1.
 * Opening the table, or finding that it is missing, takes long; do it once. */
static size_t add_nec(struct tables *t, const char *at, size_t left,
                      struct buf *out)
{
  size_t two = 2;
  bool is_pair = left > 1 && (uint8_t)at[0] == 0xad && (uint8_t)at[1] > 0xa0;
  if (!is_pair || t->no_nec) return 0;
  if (t->nec == NONE) t->nec = iconv_open("UTF-8", "EUC-JP-MS");
  t->no_nec = t->nec == NONE;
  if (t->no_nec) return 0;
  convert(t->nec, &at, &two, out);
  return two ? 0 : 2;
}

/* In UHC, iconv of glibc stops after the invalid A2 E8 in place of before it.
 */
static const char *error_at(const char *name, const char *from, const char *at)
{
  bool behind =
      !strcmp(name, "UHC") && at - from >= 2 && !memcmp(at - 2, "\xa2\xe8", 2);
  return behind ? at - 2 : at;
}

/* Length of the invalid bytes, or of a character that only iconv lacks. */
static size_t pass_error(struct tables *t, const struct fix *m, const char *at,
                         size_t left, struct buf *out)
{
  size_t unit = !strncmp(t->name, "UTF-16", strlen("UTF-16")) ? 2 : 1;
  size_t known = add_more(m, at, left, out);
  if (!known && !strcmp(t->name, "EUC-JP")) known = add_nec(t, at, left, out);
  if (known) return known;
  add_replacement(out);
  return unit < left ? unit : left;
}

static void decode_multi(struct tables *t, const char *bytes, size_t len,
                         struct buf *out)
{
  const struct fix *m = fix_of(t->name);
  const char *end = bytes + len, *at = bytes, *stop = bytes;
  while (at < end && !out->failed) {
    const char *from = at;
    if (!m || !m->is_invalid) stop = end;
    if (stop < at) stop = at; /* past the last invalid byte */
    while (stop < end && !m->is_invalid((uint8_t)*stop)) stop++;
    size_t left = (size_t)(stop - at);
    int error = convert(t->cd, &at, &left, out);
    if (!error || m)
      flush(t->cd, out); /* others would lose their shift state */
    if (error == EINVAL && stop == end) {
      add_replacement(out); /* one for a character that the end cuts off */
      return;
    }
    if (error == EILSEQ) at = error_at(t->name, from, at);
    if (at < end) at += pass_error(t, m, at, (size_t)(end - at), out);
  }
}

/* ---- ISO-2022-JP ---- */

/* Decodes as Python does. iconv would stop at the first unknown escape. */
struct jis {
  struct tables *t; /* of EUC-JP: the same codes with the top bits set */
  bool wide;        /* characters have two bytes */
  bool roman;       /* ASCII with a yen sign and an overline */
  bool aside;       /* in an escape without meaning here, which is kept */
};

static bool ends_escape(char c)
{
  return (c >= 'A' && c <= 'Z') || c == '@';
}

/* Length of the escape at `at`. */
static size_t read_escape(struct jis *j, const char *at, size_t left,
                          struct buf *out)
{
  enum { MAX_LENGTH = 16 };
  size_t n = 1;
  if (left > 1 && !memchr("($.&)", at[1], 5)) {
    j->aside = true;
    charset_add(out, 0x1b);
    return 1;
  }
  while (n < left && n < MAX_LENGTH && !ends_escape(at[n])) n++;
  if (n == left || n == MAX_LENGTH) { /* cut off, or not an escape */
    add_replacement(out);
    return n == left ? left : 1;
  }
  n++;
  char set = at[n - 1], part = n == 4 ? at[2] : at[1];
  bool wide = at[1] == '$' && (n == 3 || part == '(' || part == ')') &&
              (set == 'B' || set == '@');
  bool narrow = n == 3 && at[1] != '$' && (part == '(' || part == ')') &&
                (set == 'B' || set == 'J');
  if (n > 4 || !(wide || narrow)) {
    add_replacement(out);
  } else if (part != ')') { /* ")" selects a half that is never used here */
    j->wide = wide;
    j->roman = narrow && set == 'J';
  }
  return n;
}

/* Length of the character of two bytes at `at`. */
static size_t read_wide(struct jis *j, const char *at, size_t left,
                        struct buf *out)
{
  char euc[2] = {(char)(at[0] | 0x80), left > 1 ? (char)(at[1] | 0x80) : 0};
  const char *from = euc;
  size_t n = sizeof(euc);
  bool whole = left > 1 && at[0] != 0x7f && at[1] > 0x20 && at[1] < 0x7f;
  if (!whole ||
      (convert(j->t->cd, &from, &n, out) && !add_nec(j->t, euc, 2, out)))
    add_replacement(out);
  return left < 2 ? left : 2;
}

static void decode_jis(struct tables *t, const char *at, size_t left,
                       struct buf *out)
{
  struct jis j = {.t = t};
  size_t n;
  for (; left && !out->failed; at += n, left -= n) {
    uint8_t c = (uint8_t)*at;
    n = 1;
    if (j.aside) {
      charset_add(out, c);
      j.aside = !ends_escape(*at);
    } else if (c == 0x1b) {
      n = read_escape(&j, at, left, out);
    } else if (c >= 0x80) {
      add_replacement(out);
    } else if (c >= 0x20 && j.wide) {
      n = read_wide(&j, at, left, out);
    } else if (j.roman && c == '\\') {
      charset_add(out, 0xa5);
    } else if (j.roman && c == '~') {
      charset_add(out, 0x203e);
    } else {
      charset_add(out, c);
    }
  }
}

/* ---- all charsets ---- */

static void decode_user_defined(const char *bytes, size_t len, struct buf *out)
{
  for (size_t i = 0; i < len && !out->failed; i++) {
    uint8_t c = (uint8_t)bytes[i];
    charset_add(out, c < 0x80 ? c : 0xf700u + c);
  }
}

static int open_tables(struct tables *t, const char *name, struct err *e)
{
  *t = (struct tables){.name = name, .cd = NONE, .nec = NONE};
  if (name) t->cd = open_table(name, e);
  return name && t->cd == NONE ? -1 : 0;
}

static void close_tables(struct tables *t)
{
  if (t->cd != NONE) iconv_close(t->cd);
  if (t->nec != NONE) iconv_close(t->nec);
}

int charset_decode(const struct charset *c, const char *bytes, size_t len,
                   struct buf *out, struct err *e)
{
  struct tables t;
  const char *iconv = c->kind == CHARSET_UTF8 ? NULL : c->iconv;
  if (open_tables(&t, iconv, e) < 0) return -1;
  switch (c->kind) {
  case CHARSET_UTF8: decode_utf8(bytes, len, out); break;
  case CHARSET_SINGLE: decode_single(t.cd, t.name, bytes, len, out); break;
  case CHARSET_UTF16:
  case CHARSET_MULTI: decode_multi(&t, bytes, len, out); break;
  case CHARSET_ISO_2022_JP: decode_jis(&t, bytes, len, out); break;
  case CHARSET_USER_DEFINED: decode_user_defined(bytes, len, out); break;
  case CHARSET_REPLACEMENT:
    if (len) add_replacement(out);
    break;
  }
  close_tables(&t);
  return 0;
}

bool charset_is_known(const char *name)
{
  /* "" means that of the locale, "//" starts options of iconv */
  iconv_t cd = *name && !strchr(name, '/') ? iconv_open("UTF-8", name) : NONE;
  if (cd == NONE) return false;
  iconv_close(cd);
  return true;
}
