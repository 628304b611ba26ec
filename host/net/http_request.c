/* SPDX-License-Identifier: MIT */
#include "net/http_request.h"

#include <curl/curl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
  DEFAULT_TIMEOUT_MS = 60000,
  DEFAULT_CONNECT_MS = 10000,
  DEFAULT_MAX_BYTES = 64 * 1024 * 1024,
};

bool http_order_has_method(const struct http_order *o, const char *method)
{
  return !strcmp(o->method, method);
}

bool http_order_sends_body(const struct http_order *o)
{
  return o->body || http_order_has_method(o, "POST") ||
         http_order_has_method(o, "PUT") || http_order_has_method(o, "PATCH");
}

static int add_header(struct http_order *o, const char *line)
{
  struct curl_slist *list = curl_slist_append(o->headers, line);
  if (!list) return -1;
  o->headers = list;
  return 0;
}

/* For curl "Name:" removes a header of its own; an empty one is "Name;". */
static int add_empty_header(struct http_order *o, const char *line, size_t name)
{
  char *empty = strndup(line, name + 1);
  if (!empty) return -1;
  empty[name] = ';';
  int rc = add_header(o, empty);
  free(empty);
  return rc;
}

static int add_headers(struct http_order *o, const char *const *lines,
                       bool signs)
{
  bool typed = false;
  for (; lines && *lines; lines++) {
    size_t name = strcspn(*lines, ":");
    const char *value = *lines + name;
    if (name == 12 && !strncasecmp(*lines, "Content-Type", name)) typed = true;
    if (*value == ':') value++;
    value += strspn(value, " \t");
    int rc = *value ? add_header(o, *lines) : add_empty_header(o, *lines, name);
    if (rc < 0) return -1;
  }
  /* libcurl 7.88 signs headers that it must leave out, as empty ones */
  if (!http_order_sends_body(o) || signs) return 0;
  /* curl would call every body a form, and wait a second for the permission
   * to send a large one */
  if (!typed && add_header(o, "Content-Type:") < 0) return -1;
  return add_header(o, "Expect:");
}

static int add_sign(struct http_order *o, const struct http_sign *s)
{
  if (asprintf(&o->sign, "aws:amz:%s:%s", s->region, s->service) < 0)
    o->sign = NULL; /* what it is then is not said */
  o->key = strdup(s->key);
  o->secret = strdup(s->secret);
  return o->sign && o->key && o->secret ? 0 : -1;
}

static long milliseconds(uint64_t value, long otherwise)
{
  if (value == 0) return otherwise;
  return value > INT32_MAX ? INT32_MAX : (long)value; /* 24 days */
}

int http_order_init(struct http_order *o, const struct http_request *req,
                    struct err *e)
{
  memset(o, 0, sizeof(*o));
  o->keep = req->keep;
  o->max_bytes = req->max_bytes;
  if (!o->max_bytes && o->keep == HTTP_BODY_BUFFER)
    o->max_bytes = DEFAULT_MAX_BYTES;
  o->options.timeout_ms = milliseconds(req->timeout_ms, DEFAULT_TIMEOUT_MS);
  o->options.connect_timeout_ms =
      milliseconds(req->connect_timeout_ms, DEFAULT_CONNECT_MS);
  o->special = req->sign || req->metadata || req->env_proxy;
  o->metadata = req->metadata;
  o->env_proxy = req->env_proxy;
  o->options.max_redirects = o->special ? 0 : (long)req->max_redirects;
  o->options.insecure = req->insecure;
  o->options.compressed = req->compressed;
  o->cookies = req->cookies;
  if (req->method && strcmp(req->method, "GET") != 0) {
    size_t len = strlen(req->method);
    if (len == 0 || len >= sizeof(o->method))
      return err_set(e, "url", "the HTTP method is empty or too long");
    memcpy(o->method, req->method, len);
  }
  if (req->body) {
    o->body_len = req->body_len;
    o->body = malloc(req->body_len + 1);
    if (!o->body) goto fail;
    memcpy(o->body, req->body, req->body_len);
  }
  if (add_headers(o, req->headers, req->sign != NULL) < 0) goto fail;
  if (req->sign && add_sign(o, req->sign) < 0) goto fail;
  return 0;
fail:
  http_order_free(o);
  return err_set(e, "memory", "out of memory");
}

void http_order_free(struct http_order *o)
{
  curl_slist_free_all(o->headers);
  free(o->body);
  if (o->secret) explicit_bzero(o->secret, strlen(o->secret));
  free(o->secret);
  free(o->key);
  free(o->sign);
  o->headers = NULL;
  o->body = NULL;
  o->sign = o->key = o->secret = NULL;
}
