/* SPDX-License-Identifier: MIT */
/* This unit provides preemption: Lua code that computes gives way to other
 * tasks after a few milliseconds of processor time. [loop] */
#ifndef MF_PREEMPT_H
#define MF_PREEMPT_H

#include "lua/vm.h"

/* [main] From now on running code is preempted, in this whole process. SIGPROF
 * is taken. Idempotent. 0 or -1. */
int preempt_start(struct err *e);

/* Names the coroutine that runs from now on, the innermost one; NULL: none.
 * Around every lua_resume. */
void preempt_enter(lua_State *L);

/* Whether a coroutine has been named. */
bool preempt_entered(void);

#endif
