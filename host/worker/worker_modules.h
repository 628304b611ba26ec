/* SPDX-License-Identifier: MIT */
/* The host.* modules that the states of a worker have: what jobs may reach. */
#ifndef MF_WORKER_MODULES_H
#define MF_WORKER_MODULES_H

#include <lauxlib.h>

int luaopen_host_job(lua_State *L); /* lib_job.c */

/* For vm_options.modules; ends with {NULL, NULL}. */
extern const luaL_Reg worker_modules[];

#endif
