/* SPDX-License-Identifier: MIT */
/* This unit provides the driver program: one Lua state on one loop, in which
 * lua/fleet/cli/main.lua reads the command line and does the rest. */
#ifndef MF_DRIVER_H
#define MF_DRIVER_H

#include "base/err.h"

#include <lua.h>

/* LJMP [-0, +0]: gets the table that the command line's Lua returned in place
 * of an exit code; it is on top. */
typedef void driver_table(lua_State *L, void *arg);

/* [main] Runs the command line; the Lua state is gone when this returns. 0, or
 * -1 and `e` when it cannot start. Signals (main blocks them) reach the waiting
 * Lua code, or end the driver. */
int driver_run(int argc, char **argv, driver_table *on_table, void *arg,
               int *exit_code, struct err *e);

#endif
