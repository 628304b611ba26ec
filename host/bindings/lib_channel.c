/* SPDX-License-Identifier: MIT */
/* host.channel: channels to nodes (net/channel.h), for the driver;
 * lib_session.c has the sessions over them.
 *
 *   dial{url=, tls=, insecure=, timeout=}
 *   dial{input=, output=, name=, timeout=}
 *                               a channel (waits for the node's preface), or
 *                               nil, err with the kinds of net/dialer.h. input
 *                               and output are descriptors, perhaps the same
 *                               one, which are taken over. tls: an identity
 *                               of host.tls, for tcp addresses; insecure:
 *                               whether tcp addresses of other machines need
 *                               none. timeout: seconds, default: 5
 *   check(url, has_keys, insecure)  true if the address may be used so, else
 *                               nil, err (dialer_check of net/dialer.h)
 *   channel:call(bytes [, seconds])  sends a request and returns the reply
 *                               (waits), or nil, err of kind "timeout", "lost",
 *                               "too_large" or "memory"; default: no time
 *                               limit. Many tasks may call at once; each gets
 *                               its own reply.
 *   channel:peer()              the name of the other end
 *   channel:expires()           when the peer's certificate does, in seconds
 *                               since 1970; nil without TLS
 *   channel:verify(identity)    verifies the peer's certificate by the present
 *                               keys of the identity: true (also without TLS),
 *                               or nil, err of kind "tls"
 *   channel:up()                whether it has not ended
 *   channel:close()             pending calls fail with kind "lost" */
#include "bindings/lib_channel.h"

#include "base/container.h"
#include "bindings/lib.h"
#include "bindings/lib_tls.h"
#include "lua/class.h"
#include "net/carrier_tls.h"

#include <string.h>

#define REQUEST "host.channel.request"

struct lua_request {
  struct task_wait wait;
  struct lua_channel *channel;
  lib_take_reply *take; /* or NULL */
  void *arg;
  struct loop *loop;
  struct loop_timer timer;
  uint32_t id; /* 0: ended */
  LIST_ENTRY(lua_request) link;
  struct buf reply;
  bool failed, by_node;
  struct err error; /* if failed */
};

/* ---- channels ---- */

static void request_end(struct lua_request *q)
{
  if (!q->id) return;
  q->id = 0;
  LIST_REMOVE(q, link);
  loop_timer_clear(q->loop, &q->timer);
}

static void request_fail(struct lua_request *q, const struct err *e)
{
  request_end(q);
  q->failed = true;
  q->error = *e;
  task_wake(&q->wait);
}

static void channel_release(void *object)
{
  struct lua_channel *c = object;
  struct channel *channel = c->channel;
  struct err e;
  if (c->dialer) dialer_cancel(c->dialer);
  c->dialer = NULL;
  if (!channel) return;
  c->channel = NULL;
  if (c->session) lib_session_leave(c->session);
  err_set(&e, "lost", "the channel is closed");
  while (!LIST_EMPTY(&c->requests)) request_fail(LIST_FIRST(&c->requests), &e);
  channel_close(channel);
}

static void on_channel_end(void *arg, const struct err *reason)
{
  struct lua_channel *c = arg;
  struct lua_session *s = c->session;
  const struct err copy = *reason; /* it may be the channel's */
  /* for k_dial, which may still have to return the channel */
  err_set(&c->error, copy.kind, "%s: %s", channel_peer(c->channel), copy.text);
  channel_release(c);
  if (s) lib_session_ended(s, &copy);
}

static void on_request(void *arg, uint32_t id, const uint8_t *data, size_t len)
{
  (void)id, (void)data, (void)len;
  struct err e;
  err_set(&e, "protocol", "%s: nodes send no requests",
          channel_peer(((struct lua_channel *)arg)->channel));
  on_channel_end(arg, &e);
}

static const struct channel_events channel_events = {
    .on_request = on_request,
    .on_end = on_channel_end,
};

static void on_dialed(void *arg, struct channel *channel, const struct err *e)
{
  struct lua_channel *c = arg;
  c->dialer = NULL;
  c->channel = channel;
  if (e) c->error = *e;
  task_wake(&c->wait);
}

static void on_dial_cancel(struct task_wait *w)
{
  channel_release(CONTAINER_OF(w, struct lua_channel, wait));
}

LJMP static int k_dial(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_channel *c = (struct lua_channel *)ctx;
  return c->channel ? 1 : vm_fail(L, &c->error);
}

LJMP static int l_dial(lua_State *L)
{
  struct dialer_options options = {.loop = vm_of(L)->host->loop};
  struct err e;
  luaL_checktype(L, 1, LUA_TTABLE);
  task_check_can_wait(L, "channel.dial");
  uint64_t ms = lib_ms_option(L, 1, "timeout", "channel.dial");
  options.timeout = ms ? ms * LOOP_MS : 5 * LOOP_S;
  lua_getfield(L, 1, "name");
  options.name = luaL_optstring(L, -1, NULL);
  lua_getfield(L, 1, "url");
  options.url = luaL_optstring(L, -1, NULL);
  if (!options.url) {
    lua_getfield(L, 1, "input");
    options.in = (int)luaL_checkinteger(L, -1);
    lua_getfield(L, 1, "output");
    options.out = (int)luaL_checkinteger(L, -1);
  }
  lua_getfield(L, 1, "insecure");
  options.insecure = lua_toboolean(L, -1);
  lua_getfield(L, 1, "tls");
  if (!lua_isnil(L, -1)) options.tls = lib_tls_identity(L, -1);
  int identity = lua_gettop(L);
  struct lua_channel *c = class_new(L, CHANNEL, sizeof(*c), 1);
  lua_pushvalue(L, identity); /* the dialer needs it as long as it lives */
  lua_setiuservalue(L, -2, 1);
  c->wait.cancel = on_dial_cancel;
  c->dialer = dialer_dial(&options, &channel_events, c, on_dialed, c, &e);
  if (!c->dialer) return vm_fail(L, &e);
  return task_await(L, &c->wait, (lua_KContext)c, k_dial);
}

LJMP static int l_up(lua_State *L)
{
  struct lua_channel *c = luaL_checkudata(L, 1, CHANNEL);
  lua_pushboolean(L, c->channel != NULL);
  return 1;
}

LJMP static int l_peer(lua_State *L)
{
  struct lua_channel *c = luaL_checkudata(L, 1, CHANNEL);
  lua_pushstring(L, c->channel ? channel_peer(c->channel) : "");
  return 1;
}

LJMP static int l_expires(lua_State *L)
{
  const struct lua_channel *c = luaL_checkudata(L, 1, CHANNEL);
  const struct certificate *peer =
      c->channel ? carrier_tls_peer(channel_carrier(c->channel)) : NULL;
  if (!peer) return 0;
  lua_pushinteger(L, peer->not_after);
  return 1;
}

LJMP static int l_verify(lua_State *L)
{
  struct lua_channel *c = luaL_checkudata(L, 1, CHANNEL);
  const struct tls_identity *id = lib_tls_identity(L, 2);
  struct err e;
  if (c->channel && carrier_tls_verify(channel_carrier(c->channel), id, &e) < 0)
    return vm_fail(L, &e);
  lua_pushboolean(L, true);
  return 1;
}

LJMP static int l_check(lua_State *L)
{
  struct err e;
  const char *url = luaL_checkstring(L, 1);
  if (dialer_check(url, lua_toboolean(L, 2), lua_toboolean(L, 3), &e) < 0)
    return vm_fail(L, &e);
  lua_pushboolean(L, true);
  return 1;
}

/* ---- requests ---- */

static void request_release(void *object)
{
  struct lua_request *q = object;
  if (q->id) channel_cancel(q->channel->channel, q->id);
  request_end(q);
  buf_free(&q->reply);
}

static void on_request_cancel(struct task_wait *w)
{
  request_release(CONTAINER_OF(w, struct lua_request, wait));
}

static void on_request_timeout(struct loop_timer *timer)
{
  struct lua_request *q = CONTAINER_OF(timer, struct lua_request, timer);
  struct err e;
  err_set(&e, "timeout", "%s: no answer in time",
          channel_peer(q->channel->channel));
  channel_cancel(q->channel->channel, q->id);
  request_fail(q, &e);
}

static void on_reply(void *arg, const uint8_t *data, size_t len,
                     const struct err *e)
{
  struct lua_request *q = arg;
  struct err error;
  if (e) {
    request_fail(q, e);
  } else if (q->take && q->take(q->arg, data, len, &error) < 0) {
    q->by_node = true;
    request_fail(q, &error);
  } else if (!q->take && buf_add(&q->reply, data, len) < 0) {
    err_set(&error, "memory", "out of memory for a reply");
    request_fail(q, &error);
  } else {
    request_end(q);
    task_wake(&q->wait);
  }
}

LJMP static int k_request(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_request *q = (struct lua_request *)ctx;
  if (q->failed) {
    vm_fail(L, &q->error);
    lua_pushboolean(L, q->by_node);
    return 3;
  }
  if (q->take) {
    lua_pushboolean(L, true);
  } else {
    lib_push_bytes(L, &q->reply);
    buf_free(&q->reply);
  }
  return 1;
}

LJMP int lib_request(lua_State *L, int channel, const void *bytes, size_t len,
                     lua_Number seconds, lib_take_reply *take, void *arg)
{
  struct err e;
  struct lua_channel *c = luaL_checkudata(L, channel, CHANNEL);
  luaL_argcheck(L, seconds >= 0, channel + 2, "seconds out of range");
  if (!c->channel) {
    err_set(&e, "lost", "the channel is closed");
    return vm_fail(L, &e);
  }
  struct lua_request *q = class_new(L, REQUEST, sizeof(*q), 2);
  buf_init(&q->reply, CHANNEL_MAX_REQUEST);
  q->loop = vm_of(L)->host->loop;
  q->wait.cancel = on_request_cancel;
  q->timer.on_expire = on_request_timeout;
  q->channel = c;
  lua_pushvalue(L, channel);
  lua_setiuservalue(L, -2, 1);
  q->take = take;
  q->arg = arg;
  if (take) { /* an object, whose method this is */
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 2);
  }
  if (seconds > 0 && seconds < 1e9 &&
      loop_timer_set(q->loop, &q->timer, (uint64_t)(seconds * 1e9)) < 0)
    return luaL_error(L, "not enough memory");
  q->id = channel_request(c->channel, bytes, len, on_reply, q, &e);
  if (!q->id) {
    loop_timer_clear(q->loop, &q->timer);
    return vm_fail(L, &e);
  }
  LIST_INSERT_HEAD(&c->requests, q, link);
  return task_await(L, &q->wait, (lua_KContext)q, k_request);
}

LJMP static int l_call(lua_State *L)
{
  size_t len;
  const char *bytes = luaL_checklstring(L, 2, &len);
  lua_Number seconds = luaL_optnumber(L, 3, 0);
  task_check_can_wait(L, "channel:call");
  return lib_request(L, 1, bytes, len, seconds, NULL, NULL);
}

static const luaL_Reg channel_methods[] = {
    {"call", l_call}, {"close", class_release}, {"peer", l_peer},
    {"up", l_up},     {"verify", l_verify},     {"expires", l_expires},
    {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"dial", l_dial},
    {"check", l_check},
    {"session", lib_session},
    {NULL, NULL},
};

int luaopen_host_channel(lua_State *L)
{
  class_add(L, REQUEST, request_release, NULL);
  lib_session_register(L);
  return class_module(L, CHANNEL, channel_release, channel_methods, lib);
}
