/* SPDX-License-Identifier: MIT */
/* The host's C modules for Lua, one lib_*.c each; worker.h and driver.h list
 * those that their states have. The Lua library in lua/fleet wraps them; users
 * never require host.* themselves. */
#ifndef MF_LIB_H
#define MF_LIB_H

#include <lauxlib.h>
#include <stdint.h>

int luaopen_host_codec(lua_State *L);
int luaopen_host_digest(lua_State *L);
int luaopen_host_dns(lua_State *L);
int luaopen_host_edit(lua_State *L);
int luaopen_host_file(lua_State *L);
int luaopen_host_http(lua_State *L);
int luaopen_host_json(lua_State *L);
int luaopen_host_log(lua_State *L);
int luaopen_host_program(lua_State *L);
int luaopen_host_rpc(lua_State *L);
int luaopen_host_stream(lua_State *L);
int luaopen_host_sys(lua_State *L);
int luaopen_host_task(lua_State *L);
int luaopen_host_xml(lua_State *L);

/* Seconds above 0 as milliseconds, rounded up, at most 1e9. [any] */
uint64_t lib_ms(lua_Number seconds);

#endif
