/* SPDX-License-Identifier: MIT */
/* What a node knows of itself, as a table for Lua: for its metrics, its health
 * and its page of status (lua/fleet/node/status.lua). [loop] */
#ifndef MF_NODE_STATUS_H
#define MF_NODE_STATUS_H

#include "node/node.h"

#include <lua.h>

/* LJMP [-0, +1]: pushes {version, hostname, name, release, state ("ready",
 * "draining" or "starting": it has no workers yet), uptime (seconds), workers
 * (of the command line), alive (workers), running, outstanding, sessions,
 * unacknowledged (bytes of events), deaths {cause -> count}, tasks {outcome ->
 * count}, cpu (seconds), fetches {outcome -> count}, task_seconds,
 * fetch_seconds, fetch_bytes}. The last three are histograms: {bounds, counts
 * (one more), sum}. */
void node_status_push(lua_State *L, const struct node *n);

#endif
