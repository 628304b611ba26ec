/* SPDX-License-Identifier: MIT */
/* The driver program: one Lua state on one loop, in which
 * lua/fleet/cli/main.lua interprets the command line. */
#ifndef MF_DRIVER_H
#define MF_DRIVER_H

#include "base/err.h"

#include <lauxlib.h>

/* The host.* modules of a driver's state, for vm_options.modules. */
extern const luaL_Reg driver_modules[];
int luaopen_host_driver(lua_State *L); /* lib_driver.c */

/* LJMP [-0, +0]: receives the table, on top of the stack, that main.lua
 * returned in place of an exit code. */
typedef void driver_table(lua_State *L, void *arg);

/* [main] Runs the command line and closes the Lua state. Returns 0, or -1 and
 * `e` when it cannot start. SIGINT and SIGTERM, which main has blocked, are
 * passed to the waiting Lua code, or end the driver. */
int driver_run(int argc, char **argv, driver_table *on_table, void *arg,
               int *exit_code, struct err *e);

#endif
