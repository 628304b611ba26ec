/* SPDX-License-Identifier: MIT */
/* host.rpc: request and reply with nodes, for the driver.
 *   dial(url, seconds)          a connected peer (waits), or nil, err
 *   peer:call(bytes [, seconds])  the reply (waits), or nil, err; no time
 *                               limit by default. Many tasks may call one peer
 *                               at once; replies find their caller.
 *   peer:up()                   whether the connection stands
 *   peer:close()                calls under way fail, kind "lost" */
#include "bindings/lib.h"

#include "base/buf.h"
#include "lua/class.h"
#include "lua/task.h"
#include "net/rpc.h"

#define PEER "host.rpc.peer"
#define CALL "host.rpc.call"

struct peer_box {
  struct task_wait wait; /* of dial */
  struct rpc_peer *peer;
  bool up;
  struct err why; /* of a failure */
};

struct call_box {
  struct task_wait wait;
  struct rpc_call *call;
  struct buf reply;
  bool failed;
  struct err why;
};

/* ---- dial ---- */

static void on_state(void *arg, enum rpc_state state, const struct err *e)
{
  struct peer_box *b = arg;
  b->up = state == RPC_UP;
  if (e) b->why = *e;
  task_wake(&b->wait);
}

static void peer_close(void *object)
{
  struct peer_box *b = object;
  struct rpc_peer *peer = b->peer;
  b->peer = NULL;
  b->up = false;
  rpc_close(peer);
}

static void on_dial_cancel(struct task_wait *w)
{
  peer_close((struct peer_box *)w);
}

LJMP static int k_dial(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct peer_box *b = (struct peer_box *)ctx;
  if (b->up) return 1; /* the box is on top */
  peer_close(b);
  return vm_fail(L, &b->why);
}

LJMP static uint64_t check_ms(lua_State *L, int arg, lua_Number otherwise)
{
  lua_Number s = luaL_optnumber(L, arg, otherwise);
  luaL_argcheck(L, s >= 0 && s < 1e9, arg, "seconds out of range");
  return (uint64_t)(s * 1000);
}

LJMP static int l_dial(lua_State *L)
{
  const char *url = luaL_checkstring(L, 1);
  uint64_t ms = check_ms(L, 2, 5);
  struct err e;
  task_check_can_wait(L, "rpc.dial");
  struct peer_box *b = class_new(L, PEER, sizeof(*b), 0);
  b->wait.cancel = on_dial_cancel;
  b->peer = rpc_dial(vm_of(L)->host->loop, url, ms, on_state, b, &e);
  if (!b->peer) return vm_fail(L, &e);
  return task_await(L, &b->wait, (lua_KContext)b, k_dial);
}

LJMP static int l_up(lua_State *L)
{
  lua_pushboolean(L, ((struct peer_box *)luaL_checkudata(L, 1, PEER))->up);
  return 1;
}

/* ---- call ---- */

static void call_close(void *object)
{
  struct call_box *b = object;
  if (b->call) rpc_cancel(b->call);
  b->call = NULL;
  buf_free(&b->reply);
}

static void on_call_cancel(struct task_wait *w)
{
  call_close((struct call_box *)w);
}

static void on_reply(void *arg, const uint8_t *data, size_t len,
                     const struct err *e)
{
  struct call_box *b = arg;
  b->call = NULL;
  b->failed = true;
  if (e)
    b->why = *e;
  else if (buf_add(&b->reply, data, len) < 0)
    err_set(&b->why, "memory", "out of memory for a reply");
  else
    b->failed = false;
  task_wake(&b->wait);
}

LJMP static int k_call(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct call_box *b = (struct call_box *)ctx;
  if (b->failed) return vm_fail(L, &b->why);
  lib_push_bytes(L, &b->reply);
  buf_free(&b->reply);
  return 1;
}

LJMP static int l_call(lua_State *L)
{
  struct peer_box *peer = luaL_checkudata(L, 1, PEER);
  size_t len;
  const char *bytes = luaL_checklstring(L, 2, &len);
  uint64_t ms = check_ms(L, 3, 0);
  struct err e;
  task_check_can_wait(L, "peer:call");
  if (!peer->peer) {
    err_set(&e, "lost", "the peer is closed");
    return vm_fail(L, &e);
  }
  struct call_box *b = class_new(L, CALL, sizeof(*b), 1);
  buf_init(&b->reply, RPC_MAX_MESSAGE);
  b->wait.cancel = on_call_cancel;
  lua_pushvalue(L, 1); /* the call keeps its peer alive */
  lua_setiuservalue(L, -2, 1);
  b->call = rpc_call(peer->peer, bytes, len, ms, on_reply, b, &e);
  if (!b->call) return vm_fail(L, &e);
  return task_await(L, &b->wait, (lua_KContext)b, k_call);
}

static const luaL_Reg peer_methods[] = {
    {"call", l_call},
    {"close", class_release},
    {"up", l_up},
    {NULL, NULL},
};

static const luaL_Reg lib[] = {
    {"dial", l_dial},
    {NULL, NULL},
};

int luaopen_host_rpc(lua_State *L)
{
  class_add(L, PEER, peer_close, peer_methods);
  class_add(L, CALL, call_close, NULL);
  luaL_newlib(L, lib);
  return 1;
}
