/* SPDX-License-Identifier: MIT */
#include "net/http_url.h"

#include "base/utf8.h"

#include <idn2.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
  MAX_URL = 64 * 1024,
  MAX_NAME = 1024, /* a host name in UTF-8; in DNS it has 253 bytes */
};

void http_url_show(const char *url, size_t len, char *out, size_t size)
{
  const char *rest = memmem(url, len, "://", 3);
  size_t from = rest ? (size_t)(rest - url) + 3 : 0, host = from, n = 0;
  for (size_t i = from; i < len && !strchr("/?#", url[i]); i++)
    if (url[i] == '@') host = i + 1;
  for (size_t i = 0; i < len; i++) {
    if (i == from) i = host;
    if (i == len) break;
    if (n + 8 >= size) {
      memcpy(out + n, "...", 3);
      n += 3;
      break;
    }
    const uint8_t *c = (const uint8_t *)url + i;
    size_t bytes = utf8_length(c, len - i);
    bool control =
        *c < 0x20 || *c == 0x7f || (bytes == 2 && *c == 0xc2 && c[1] < 0xa0);
    if (bytes == 0 || control) {
      out[n++] = '?';
    } else {
      memcpy(out + n, c, bytes);
      n += bytes;
    }
    if (bytes > 1) i += bytes - 1;
  }
  out[n] = '\0';
}

/* ---- parts ---- */

/* The length of "http://" or "https://", or 0 */
static size_t scheme_of(const char *url, size_t len)
{
  if (len >= 7 && !strncasecmp(url, "http://", 7)) return 7;
  if (len >= 8 && !strncasecmp(url, "https://", 8)) return 8;
  return 0;
}

bool http_url_is_web(const char *url)
{
  return scheme_of(url, strlen(url)) > 0;
}

static size_t authority_end(const char *url, size_t len, size_t at)
{
  while (at < len && url[at] && !strchr("/?#", url[at])) at++;
  return at;
}

/* The host between `from` and `to`, without user and port; an address in
 * brackets with them. */
static void find_host(const char *url, size_t *from, size_t *to)
{
  size_t at = *from;
  for (size_t i = at; i < *to; i++)
    if (url[i] == '@') at = i + 1;
  *from = at;
  if (at < *to && url[at] == '[') return;
  const char *colon = memchr(url + at, ':', *to - at);
  if (colon) *to = (size_t)(colon - url);
}

static bool beyond_ascii(const char *s, size_t len)
{
  for (size_t i = 0; i < len; i++)
    if ((unsigned char)s[i] >= 0x80) return true;
  return false;
}

bool http_url_is_international(const char *url)
{
  size_t len = strlen(url), from = scheme_of(url, len);
  size_t to = authority_end(url, len, from);
  find_host(url, &from, &to);
  return beyond_ascii(url + from, to - from);
}

/* ---- names beyond ASCII ---- */

static int digit(char c)
{
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* Takes the percent encoding off; false when the name is too long. */
static bool decode(const char *s, size_t len, char out[static MAX_NAME])
{
  size_t n = 0;
  for (size_t i = 0; i < len; i++) {
    int high = s[i] == '%' && len - i > 2 ? digit(s[i + 1]) : -1;
    int low = high >= 0 ? digit(s[i + 2]) : -1;
    if (n + 1 == MAX_NAME) return false;
    out[n++] = low >= 0 ? (char)(high * 16 + low) : s[i];
    if (low >= 0) i += 2;
  }
  out[n] = '\0';
  return strlen(out) == n;
}

/* Some letters stand for others, such as a wide solidus for "/": what comes of
 * them must be a name still. */
static bool is_name(const char *s)
{
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-._";
  return *s && s[strspn(s, letters)] == '\0';
}

/* The ASCII form, for idn2_free; NULL and the reason when there is none. curl
 * calls another function, which reads names in the charset of the locale. Like
 * curl, take the older rules where the newer do not know a letter: names of
 * emoji are in use. */
static char *to_ascii(const char *name, const char **why)
{
  uint8_t *ascii = NULL;
  const uint8_t *utf8 = (const uint8_t *)name;
  int rc = idn2_lookup_u8(utf8, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  if (rc != IDN2_OK && rc != IDN2_MALLOC &&
      idn2_lookup_u8(utf8, &ascii, IDN2_NFC_INPUT | IDN2_TRANSITIONAL) ==
          IDN2_OK)
    rc = IDN2_OK;
  *why = rc == IDN2_OK ? "some of its letters stand for others, which no name "
                         "has"
                       : idn2_strerror(rc);
  if (rc == IDN2_OK && is_name((char *)ascii)) return (char *)ascii;
  idn2_free(ascii);
  return NULL;
}

/* Puts the ASCII form in place of the host between `from` and `to`. */
static int replace_host(struct http_url *u, size_t from, size_t to,
                        const char *shown, struct err *e)
{
  char name[MAX_NAME];
  const char *why = "it is too long, or has a NUL byte in it";
  char *ascii =
      decode(u->text + from, to - from, name) ? to_ascii(name, &why) : NULL;
  if (!ascii)
    return err_set(e, "url", "%s: the host name is not valid: %s", shown, why);
  size_t n = strlen(ascii), rest = u->len - to;
  u->ascii = malloc(from + n + rest + 1);
  if (u->ascii) {
    memcpy(u->ascii, u->text, from);
    memcpy(u->ascii + from, ascii, n);
    memcpy(u->ascii + from + n, u->text + to, rest);
    u->ascii[from + n + rest] = '\0';
    u->text = u->ascii;
    u->len = from + n + rest;
    u->origin = u->origin - (to - from) + n;
  }
  idn2_free(ascii);
  return u->ascii ? 0 : err_set(e, "memory", "out of memory for a URL");
}

static int read_host(struct http_url *u, size_t from, const char *shown,
                     struct err *e)
{
  char name[MAX_NAME];
  size_t to = u->origin;
  find_host(u->text, &from, &to);
  const char *host = u->text + from;
  size_t len = to - from;
  bool encoded = memchr(host, '%', len) && decode(host, len, name) &&
                 beyond_ascii(name, strlen(name));
  if (!encoded && !beyond_ascii(host, len)) return 0;
  return replace_host(u, from, to, shown, e);
}

/* ---- the contract ---- */

static bool is_blank(char c)
{
  return c == ' ' || (c >= '\t' && c <= '\r');
}

int http_url_read(struct http_url *u, const char *text, size_t len,
                  struct err *e)
{
  char shown[120];
  while (len && is_blank(*text)) text++, len--;
  while (len && is_blank(text[len - 1])) len--;
  *u = (struct http_url){.text = text, .len = len};
  if (len == 0) return err_set(e, "url", "the URL is empty");
  http_url_show(text, len, shown, sizeof(shown));
  if (memchr(text, '\0', len))
    return err_set(e, "url", "%s: the URL has a NUL byte in it", shown);
  if (len > MAX_URL)
    return err_set(e, "url", "%s: the URL is longer than 64 KiB", shown);
  size_t at = scheme_of(text, len);
  if (!at)
    return err_set(e, "url", "%s: a URL starts with http:// or https://",
                   shown);
  u->origin = authority_end(text, len, at);
  if (u->origin == at)
    return err_set(e, "url", "%s: the URL has no host", shown);
  return read_host(u, at, shown, e);
}

void http_url_free(struct http_url *u)
{
  free(u->ascii);
  u->ascii = NULL;
}
