/* SPDX-License-Identifier: MIT */
#include "net/http_url.h"

#include "base/utf8.h"

#include <curl/curl.h>
#include <idn2.h>

#include <stdint.h>
#include <stdio.h>
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
    if (bytes == 0 || utf8_is_control(c)) {
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

/* Some letters are compatible with others, such as a wide solidus with "/":
 * the result must still be a name. */
static bool is_name(const char *s)
{
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-._";
  return *s && s[strspn(s, letters)] == '\0';
}

/* The ASCII form, for idn2_free; NULL and the reason when there is none. curl
 * calls another function, which reads names in the charset of the locale. Like
 * curl, accept the older rules where the newer do not know a letter: names of
 * emoji are in use. */
static char *to_ascii(const char *name, size_t len, const char **why)
{
  uint8_t *ascii = NULL;
  const uint8_t *utf8 = (const uint8_t *)name;
  *why = "it is too long, or has a NUL byte in it";
  if (len >= MAX_NAME || memchr(name, '\0', len)) return NULL;
  int rc = idn2_lookup_u8(utf8, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  if (rc != IDN2_OK && rc != IDN2_MALLOC &&
      idn2_lookup_u8(utf8, &ascii, IDN2_NFC_INPUT | IDN2_TRANSITIONAL) ==
          IDN2_OK)
    rc = IDN2_OK;
  *why = rc == IDN2_OK ? "some of its letters are compatible with others that "
                         "no name has"
                       : idn2_strerror(rc);
  if (rc == IDN2_OK && is_name((char *)ascii)) return (char *)ascii;
  idn2_free(ascii);
  return NULL;
}

static bool is_blank(char c)
{
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static char *refuse(const char *text, size_t len, const char *what,
                    const char *why, struct err *e)
{
  char shown[120];
  http_url_show(text, len, shown, sizeof(shown));
  err_set(e, "url", "%s: %s%s", shown, what, why);
  return NULL;
}

static char *out_of_memory(struct err *e)
{
  err_set(e, "memory", "out of memory for a URL");
  return NULL;
}

/* A copy of the URL, its host between `from` and `to` in ASCII; NULL and `e` on
 * failure. */
static char *copy_in_ascii(const char *text, size_t len, size_t from, size_t to,
                           struct err *e)
{
  int n = 0;
  const char *why;
  char *copy = NULL, *name = NULL;
  bool ascii_only = !beyond_ascii(text + from, to - from);
  if (!ascii_only || memchr(text + from, '%', to - from)) {
    name = curl_easy_unescape(NULL, text + from, (int)(to - from), &n);
    if (!name) return out_of_memory(e);
  }
  if (ascii_only && !beyond_ascii(name, (size_t)n)) {
    curl_free(name);
    copy = strndup(text, len); /* curl decodes such names */
    return copy ? copy : out_of_memory(e);
  }
  char *ascii = to_ascii(name, (size_t)n, &why);
  curl_free(name);
  if (!ascii) return refuse(text, len, "the host name is not valid: ", why, e);
  if (asprintf(&copy, "%.*s%s%.*s", (int)from, text, ascii, (int)(len - to),
               text + to) < 0)
    copy = out_of_memory(e);
  idn2_free(ascii);
  return copy;
}

char *http_url_normalise(const char *text, size_t len, size_t *origin,
                         struct err *e)
{
  while (len && is_blank(*text)) text++, len--;
  while (len && is_blank(text[len - 1])) len--;
  size_t from = scheme_of(text, len), to = authority_end(text, len, from);
  if (len == 0) {
    err_set(e, "url", "the URL is empty");
    return NULL;
  }
  if (memchr(text, '\0', len))
    return refuse(text, len, "the URL has a NUL byte in it", "", e);
  if (len > MAX_URL)
    return refuse(text, len, "the URL is longer than 64 KiB", "", e);
  if (!from)
    return refuse(text, len, "a URL starts with http:// or https://", "", e);
  if (from == to) return refuse(text, len, "the URL has no host", "", e);
  size_t behind = len - to; /* the authority */
  find_host(text, &from, &to);
  char *url = copy_in_ascii(text, len, from, to, e);
  if (url) *origin = strlen(url) - behind;
  return url;
}
