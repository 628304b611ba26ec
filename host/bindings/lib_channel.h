/* SPDX-License-Identifier: MIT */
/* What lib_channel.c and lib_session.c, the halves of host.channel, share; and
 * struct channel_flusher, which sends what sessions have to send once the tasks
 * have run, so that what many tasks send goes together. A driver has one, added
 * to its loop before the Lua state is made. [loop] */
#ifndef MF_LIB_CHANNEL_H
#define MF_LIB_CHANNEL_H

#include "event/loop.h"
#include "lua/task.h"
#include "net/dialer.h"

struct lua_session;

struct channel_flusher {
  struct loop_hook hook;
  LIST_HEAD(lua_sessions, lua_session) sessions;
};

void channel_flusher_add(struct channel_flusher *f, struct loop *loop);

#define CHANNEL "host.channel.channel"

struct lua_channel {
  struct task_wait wait; /* of dial */
  struct dialer *dialer; /* while that waits */
  struct channel *channel;
  struct lua_session *session; /* that uses it, or NULL */
  LIST_HEAD(lua_requests, lua_request) requests;
  struct err error; /* of dial */
};

/* Takes a reply, which is valid during the call. 0, or -1 and `e`. */
typedef int lib_take_reply(void *arg, const uint8_t *data, size_t len,
                           struct err *e);

/* LJMP: sends a request over the channel at that index, waits for the reply and
 * returns it; or, when `take` has got it, true; or nil, an error and whether
 * `take` returned that. The object at index 1 lives as long. */
int lib_request(lua_State *L, int channel, const void *bytes, size_t len,
                lua_Number seconds, lib_take_reply *take, void *arg);

/* The session leaves its channel, if it has one. */
void lib_session_leave(struct lua_session *s);
/* Its channel has ended: leaves it, and calls on_end. */
void lib_session_ended(struct lua_session *s, const struct err *reason);

int lib_session(lua_State *L); /* session{...} */
void lib_session_register(lua_State *L);

#endif
