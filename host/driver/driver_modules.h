/* SPDX-License-Identifier: MIT */
/* The host.* modules that the state of a driver has: all of them. */
#ifndef MF_DRIVER_MODULES_H
#define MF_DRIVER_MODULES_H

#include <lauxlib.h>

int luaopen_host_driver(lua_State *L); /* lib_driver.c */

/* For vm_options.modules; ends with {NULL, NULL}. */
extern const luaL_Reg driver_modules[];

#endif
