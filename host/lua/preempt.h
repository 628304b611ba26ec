/* SPDX-License-Identifier: MIT */
/* Preemption: Lua code that computes yields to other tasks after a few
 * milliseconds of processor time. [loop] */
#ifndef MF_PREEMPT_H
#define MF_PREEMPT_H

#include "lua/vm.h"

/* [main] Starts preemption for the whole process, by SIGPROF. Idempotent.
 * Returns 0, or -1 and `e`. */
int preempt_start(struct err *e);

/* Sets the innermost coroutine that is running, or NULL, and returns the one
 * before. To be called around every lua_resume. */
lua_State *preempt_enter(lua_State *L);

#endif
