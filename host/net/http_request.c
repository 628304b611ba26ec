/* SPDX-License-Identifier: MIT */
#include "net/http_request.h"

#include "net/http_decode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
  DEFAULT_TIMEOUT_MS = 60000,
  DEFAULT_CONNECT_MS = 10000,
  DEFAULT_MAX_BYTES = 64 * 1024 * 1024,
};

/* curl counts in a long: at most 24 days, or `otherwise` for 0 */
static uint64_t milliseconds(uint64_t value, uint64_t otherwise)
{
  if (value == 0) return otherwise;
  return value > INT32_MAX ? INT32_MAX : value;
}

void http_request_set_defaults(struct http_request *r)
{
  if (!r->method) r->method = "GET";
  r->timeout_ms = milliseconds(r->timeout_ms, DEFAULT_TIMEOUT_MS);
  r->connect_timeout_ms =
      milliseconds(r->connect_timeout_ms, DEFAULT_CONNECT_MS);
  if (!r->max_bytes && r->keep == HTTP_BODY_BUFFER)
    r->max_bytes = DEFAULT_MAX_BYTES;
  if (http_request_is_privileged(r)) r->max_redirects = 0;
}

bool http_request_is_privileged(const struct http_request *r)
{
  return r->sign || r->metadata || r->env_proxy;
}

/* Is the method one of this NULL-terminated list? */
static bool has_method(const struct http_request *r, const char *const *list)
{
  while (*list && strcmp(r->method, *list) != 0) list++;
  return *list != NULL;
}

/* Does the request carry a body, perhaps an empty one? */
static bool sends_body(const struct http_request *r)
{
  static const char *const methods[] = {"POST", "PUT", "PATCH", NULL};
  return r->body || has_method(r, methods);
}

/* Is repeating the request the same as sending it once (RFC 9110, 9.2.2)? */
static bool is_idempotent(const struct http_request *r)
{
  static const char *const methods[] = {"GET",     "HEAD",  "PUT", "DELETE",
                                        "OPTIONS", "TRACE", NULL};
  return has_method(r, methods);
}

/* ---- headers ---- */

static bool add_header(struct curl_slist **list, const char *line)
{
  struct curl_slist *longer = curl_slist_append(*list, line);
  if (longer) *list = longer;
  return longer != NULL;
}

/* For curl, "Name:" removes a header of its own; an empty one is "Name;". */
static bool add_empty_header(struct curl_slist **list, const char *line,
                             int name_len)
{
  char *empty = NULL;
  bool ok =
      asprintf(&empty, "%.*s;", name_len, line) >= 0 && add_header(list, empty);
  free(empty);
  return ok;
}

static bool add_headers(struct curl_slist **list, const struct http_request *r)
{
  bool typed = false;
  for (const char *const *at = r->headers; at && *at; at++) {
    size_t name = strcspn(*at, ":");
    const char *value = *at + name + (at[0][name] == ':');
    if (name == 12 && !strncasecmp(*at, "Content-Type", name)) typed = true;
    bool added = value[strspn(value, " \t")]
                     ? add_header(list, *at)
                     : add_empty_header(list, *at, (int)name);
    if (!added) return false;
  }
  /* libcurl 7.88 signs headers that it must leave out, as empty ones */
  if (!sends_body(r) || r->sign) return true;
  /* curl would call every body a form, and wait a second for the permission
   * to send a large one */
  return (typed || add_header(list, "Content-Type:")) &&
         add_header(list, "Expect:");
}

/* ---- options ---- */

static bool set_method(const struct http_request *r, CURL *c)
{
  bool bad = false, body = sends_body(r);
  const char *custom = r->method;
  if (!strcmp(r->method, "HEAD")) {
    bad |= HTTP_SET(c, NOBODY, 1L);
    custom = NULL;
  } else if (body) {
    bad |= HTTP_SET(c, POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
    bad |= HTTP_SET(c, POSTFIELDS, r->body ? r->body : "");
  }
  if (!strcmp(r->method, body ? "POST" : "GET")) custom = NULL;
  bad |= HTTP_SET(c, CUSTOMREQUEST, custom);
  /* as browsers do: a redirected POST continues as GET, a PUT as PUT */
  long keep = custom ? CURL_REDIR_POST_301 | CURL_REDIR_POST_302 : 0L;
  bad |= HTTP_SET(c, POSTREDIR, keep);
  return bad;
}

static int set_signature(const struct http_request *r, CURL *c, struct err *e)
{
  char *provider = NULL;
  if (asprintf(&provider, "aws:amz:%s:%s", r->sign->region, r->sign->service) <
      0)
    return err_set(e, "memory", "out of memory for an HTTP transfer");
  bool bad = HTTP_SET(c, AWS_SIGV4, provider);
  free(provider);
  if (bad)
    return err_set(e, "system",
                   "this libcurl cannot sign requests for AWS: it needs "
                   "7.75 or later, built with SigV4");
  bad |= HTTP_SET(c, USERNAME, r->sign->key);
  bad |= HTTP_SET(c, PASSWORD, r->sign->secret);
  return bad ? err_set(e, "memory", "out of memory for an HTTP transfer") : 0;
}

int http_request_apply(const struct http_request *r, CURL *c,
                       struct curl_slist **headers, struct err *e)
{
  bool bad = !add_headers(headers, r);
  bad |= set_method(r, c);
  /* curl silently repeats a request when the connection that it reused dies
   * before any of the response arrives */
  bool fresh = r->metadata || !is_idempotent(r);
  bad |= HTTP_SET(c, FRESH_CONNECT, fresh ? 1L : 0L);
  bad |= HTTP_SET(c, FORBID_REUSE, r->metadata ? 1L : 0L);
  bad |= HTTP_SET(c, HTTPHEADER, *headers);
  bad |= HTTP_SET(c, TIMEOUT_MS, (long)r->timeout_ms);
  bad |= HTTP_SET(c, CONNECTTIMEOUT_MS, (long)r->connect_timeout_ms);
  bad |= HTTP_SET(c, FOLLOWLOCATION, r->max_redirects ? 1L : 0L);
  bad |= HTTP_SET(c, MAXREDIRS, (long)r->max_redirects);
  bad |= HTTP_SET(c, SSL_VERIFYPEER, r->insecure ? 0L : 1L);
  bad |= HTTP_SET(c, SSL_VERIFYHOST, r->insecure ? 0L : 2L);
  if (r->compressed) bad |= HTTP_SET(c, ACCEPT_ENCODING, HTTP_DECODE_ACCEPTED);
  if (r->cookies) bad |= HTTP_SET(c, COOKIEFILE, ""); /* a jar in the handle */
  /* requests of jobs never use a proxy: the filter would see its address, not
   * that of the server */
  if (!r->env_proxy) bad |= HTTP_SET(c, PROXY, "");
  if (bad) return err_set(e, "memory", "out of memory for an HTTP transfer");
  return r->sign ? set_signature(r, c, e) : 0;
}
