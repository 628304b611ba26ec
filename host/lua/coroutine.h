/* SPDX-License-Identifier: MIT */
/* coroutine.resume, wrap and close for tasks: a wait inside a coroutine that a
 * task has made passes through to the loop. [loop] */
#ifndef MF_COROUTINE_H
#define MF_COROUTINE_H

#include "lua/vm.h"

/* LJMP: replaces resume, wrap and close in the global coroutine table. */
LJMP void coroutine_open(lua_State *L);

/* Closes the to-be-closed variables of a suspended coroutine and of those that
 * it waits in, from the inside out. Each of those is resumed from C, so that
 * Lua limits their depth. */
void coroutine_close(lua_State *L);

#endif
