/* SPDX-License-Identifier: MIT */
/* host.http: HTTP requests; fleet.http is its public face.
 *
 *   request(url, keep [, options]) -> result, or nil and an error table, which
 *     has the status, too, if the response had begun
 *     Waits. `keep` is "sha256": {status, url, bytes, sha256, elapsed}, or
 *     "buffer": {status, url, headers, body, bytes, elapsed} and trailers, if
 *     there were any. Names of headers and trailers are in lower case;
 *     set-cookie is a list.
 *     Options: method, headers (name -> value or list of values), body,
 *     timeout and connect_timeout in seconds, max_bytes, max_redirects
 *     (default: 10), insecure, compressed (default: only for "buffer"), cookies
 *     (those of a redirect are sent to the next URL).
 *     Only in states that run the program's own code, and following no
 *     redirects: sign = {service=, region=, key=, secret=} signs a POST for AWS
 *     (a session token is its header x-amz-security-token); metadata = true may
 *     reach the services of the instance; proxy = "environment" uses the proxy
 *     of https_proxy, no_proxy and so on; secret = true makes the body of an
 *     answer with status 200 a host.secret.
 *     Misuse raises at the line of the library's caller. */
#include "bindings/lib.h"

#include "base/container.h"
#include "bindings/lib_secret.h"
#include "lua/class.h"
#include "lua/task.h"
#include "net/http.h"
#include "net/http_token.h"
#include "wire/task_page.h"

#include <string.h>

#define HTTP_CALL "host.http.call"

enum {
  DEFAULT_REDIRECTS = 10,
  MAX_HEADERS = 1000,
  MAX_METHOD = 20,
  MAX_SIGN = 4096
};

struct lua_call {
  struct task_wait wait;
  struct http_call *call;  /* while it runs */
  const char *request_url; /* the Lua string, on the coroutine's stack */
  enum http_body keep;
  bool secret; /* the body of a good answer */
  bool ok;
  struct err e; /* unless ok */
  long status;
  uint64_t bytes;
  double elapsed;
  uint8_t sha256[DIGEST_SIZE];
  struct meters *meters; /* of a worker, or NULL */
  struct buf url;        /* empty: request_url */
  struct buf headers, trailers, body;
};

static void call_release(void *object)
{
  struct lua_call *c = object;
  if (c->call) http_cancel(c->call);
  c->call = NULL;
  buf_free(&c->url);
  buf_free(&c->headers);
  buf_free(&c->trailers);
  if (c->secret) lib_secret_wipe(&c->body);
  buf_free(&c->body);
}

static void on_cancel(struct task_wait *w)
{
  call_release(CONTAINER_OF(w, struct lua_call, wait));
}

/* Called by the loop, outside Lua. Keeps what the result needs. */
static void on_done(void *arg, const struct http_response *r,
                    const struct err *e)
{
  struct lua_call *c = arg;
  c->call = NULL;
  c->ok = e == NULL;
  meters_add(c->meters, c->ok ? METER_FETCHES_OK : METER_FETCHES_FAILED, 1);
  if (c->ok)
    meters_add_time(c->meters, METER_FETCH_TIME, (uint64_t)(r->elapsed * 1e9));
  if (c->ok) meters_add_bytes(c->meters, r->bytes);
  c->status = r->status;
  if (c->ok) {
    c->bytes = r->bytes;
    c->elapsed = r->elapsed;
    memcpy(c->sha256, r->sha256, DIGEST_SIZE);
    if (strcmp(r->url, c->request_url) != 0)
      buf_add(&c->url, r->url, strlen(r->url));
    if (r->body) { /* takes their memory */
      buf_swap(&c->headers, r->headers);
      buf_swap(&c->trailers, r->trailers);
      buf_swap(&c->body, r->body);
    }
    if (c->url.failed) {
      c->ok = false;
      err_set(&c->e, "memory", "out of memory for an HTTP response");
    }
  } else {
    c->e = *e;
  }
  task_wake(&c->wait);
}

/* ---- options ---- */

/* LJMP [-0, +1]: pushes a table of lines from the table on top. */
LJMP static int push_headers(lua_State *L)
{
  int from = lua_gettop(L), n = 0;
  lua_newtable(L);
  int lines = from + 1, name = from + 2;
  for (lua_pushnil(L); lua_next(L, from); lua_pop(L, 1)) {
    bool list = lua_istable(L, -1);
    lua_Integer count = list ? luaL_len(L, -1) : 1;
    for (lua_Integer i = 1; i <= count; i++) {
      if (list)
        lua_geti(L, -1, i);
      else
        lua_pushvalue(L, -1);
      lib_push_header(L, name, "http");
      if (++n > MAX_HEADERS) vm_misuse(L, "http: more than 1000 headers");
      lua_rawseti(L, lines, n);
      lua_pop(L, 1);
    }
  }
  return n;
}

/* LJMP [-0, +2]: pushes a table of strings and an array of pointers to them.
 * The strings live as long as the table does. */
LJMP static const char *const *push_header_lines(lua_State *L, int options)
{
  int type = lua_getfield(L, options, "headers");
  if (type != LUA_TNIL && type != LUA_TTABLE)
    vm_misuse(L, "http: headers must be a table");
  int n = type == LUA_TTABLE ? push_headers(L) : 0;
  if (n) lua_remove(L, -2);
  return n ? lib_push_strings(L, -1, MAX_HEADERS, "http: headers") : NULL;
}

LJMP static bool check_flag(lua_State *L, int options, const char *name,
                            bool otherwise)
{
  bool flag = otherwise;
  if (lua_getfield(L, options, name) != LUA_TNIL) flag = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return flag;
}

/* ---- options of trusted states ---- */

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

/* LJMP [-0, +1]: a string of at least one byte; a `label` is of lower-case
 * letters, digits and dashes. */
LJMP static const char *check_sign_field(lua_State *L, int sign,
                                         const char *name, bool label)
{
  size_t len = 0;
  bool text = lua_getfield(L, sign, name) == LUA_TSTRING;
  const char *s = text ? lua_tolstring(L, -1, &len) : "";
  size_t good = label ? strspn(s, LOWER DIGITS "-") : strlen(s);
  if (!len || len > MAX_SIGN ||
      good != len) /* without the value, which may be a secret */
    vm_misuse(L, "http: sign must have the strings service, region, key and "
                 "secret");
  return s;
}

/* LJMP [-0, +5] */
LJMP static const struct http_sign *check_sign(lua_State *L, int sign,
                                               const struct http_request *q)
{
  if (!lua_istable(L, sign)) vm_misuse(L, "http: sign must be a table");
  if (!q->method || strcmp(q->method, "POST") || !q->body ||
      memchr(q->url, '?', q->url_len))
    vm_misuse(L, "http: only a POST with a body and without a query is signed");
  struct http_sign *s = lua_newuserdatauv(L, sizeof(*s), 0);
  s->service = check_sign_field(L, sign, "service", true);
  s->region = check_sign_field(L, sign, "region", true);
  s->key = check_sign_field(L, sign, "key", false);
  s->secret = check_sign_field(L, sign, "secret", false);
  return s;
}

/* LJMP [-0, +6] */
LJMP static void check_trusted(lua_State *L, int options,
                               struct http_request *q)
{
  static const char *const names[] = {"sign", "metadata", "proxy", "secret",
                                      NULL};
  if (!vm_of(L)->host->trusted) {
    for (const char *const *name = names; *name; name++, lua_pop(L, 1))
      if (lua_getfield(L, options, *name) != LUA_TNIL) {
        vm_misuse(L, "http: unknown option '%s'", *name);
      }
    return;
  }
  q->metadata = check_flag(L, options, "metadata", false);
  if (lua_getfield(L, options, "proxy") != LUA_TNIL) {
    const char *proxy = lua_tostring(L, -1);
    if (!proxy || strcmp(proxy, "environment") != 0 || q->metadata)
      vm_misuse(L,
                "http: proxy must be \"environment\", and not with metadata");
    q->env_proxy = true;
  }
  lua_pop(L, 1);
  if (lua_getfield(L, options, "sign") != LUA_TNIL)
    q->sign = check_sign(L, lua_gettop(L), q);
}

/* LJMP [-0, +10]: fills `q`, whose strings stay on the stack. */
LJMP static void check_options(lua_State *L, int options,
                               struct http_request *q)
{
  size_t len = 0;
  q->timeout_ms = lib_ms_option(L, options, "timeout", "http");
  q->connect_timeout_ms = lib_ms_option(L, options, "connect_timeout", "http");
  q->max_bytes = (uint64_t)lib_integer_option(L, options, "max_bytes", "http",
                                              1, LUA_MAXINTEGER, 0);
  lua_Integer redirects =
      lib_integer_option(L, options, "max_redirects", "http", 0, LUA_MAXINTEGER,
                         DEFAULT_REDIRECTS);
  q->max_redirects = redirects > 1000 ? 1000 : (unsigned)redirects;
  q->insecure = check_flag(L, options, "insecure", false);
  q->compressed = check_flag(L, options, "compressed", q->compressed);
  q->cookies = check_flag(L, options, "cookies", false);
  if (lua_getfield(L, options, "method") != LUA_TNIL) {
    q->method = lua_tolstring(L, -1, &len);
    if (!q->method || len > MAX_METHOD || !http_is_token(q->method, len))
      vm_misuse(L, "http: the method must be a word of at most 20 letters");
  }
  if (lua_getfield(L, options, "body") != LUA_TNIL) {
    q->body = lua_tolstring(L, -1, &q->body_len);
    if (!q->body) vm_misuse(L, "http: the body must be a string");
    if (q->method && !strcmp(q->method, "HEAD"))
      vm_misuse(L, "http: a HEAD request has no body");
  }
  q->headers = push_header_lines(L, options);
  check_trusted(L, options, q);
}

/* ---- results ---- */

/* LJMP [-1, +0]: adds the value on top to `headers` under `name`. */
LJMP static void add_header(lua_State *L, int headers, const char *name)
{
  int known = lua_getfield(L, headers, name); /* value, known */
  if (!strcmp(name, "set-cookie")) {
    if (known == LUA_TNIL) {
      lua_pop(L, 1);
      lua_createtable(L, 1, 0);
      lua_pushvalue(L, -1);
      lua_setfield(L, headers, name);
    }
    lua_insert(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
    return;
  }
  if (known == LUA_TNIL) {
    lua_pop(L, 1);
  } else {
    lua_insert(L, -2);
    lua_pushliteral(L, ", ");
    lua_insert(L, -2);
    lua_concat(L, 3);
  }
  lua_setfield(L, headers, name);
}

/* LJMP [-0, +1]: pushes the name in lower case. */
LJMP static const char *push_lower(lua_State *L, const char *name, size_t len)
{
  luaL_Buffer b;
  char *out = luaL_buffinitsize(L, &b, len);
  for (size_t i = 0; i < len; i++)
    out[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
  luaL_pushresultsize(&b, len);
  return lua_tostring(L, -1);
}

/* LJMP [-0, +1] */
LJMP static void push_fields(lua_State *L, const struct buf *lines)
{
  const char *at = lines->len ? (const char *)lines->data : "";
  const char *end = at + lines->len;
  lua_createtable(L, 0, 8);
  int headers = lua_gettop(L);
  while (at < end) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    if (!stop) stop = end;
    const char *colon = memchr(at, ':', (size_t)(stop - at));
    if (colon && colon > at) {
      const char *from = colon + 1, *to = stop;
      while (from < to && (*from == ' ' || *from == '\t')) from++;
      while (to > from && strchr(" \t\r", to[-1])) to--;
      const char *name = push_lower(L, at, (size_t)(colon - at));
      lua_pushlstring(L, from, (size_t)(to - from));
      add_header(L, headers, name);
      lua_pop(L, 1);
    }
    at = stop + 1;
  }
}

/* LJMP [-0, +1] */
LJMP static void push_result(lua_State *L, struct lua_call *c)
{
  char hex[DIGEST_HEX_SIZE];
  lua_createtable(L, 0, 6);
  lib_set_integer(L, "status", c->status);
  lib_set_integer(L, "bytes", (lua_Integer)c->bytes);
  lua_pushnumber(L, c->elapsed);
  lua_setfield(L, -2, "elapsed");
  if (c->url.len)
    lib_push_bytes(L, &c->url);
  else
    lua_pushvalue(L, 1);
  lua_setfield(L, -2, "url");
  if (c->keep == HTTP_BODY_SHA256) {
    digest_hex(c->sha256, hex);
    lua_pushlstring(L, hex, sizeof(hex));
    lua_setfield(L, -2, "sha256");
    return;
  }
  push_fields(L, &c->headers);
  lua_setfield(L, -2, "headers");
  if (c->trailers.len) {
    push_fields(L, &c->trailers);
    lua_setfield(L, -2, "trailers");
  }
  if (c->secret && c->status == 200)
    lib_secret_push(L, &c->body);
  else
    lib_push_bytes(L, &c->body);
  lua_setfield(L, -2, "body");
}

LJMP static int k_request(lua_State *L, int status, lua_KContext ctx)
{
  struct lua_call *c = (struct lua_call *)ctx;
  (void)status;
  luaL_checkstack(L, 10, "http.request");
  if (!c->ok) {
    vm_fail(L, &c->e);
    if (c->status) lib_set_integer(L, "status", c->status);
    return 2;
  }
  push_result(L, c);
  call_release(c); /* its memory may be large: do not wait for the collector */
  return 1;
}

/* LJMP [-0, +1]: pushes a call that keeps the values on the stack from `first`
 * alive, which the request borrows. */
LJMP static struct lua_call *push_call(lua_State *L, int first)
{
  int last = lua_gettop(L);
  struct lua_call *c = class_new(L, HTTP_CALL, sizeof(*c), 1);
  c->meters = task_page_meters(vm_of(L)->host->task_page);
  buf_init(&c->url, SIZE_MAX);
  c->wait.cancel = on_cancel;
  if (last < first) return c;
  lua_createtable(L, last - first + 1, 0);
  for (int i = first; i <= last; i++) {
    lua_pushvalue(L, i);
    lua_rawseti(L, -2, i - first + 1);
  }
  lua_setiuservalue(L, -2, 1);
  return c;
}

/* The client of the process, made at the first use. NULL and `e` on failure. */
static struct http *client_of(struct vm_host *host, struct err *e)
{
  if (!host->http) {
    struct http_limits limits = {.allow_hosts = host->allow_hosts};
    if (http_global_init(e) < 0) return NULL;
    host->http = http_new(host->loop, &limits, e);
  }
  return host->http;
}

LJMP static int l_request(lua_State *L)
{
  static const char *const keeps[] = {"buffer", "sha256", NULL};
  struct http_request q = {.max_redirects = DEFAULT_REDIRECTS};
  struct err e;
  if (lua_type(L, 1) != LUA_TSTRING)
    return vm_misuse(L, "http: the URL must be a string");
  q.url = lua_tolstring(L, 1, &q.url_len);
  q.keep =
      luaL_checkoption(L, 2, NULL, keeps) ? HTTP_BODY_SHA256 : HTTP_BODY_BUFFER;
  q.compressed = q.keep == HTTP_BODY_BUFFER;
  luaL_checkstack(L, 20, "http.request");
  if (!lua_isnoneornil(L, 3)) {
    luaL_checktype(L, 3, LUA_TTABLE);
    check_options(L, 3, &q);
  }
  task_check_can_wait(L, "http.request");
  struct lua_call *c = push_call(L, 4);
  struct http *h = client_of(vm_of(L)->host, &e);
  if (!h) return vm_fail(L, &e);
  c->keep = q.keep;
  c->secret = vm_of(L)->host->trusted && lua_istable(L, 3) &&
              check_flag(L, 3, "secret", false);
  c->request_url = q.url;
  c->call = http_start(h, &q, on_done, c, &e);
  if (!c->call) return vm_fail(L, &e);
  return task_await(L, &c->wait, (lua_KContext)c, k_request);
}

static const luaL_Reg lib[] = {
    {"request", l_request},
    {NULL, NULL},
};

int luaopen_host_http(lua_State *L)
{
  return class_module(L, HTTP_CALL, call_release, NULL, lib);
}
