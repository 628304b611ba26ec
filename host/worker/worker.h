/* SPDX-License-Identifier: MIT */
/* The worker program: the process that runs job code. It finds its node at
 * PROTOCOL_WORKER_FD, keeps one Lua state per session, runs each task as a
 * coroutine and sends the results back. It holds no secrets and may be killed
 * at any time. */
#ifndef MF_WORKER_H
#define MF_WORKER_H

#include "base/err.h"

#include <lauxlib.h>

/* The host.* modules of the states of a worker, for vm_options.modules: what
 * jobs may reach. */
extern const luaL_Reg worker_modules[];
int luaopen_host_job(lua_State *L); /* lib_job.c */

/* [main] Runs until the node closes the channel. Returns 0, or -1 and `e` when
 * it cannot start. */
int worker_run(struct err *e);

#endif
