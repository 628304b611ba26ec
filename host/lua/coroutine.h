/* SPDX-License-Identifier: MIT */
/* This unit provides coroutine.resume, wrap and close as tasks have them: a
 * wait inside a coroutine that the task made passes outward to the loop.
 * [loop] */
#ifndef MF_COROUTINE_H
#define MF_COROUTINE_H

#include "lua/vm.h"

/* LJMP: puts our resume, wrap and close into the global coroutine table. */
LJMP void coroutine_open(lua_State *L);

/* Closes what is pending in a suspended coroutine and in those it waits in,
 * from the inside out. Each is resumed from C, and Lua bounds the depth of
 * that. */
void coroutine_close(lua_State *L);

#endif
