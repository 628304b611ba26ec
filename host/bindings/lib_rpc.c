/* SPDX-License-Identifier: MIT */
/* host.rpc: requests to nodes, for the driver.
 *   dial(url, seconds)          a connected peer (waits), or nil, err
 *   peer:call(bytes [, seconds])  the reply (waits), or nil, err; default: no
 *                               time limit. Many tasks may call one peer at
 *                               once; each gets its own reply.
 *   peer:up()                   whether it is connected
 *   peer:close()                pending calls fail with kind "lost" */
#include "bindings/lib.h"

#include "base/buf.h"
#include "lua/class.h"
#include "lua/task.h"
#include "net/rpc.h"

#define PEER "host.rpc.peer"
#define CALL "host.rpc.call"

struct lua_peer {
  struct task_wait wait; /* of dial */
  struct rpc_peer *peer;
  bool up;
  struct err error; /* of a failure */
};

struct lua_call {
  struct task_wait wait;
  struct rpc_call *call;
  struct buf reply;
  bool failed;
  struct err error; /* if failed */
};

/* ---- dial ---- */

static void on_state(void *arg, enum rpc_state state, const struct err *e)
{
  struct lua_peer *p = arg;
  p->up = state == RPC_UP;
  if (e) p->error = *e;
  task_wake(&p->wait);
}

static void peer_close(void *object)
{
  struct lua_peer *p = object;
  struct rpc_peer *peer = p->peer;
  p->peer = NULL;
  p->up = false;
  rpc_close(peer);
}

static void on_dial_cancel(struct task_wait *w)
{
  peer_close((struct lua_peer *)w);
}

LJMP static int k_dial(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_peer *p = (struct lua_peer *)ctx;
  if (p->up) return 1; /* its handle is on top */
  peer_close(p);
  return vm_fail(L, &p->error);
}

LJMP static uint64_t check_ms(lua_State *L, int arg, lua_Number otherwise)
{
  lua_Number s = luaL_optnumber(L, arg, otherwise);
  luaL_argcheck(L, s >= 0 && s < 1e9, arg, "seconds out of range");
  return s > 0 ? lib_ms(s) : 0;
}

LJMP static int l_dial(lua_State *L)
{
  const char *url = luaL_checkstring(L, 1);
  uint64_t ms = check_ms(L, 2, 5);
  struct err e;
  task_check_can_wait(L, "rpc.dial");
  struct lua_peer *p = class_new(L, PEER, sizeof(*p), 0);
  p->wait.cancel = on_dial_cancel;
  p->peer = rpc_dial(vm_of(L)->host->loop, url, ms, on_state, p, &e);
  if (!p->peer) return vm_fail(L, &e);
  return task_await(L, &p->wait, (lua_KContext)p, k_dial);
}

LJMP static int l_up(lua_State *L)
{
  lua_pushboolean(L, ((struct lua_peer *)luaL_checkudata(L, 1, PEER))->up);
  return 1;
}

/* ---- call ---- */

static void call_close(void *object)
{
  struct lua_call *c = object;
  if (c->call) rpc_cancel(c->call);
  c->call = NULL;
  buf_free(&c->reply);
}

static void on_call_cancel(struct task_wait *w)
{
  call_close((struct lua_call *)w);
}

static void on_reply(void *arg, const uint8_t *data, size_t len,
                     const struct err *e)
{
  struct lua_call *c = arg;
  c->call = NULL;
  c->failed = true;
  if (e)
    c->error = *e;
  else if (buf_add(&c->reply, data, len) < 0)
    err_set(&c->error, "memory", "out of memory for a reply");
  else
    c->failed = false;
  task_wake(&c->wait);
}

LJMP static int k_call(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct lua_call *c = (struct lua_call *)ctx;
  if (c->failed) return vm_fail(L, &c->error);
  lib_push_bytes(L, &c->reply);
  buf_free(&c->reply);
  return 1;
}

LJMP static int l_call(lua_State *L)
{
  struct lua_peer *peer = luaL_checkudata(L, 1, PEER);
  size_t len;
  const char *bytes = luaL_checklstring(L, 2, &len);
  uint64_t ms = check_ms(L, 3, 0);
  struct err e;
  task_check_can_wait(L, "peer:call");
  if (!peer->peer) {
    err_set(&e, "lost", "the peer is closed");
    return vm_fail(L, &e);
  }
  struct lua_call *c = class_new(L, CALL, sizeof(*c), 1);
  buf_init(&c->reply, RPC_MAX_MESSAGE);
  c->wait.cancel = on_call_cancel;
  lua_pushvalue(L, 1); /* the call keeps its peer alive */
  lua_setiuservalue(L, -2, 1);
  c->call = rpc_call(peer->peer, bytes, len, ms, on_reply, c, &e);
  if (!c->call) return vm_fail(L, &e);
  return task_await(L, &c->wait, (lua_KContext)c, k_call);
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
  return class_module(L, CALL, call_close, NULL, lib);
}
