/* SPDX-License-Identifier: MIT */
/* host.http_server: a server of HTTP/1.1, for states that run the program's own
 * code; fleet.httpd routes the requests.
 *   listen{host=, port=, max_connections=}  a server, or nil and an error; host
 *                        is an IP address, port 0 a free one
 *   server:port() server:connections()
 *   server:accept()      waits for a request; returns it, nil once the server
 *                        has shut down
 *   server:shut_down()   stops listening; requests that have come are answered
 *   server:close()       ends everything
 * A request:
 *   r:head()     {method, target, version = "1.0" or "1.1", peer, length (of
 *                the body, in bytes), headers}. Names of headers are in lower
 *                case; values of the same name are joined by ", ", those of
 *                cookie by "; "
 *   r:read()     the next bytes of the body (waits), nil at its end, or nil,
 *                err when the client has gone
 *   r:respond(status, headers, body)  the whole response; waits until it is
 *                taken: true, or nil, err (kind "closed") when the client has
 *                gone. `headers` is a list of alternating names and values
 *   r:begin(status, headers)          a response whose length is not known
 *   r:write(bytes)    more of its body; waits as respond does
 *   r:finish()        its end; waits as well
 *   r:is_closed()       whether the client has gone
 *   r:wait_closed(seconds)  waits for that; whether it has
 *   r:close()         ends the request; a response that is not complete breaks
 *                     the connection */
#include "bindings/lib.h"

#include "base/container.h"
#include "lua/class.h"
#include "lua/task.h"
#include "net/http_server.h"

#include <string.h>

#define SERVER "host.http_server"
#define REQUEST "host.http_server.request"

enum { MAX_CONNECTIONS = 100000, MAX_RESPONSE_HEADERS = 100 };

struct lua_server {
  struct http_server *server; /* NULL: closed */
  struct task_wait wait;      /* of accept */
  bool shut;
};

struct lua_request {
  struct http_connection *connection; /* NULL: closed */
  struct task_wait wait;
  struct loop *loop;
  struct loop_timer timer; /* of wait_closed */
};

/* ---- the server ---- */

static void server_release(void *object)
{
  struct lua_server *s = object;
  http_server_free(s->server);
  s->server = NULL;
  s->shut = true;
  task_wake(&s->wait);
}

static void on_waiting(void *arg)
{
  task_wake(&((struct lua_server *)arg)->wait);
}

static void no_cancel(struct task_wait *w)
{
  (void)w;
}

LJMP static int l_listen(lua_State *L)
{
  struct err e;
  luaL_checktype(L, 1, LUA_TTABLE);
  struct http_server_options o = {.loop = vm_of(L)->host->loop};
  lua_getfield(L, 1, "host");
  o.host = luaL_checkstring(L, -1);
  o.port = (int)lib_integer_option(L, 1, "port", "listen", 0, 65535, 0);
  o.max_connections = (int)lib_integer_option(L, 1, "max_connections", "listen",
                                              1, MAX_CONNECTIONS, 256);
  struct lua_server *s = class_new(L, SERVER, sizeof(*s), 0);
  s->wait.cancel = no_cancel;
  s->server = http_server_new(&o, on_waiting, s, &e);
  return s->server ? 1 : vm_fail(L, &e);
}

LJMP static struct lua_server *check_server(lua_State *L)
{
  struct lua_server *s = luaL_checkudata(L, 1, SERVER);
  luaL_argcheck(L, s->server || s->shut, 1, "the server is closed");
  return s;
}

LJMP static int l_port(lua_State *L)
{
  struct lua_server *s = check_server(L);
  lua_pushinteger(L, s->server ? http_server_port(s->server) : 0);
  return 1;
}

LJMP static int l_connections(lua_State *L)
{
  struct lua_server *s = check_server(L);
  lua_pushinteger(L, s->server ? http_server_connections(s->server) : 0);
  return 1;
}

static void on_change(void *arg)
{
  task_wake(&((struct lua_request *)arg)->wait);
}

static void on_time(struct loop_timer *timer)
{
  task_wake(&(CONTAINER_OF(timer, struct lua_request, timer))->wait);
}

static void on_cancel(struct task_wait *w)
{
  struct lua_request *r = CONTAINER_OF(w, struct lua_request, wait);
  loop_timer_clear(r->loop, &r->timer);
}

LJMP static int k_accept(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_server *s = (struct lua_server *)ctx;
  struct lua_request *r = class_new(L, REQUEST, sizeof(*r), 0);
  r->loop = vm_of(L)->host->loop;
  r->wait.cancel = on_cancel;
  r->timer.on_expire = on_time;
  r->connection = s->server ? http_server_take(s->server) : NULL;
  if (r->connection) {
    http_connection_own(r->connection, on_change, r);
    return 1;
  }
  if (s->shut) return 0;
  lua_settop(L, 1);
  return task_await(L, &s->wait, (lua_KContext)s, k_accept);
}

LJMP static int l_accept(lua_State *L)
{
  struct lua_server *s = check_server(L);
  task_check_can_wait(L, "server:accept");
  luaL_argcheck(L, !s->wait.task, 1, "another task accepts requests");
  return k_accept(L, LUA_OK, (lua_KContext)s);
}

LJMP static int l_shut_down(lua_State *L)
{
  struct lua_server *s = check_server(L);
  if (s->server) http_server_shut_down(s->server);
  s->shut = true;
  task_wake(&s->wait);
  return 0;
}

/* ---- requests ---- */

static void request_release(void *object)
{
  struct lua_request *r = object;
  struct http_connection *c = r->connection;
  r->connection = NULL;
  if (r->loop) loop_timer_clear(r->loop, &r->timer);
  if (c) http_connection_release(c);
}

/* The request, whose connection no other task waits for. */
LJMP static struct lua_request *check_request(lua_State *L)
{
  struct lua_request *r = luaL_checkudata(L, 1, REQUEST);
  luaL_argcheck(L, r->connection, 1, "the request is closed");
  luaL_argcheck(L, !r->wait.task, 1, "another task waits for the request");
  return r;
}

/* LJMP [-0, +1]: the name in lower case. */
LJMP static void push_lower(lua_State *L, const struct http_span *name)
{
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, name->len);
  for (size_t i = 0; i < name->len; i++) {
    char c = name->at[i];
    to[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
  }
  luaL_pushresultsize(&b, name->len);
}

/* LJMP [-0, +1]: the value; one without bytes may have no place. */
LJMP static void push_span(lua_State *L, const struct http_span *s)
{
  lua_pushlstring(L, s->at ? s->at : "", s->len);
}

LJMP static void push_fields(lua_State *L, const struct http_message *m)
{
  lua_createtable(L, 0, m->field_count);
  for (int i = 0; i < m->field_count; i++) {
    push_lower(L, &m->fields[i].name);
    const char *name = lua_tostring(L, -1);
    const char *between = strcmp(name, "cookie") ? ", " : "; ";
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TNIL) {
      lua_pop(L, 1);
      push_span(L, &m->fields[i].value);
    } else {
      lua_pushstring(L, between);
      push_span(L, &m->fields[i].value);
      lua_concat(L, 3);
    }
    lua_rawset(L, -3);
  }
}

LJMP static int l_head(lua_State *L)
{
  struct lua_request *r = check_request(L);
  const struct http_message *m = http_connection_message(r->connection);
  lua_createtable(L, 0, 6);
  lua_pushstring(L, m->method);
  lua_setfield(L, -2, "method");
  push_span(L, &m->target);
  lua_setfield(L, -2, "target");
  lua_pushstring(L, m->is_1_0 ? "1.0" : "1.1");
  lua_setfield(L, -2, "version");
  lua_pushstring(L, http_connection_peer(r->connection));
  lua_setfield(L, -2, "peer");
  lib_set_integer(L, "length", (lua_Integer)m->length);
  push_fields(L, m);
  lua_setfield(L, -2, "headers");
  return 1;
}

LJMP static int fail_closed(lua_State *L)
{
  struct err e;
  err_set(&e, "closed", "the client has gone");
  return vm_fail(L, &e);
}

LJMP static int k_read(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_request *r = (struct lua_request *)ctx;
  struct buf *body = http_connection_body(r->connection);
  if (body->len) {
    lib_push_bytes(L, body);
    buf_clear(body);
    return 1;
  }
  if (http_connection_is_closed(r->connection)) return fail_closed(L);
  if (http_connection_body_is_finished(r->connection)) return 0;
  return task_await(L, &r->wait, ctx, k_read);
}

LJMP static int l_read(lua_State *L)
{
  struct lua_request *r = check_request(L);
  task_check_can_wait(L, "request:read");
  return k_read(L, LUA_OK, (lua_KContext)r);
}

LJMP static int k_sent(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_request *r = (struct lua_request *)ctx;
  if (http_connection_is_closed(r->connection)) return fail_closed(L);
  if (!http_connection_is_sent(r->connection))
    return task_await(L, &r->wait, ctx, k_sent);
  lua_pushboolean(L, 1);
  return 1;
}

/* Begins the response with the status and headers at 2 and 3. */
LJMP static void begin(lua_State *L, struct lua_request *r, int64_t length)
{
  int status = (int)luaL_checkinteger(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  luaL_argcheck(L, status >= 200 && status <= 599, 2, "no status");
  luaL_argcheck(L, !http_connection_has_begun(r->connection), 1,
                "the response has begun");
  lua_Integer n = luaL_len(L, 3);
  luaL_argcheck(L, n % 2 == 0 && n <= 2 * MAX_RESPONSE_HEADERS, 3,
                "names and values expected");
  lua_pushliteral(L, "");
  int lines = lua_gettop(L);
  for (lua_Integer i = 1; i < n; i += 2) {
    lua_rawgeti(L, 3, i);
    lua_rawgeti(L, 3, i + 1);
    lib_push_header(L, lines + 1, "http_server");
    lua_pushvalue(L, lines);
    lua_insert(L, -2);
    lua_pushliteral(L, "\r\n");
    lua_concat(L, 3);
    lua_replace(L, lines);
    lua_settop(L, lines);
  }
  size_t len;
  const char *headers = lua_tolstring(L, lines, &len);
  http_connection_respond(r->connection, status, headers, len, length);
}

LJMP static int l_respond(lua_State *L)
{
  size_t len;
  struct lua_request *r = check_request(L);
  const char *body = luaL_optlstring(L, 4, "", &len);
  task_check_can_wait(L, "request:respond");
  begin(L, r, (int64_t)len);
  http_connection_write(r->connection, body, len);
  http_connection_finish(r->connection);
  return k_sent(L, LUA_OK, (lua_KContext)r);
}

LJMP static int l_begin(lua_State *L)
{
  struct lua_request *r = check_request(L);
  task_check_can_wait(L, "request:begin");
  begin(L, r, HTTP_STREAM);
  return k_sent(L, LUA_OK, (lua_KContext)r);
}

LJMP static struct lua_request *check_begun(lua_State *L, const char *what)
{
  struct lua_request *r = check_request(L);
  luaL_argcheck(L, http_connection_has_begun(r->connection), 1,
                "the response has not begun");
  task_check_can_wait(L, what);
  return r;
}

LJMP static int l_write(lua_State *L)
{
  size_t len;
  struct lua_request *r = check_begun(L, "request:write");
  const char *bytes = luaL_checklstring(L, 2, &len);
  http_connection_write(r->connection, bytes, len);
  return k_sent(L, LUA_OK, (lua_KContext)r);
}

LJMP static int l_finish(lua_State *L)
{
  struct lua_request *r = check_begun(L, "request:finish");
  http_connection_finish(r->connection);
  return k_sent(L, LUA_OK, (lua_KContext)r);
}

LJMP static int l_is_closed(lua_State *L)
{
  struct lua_request *r = luaL_checkudata(L, 1, REQUEST);
  lua_pushboolean(L,
                  !r->connection || http_connection_is_closed(r->connection));
  return 1;
}

LJMP static int k_wait_closed(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_request *r = (struct lua_request *)ctx;
  bool closed = http_connection_is_closed(r->connection);
  if (!closed && r->timer.slot)
    return task_await(L, &r->wait, ctx, k_wait_closed);
  loop_timer_clear(r->loop, &r->timer);
  lua_pushboolean(L, closed);
  return 1;
}

LJMP static int l_wait_closed(lua_State *L)
{
  struct lua_request *r = check_request(L);
  lua_Number seconds = luaL_checknumber(L, 2);
  luaL_argcheck(L, seconds > 0, 2, "seconds above 0 expected");
  task_check_can_wait(L, "request:wait_closed");
  if (loop_timer_set(r->loop, &r->timer, lib_ms(seconds) * LOOP_MS) < 0)
    return luaL_error(L, "not enough memory");
  return k_wait_closed(L, LUA_OK, (lua_KContext)r);
}

LJMP static int l_close(lua_State *L)
{
  struct lua_request *r = luaL_checkudata(L, 1, REQUEST);
  luaL_argcheck(L, !r->wait.task, 1, "another task waits for the request");
  request_release(r);
  return 0;
}

static const luaL_Reg server_methods[] = {
    {"port", l_port},         {"connections", l_connections},
    {"accept", l_accept},     {"shut_down", l_shut_down},
    {"close", class_release}, {NULL, NULL},
};

static const luaL_Reg request_methods[] = {
    {"head", l_head},
    {"read", l_read},
    {"respond", l_respond},
    {"begin", l_begin},
    {"write", l_write},
    {"finish", l_finish},
    {"close", l_close},
    {"is_closed", l_is_closed},
    {"wait_closed", l_wait_closed},
    {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"listen", l_listen},
    {NULL, NULL},
};

int luaopen_host_http_server(lua_State *L)
{
  class_add(L, REQUEST, request_release, request_methods);
  return class_module(L, SERVER, server_release, server_methods, lib);
}
