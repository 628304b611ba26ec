/* SPDX-License-Identifier: MIT */
#include "wrap/charset.h"

#include <string.h>
#include <strings.h>

/* ---- labels ---- */

/* All 228 "names and labels" of encoding.spec.whatwg.org. GBK is decoded as
 * gb18030, ISO-8859-8-I as ISO-8859-8. */
static const struct charset charsets[] = {
    {"UTF-8", CHARSET_UTF8, "UTF-8",
     "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 "
     "x-unicode20utf8"},
    {"windows-1252", CHARSET_SINGLE, "CP1252",
     "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 "
     "iso-ir-100 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 "
     "us-ascii windows-1252 x-cp1252"},
    {"IBM866", CHARSET_SINGLE, "IBM866", "866 cp866 csibm866 ibm866"},
    {"ISO-8859-2", CHARSET_SINGLE, "ISO-8859-2",
     "csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 "
     "iso_8859-2:1987 l2 latin2"},
    {"ISO-8859-3", CHARSET_SINGLE, "ISO-8859-3",
     "csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 "
     "iso_8859-3:1988 l3 latin3"},
    {"ISO-8859-4", CHARSET_SINGLE, "ISO-8859-4",
     "csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 "
     "iso_8859-4:1988 l4 latin4"},
    {"ISO-8859-5", CHARSET_SINGLE, "ISO-8859-5",
     "csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 "
     "iso88595 iso_8859-5 iso_8859-5:1988"},
    {"ISO-8859-6", CHARSET_SINGLE, "ISO-8859-6",
     "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 "
     "iso-8859-6 iso-8859-6-e iso-8859-6-i iso-ir-127 iso8859-6 iso88596 "
     "iso_8859-6 iso_8859-6:1987"},
    {"ISO-8859-7", CHARSET_SINGLE, "ISO-8859-7",
     "csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 "
     "iso-ir-126 iso8859-7 iso88597 iso_8859-7 iso_8859-7:1987 "
     "sun_eu_greek"},
    {"ISO-8859-8", CHARSET_SINGLE, "ISO-8859-8",
     "csiso88598e csiso88598i csisolatinhebrew hebrew iso-8859-8 "
     "iso-8859-8-e iso-8859-8-i iso-ir-138 iso8859-8 iso88598 iso_8859-8 "
     "iso_8859-8:1988 logical visual"},
    {"ISO-8859-10", CHARSET_SINGLE, "ISO-8859-10",
     "csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6"},
    {"ISO-8859-13", CHARSET_SINGLE, "ISO-8859-13",
     "iso-8859-13 iso8859-13 iso885913"},
    {"ISO-8859-14", CHARSET_SINGLE, "ISO-8859-14",
     "iso-8859-14 iso8859-14 iso885914"},
    {"ISO-8859-15", CHARSET_SINGLE, "ISO-8859-15",
     "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9"},
    {"ISO-8859-16", CHARSET_SINGLE, "ISO-8859-16", "iso-8859-16"},
    {"KOI8-R", CHARSET_SINGLE, "KOI8-R", "cskoi8r koi koi8 koi8-r koi8_r"},
    {"KOI8-U", CHARSET_SINGLE, "KOI8-U", "koi8-ru koi8-u"},
    {"macintosh", CHARSET_SINGLE, "MACINTOSH",
     "csmacintosh mac macintosh x-mac-roman"},
    {"windows-874", CHARSET_SINGLE, "CP874",
     "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874"},
    {"windows-1250", CHARSET_SINGLE, "CP1250", "cp1250 windows-1250 x-cp1250"},
    {"windows-1251", CHARSET_SINGLE, "CP1251", "cp1251 windows-1251 x-cp1251"},
    {"windows-1253", CHARSET_SINGLE, "CP1253", "cp1253 windows-1253 x-cp1253"},
    {"windows-1254", CHARSET_SINGLE, "CP1254",
     "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 "
     "iso_8859-9 iso_8859-9:1989 l5 latin5 windows-1254 x-cp1254"},
    {"windows-1255", CHARSET_SINGLE, "CP1255", "cp1255 windows-1255 x-cp1255"},
    {"windows-1256", CHARSET_SINGLE, "CP1256", "cp1256 windows-1256 x-cp1256"},
    {"windows-1257", CHARSET_SINGLE, "CP1257", "cp1257 windows-1257 x-cp1257"},
    {"windows-1258", CHARSET_SINGLE, "CP1258", "cp1258 windows-1258 x-cp1258"},
    {"gb18030", CHARSET_MULTI, "GB18030",
     "chinese csgb2312 csiso58gb231280 gb18030 gb2312 gb_2312 gb_2312-80 "
     "gbk iso-ir-58 x-gbk"},
    {"Big5", CHARSET_MULTI, "BIG5-HKSCS",
     "big5 big5-hkscs cn-big5 csbig5 x-x-big5"},
    {"EUC-JP", CHARSET_MULTI, "EUC-JP", "cseucpkdfmtjapanese euc-jp x-euc-jp"},
    {"Shift_JIS", CHARSET_MULTI, "CP932",
     "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j "
     "x-sjis"},
    {"EUC-KR", CHARSET_MULTI, "UHC",
     "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 "
     "ks_c_5601-1989 ksc5601 ksc_5601 windows-949"},
    {"UTF-16BE", CHARSET_UTF16, "UTF-16BE", "unicodefffe utf-16be"},
    {"UTF-16LE", CHARSET_UTF16, "UTF-16LE",
     "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 "
     "utf-16le"},
    {"x-user-defined", CHARSET_USER_DEFINED, NULL, "x-user-defined"},
    {"ISO-2022-JP", CHARSET_ISO_2022_JP, "EUC-JP", "csiso2022jp iso-2022-jp"},
    {"x-mac-cyrillic", CHARSET_SINGLE, "MAC-UK",
     "x-mac-cyrillic x-mac-ukrainian"},
    {"replacement", CHARSET_REPLACEMENT, NULL,
     "csiso2022kr hz-gb-2312 iso-2022-cn iso-2022-cn-ext iso-2022-kr "
     "replacement"},
};

enum { COUNT = sizeof(charsets) / sizeof(charsets[0]) };

const struct charset *const charset_utf8 = &charsets[0];
static const struct charset *const windows_1252 = &charsets[1];

/* As HTML defines it, whatever the locale. */
static bool is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

static bool is_letter(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_among(const char *label, size_t len, const char *labels)
{
  while (*labels) {
    size_t n = strcspn(labels, " ");
    if (n == len && !strncasecmp(label, labels, n)) return true;
    labels += n + strspn(labels + n, " ");
  }
  return false;
}

const struct charset *charset_find(const char *label, size_t len)
{
  while (len && is_blank(*label)) label++, len--;
  while (len && is_blank(label[len - 1])) len--;
  if (!len || memchr(label, ' ', len)) return NULL;
  for (size_t i = 0; i < COUNT; i++)
    if (is_among(label, len, charsets[i].labels)) return &charsets[i];
  return NULL;
}

/* The charset of the value at `at`, which is in quotes or ends before a blank
 * or one of `stops`. */
static const struct charset *find_value(const char *at, const char *end,
                                        const char *stops)
{
  while (at < end && is_blank(*at)) at++;
  if (at == end) return NULL;
  if (*at == '"' || *at == '\'') {
    const char *close = memchr(at + 1, *at, (size_t)(end - at - 1));
    return close ? charset_find(at + 1, (size_t)(close - at - 1)) : NULL;
  }
  const char *from = at;
  while (at < end && *at && !strchr(stops, *at) && !is_blank(*at)) at++;
  return charset_find(from, (size_t)(at - from));
}

/* The end of "charset", blanks and "=", or NULL. */
static const char *after_charset(const char *at, const char *end)
{
  static const char word[] = "charset";
  enum { LEN = sizeof(word) - 1 };
  for (; end - at > LEN; at++) {
    if (strncasecmp(at, word, LEN) != 0) continue;
    const char *next = at + LEN;
    while (next < end && is_blank(*next)) next++;
    if (next < end && *next == '=') return next + 1;
  }
  return NULL;
}

const struct charset *charset_of_type(const char *type)
{
  const char *end = type + strlen(type);
  const char *at = strchr(type, ';');
  while (at && at < end) {
    at++;
    while (at < end && is_blank(*at)) at++;
    const char *value = after_charset(at, end);
    size_t name = (size_t)(value ? value - at : 0);
    if (value && name && !memchr(at, ';', name))
      return find_value(value, end, ";,");
    at = strchr(at, ';');
  }
  return NULL;
}

/* ---- pages ---- */

/* "Prescan a byte stream to determine its encoding" of html.spec.whatwg.org */
struct scan {
  const char *at, *end;
};

struct attribute {
  const char *name, *value;
  size_t name_len, value_len;
};

static bool is_named(const struct attribute *a, const char *name)
{
  return a->name_len == strlen(name) &&
         !strncasecmp(a->name, name, a->name_len);
}

static void skip_blanks(struct scan *s)
{
  while (s->at < s->end && is_blank(*s->at)) s->at++;
}

static void read_value(struct scan *s, struct attribute *a)
{
  char quote = s->at < s->end ? *s->at : '\0';
  if (quote == '"' || quote == '\'') {
    a->value = ++s->at;
    while (s->at < s->end && *s->at != quote) s->at++;
    a->value_len = (size_t)(s->at - a->value);
    if (s->at < s->end) s->at++;
    return;
  }
  a->value = s->at;
  while (s->at < s->end && !is_blank(*s->at) && *s->at != '>') s->at++;
  a->value_len = (size_t)(s->at - a->value);
}

/* Reads the next attribute of a tag. False at the end of the tag or the text.
 */
static bool read_attribute(struct scan *s, struct attribute *a)
{
  while (s->at < s->end && (is_blank(*s->at) || *s->at == '/')) s->at++;
  if (s->at == s->end || *s->at == '>') return false;
  *a = (struct attribute){.name = s->at, .value = ""};
  for (; s->at < s->end; s->at++)
    if (is_blank(*s->at) || *s->at == '/' || *s->at == '>' ||
        (*s->at == '=' && s->at > a->name))
      break;
  a->name_len = (size_t)(s->at - a->name);
  skip_blanks(s);
  if (s->at < s->end && *s->at == '=') {
    s->at++;
    skip_blanks(s);
    read_value(s, a);
  }
  return s->at < s->end; /* ignore an attribute that is cut off */
}

/* Of two attributes with the same name the first counts. */
static const struct charset *read_meta(struct scan *s)
{
  bool type = false, has_content = false, has_charset = false;
  const struct charset *by_content = NULL, *by_charset = NULL;
  struct attribute a;
  while (read_attribute(s, &a)) {
    if (is_named(&a, "http-equiv")) {
      type = type || (a.value_len == strlen("content-type") &&
                      !strncasecmp(a.value, "content-type", a.value_len));
    } else if (is_named(&a, "content") && !has_content) {
      const char *end = a.value + a.value_len;
      const char *value = after_charset(a.value, end);
      if (value) by_content = find_value(value, end, ";");
      has_content = true;
    } else if (is_named(&a, "charset") && !has_charset) {
      by_charset = charset_find(a.value, a.value_len);
      has_charset = true;
    }
  }
  const struct charset *c = has_charset ? by_charset : NULL;
  if (!has_charset && type) c = by_content;
  /* the tag was readable as ASCII, so these two cannot be right */
  if (c && c->kind == CHARSET_UTF16) return charset_utf8;
  if (c && c->kind == CHARSET_USER_DEFINED) return windows_1252;
  return c;
}

static void skip_past(struct scan *s, const char *what)
{
  const char *found =
      memmem(s->at, (size_t)(s->end - s->at), what, strlen(what));
  s->at = found ? found + strlen(what) : s->end;
}

static bool starts(const struct scan *s, const char *with)
{
  size_t n = strlen(with);
  return (size_t)(s->end - s->at) > n && !strncasecmp(s->at, with, n);
}

static const struct charset *scan_page(const char *bytes, size_t len)
{
  struct scan s = {bytes, bytes + len};
  struct attribute a;
  while ((s.at = memchr(s.at, '<', (size_t)(s.end - s.at)))) {
    if (starts(&s, "<!--")) {
      s.at += 2; /* "<!-->" is a whole comment */
      skip_past(&s, "-->");
    } else if (starts(&s, "<meta") && (is_blank(s.at[5]) || s.at[5] == '/')) {
      s.at += strlen("<meta");
      const struct charset *c = read_meta(&s);
      if (c) return c;
    } else if (s.end - s.at > 2 &&
               is_letter(s.at[1] == '/' ? s.at[2] : s.at[1])) {
      while (s.at < s.end && !is_blank(*s.at) && *s.at != '>') s.at++;
      while (read_attribute(&s, &a)) {
      }
    } else if (starts(&s, "<!") || starts(&s, "</") || starts(&s, "<?")) {
      skip_past(&s, ">");
    } else {
      s.at++;
    }
  }
  return NULL;
}

const struct charset *charset_of_declaration(const char *bytes, size_t len)
{
  enum { MAX_LENGTH = 1024 };
  struct scan s = {bytes, bytes + (len < MAX_LENGTH ? len : MAX_LENGTH)};
  struct attribute a;
  if (!starts(&s, "<?xml") || !is_blank(s.at[5])) return NULL;
  s.at += strlen("<?xml");
  while (read_attribute(&s, &a))
    if (is_named(&a, "encoding")) return charset_find(a.value, a.value_len);
  return NULL;
}

static const struct charset *read_mark(const char *bytes, size_t len,
                                       size_t *mark)
{
  static const struct {
    const char *mark, *label;
  } marks[] = {{"\xef\xbb\xbf", "utf-8"},
               {"\xfe\xff", "utf-16be"},
               {"\xff\xfe", "utf-16le"}};
  for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
    size_t n = strlen(marks[i].mark);
    if (len < n || memcmp(bytes, marks[i].mark, n) != 0) continue;
    *mark = n;
    return charset_find(marks[i].label, strlen(marks[i].label));
  }
  *mark = 0;
  return NULL;
}

const struct charset *charset_of_page(const char *bytes, size_t len,
                                      const struct charset *given, size_t *mark)
{
  enum { PRESCAN = 1024 };
  const struct charset *c = read_mark(bytes, len, mark);
  if (!c) c = given;
  if (!c) c = scan_page(bytes, len < PRESCAN ? len : PRESCAN);
  if (!c && charset_is_utf8(bytes, len)) c = charset_utf8;
  if (!c) c = scan_page(bytes, len);
  return c ? c : windows_1252;
}
