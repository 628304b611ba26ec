/* SPDX-License-Identifier: MIT */
/* struct channel_flusher: sends what sessions have to send (lib_channel.c) once
 * the tasks have run, so that what many tasks send goes together. A driver has
 * one, added to its loop before the Lua state is made. [loop] */
#ifndef MF_LIB_CHANNEL_H
#define MF_LIB_CHANNEL_H

#include "event/loop.h"

struct lua_session;

struct channel_flusher {
  struct loop_hook hook;
  LIST_HEAD(lua_sessions, lua_session) sessions;
};

void channel_flusher_add(struct channel_flusher *f, struct loop *loop);

#endif
