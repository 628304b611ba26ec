/* SPDX-License-Identifier: MIT */
/* The host's C modules for Lua: one lib_*.c each, here, and in worker/ and
 * driver/ those of one program alone. Each program lists what its states may
 * reach (worker.c, driver.c, instance_monitor.c). The Lua library in lua/fleet
 * wraps them; users do not require host.* themselves. */
#ifndef MF_LIB_H
#define MF_LIB_H

#include <lauxlib.h>
#include <stdint.h>

int luaopen_host_channel(lua_State *L);
int luaopen_host_codec(lua_State *L);
int luaopen_host_digest(lua_State *L);
int luaopen_host_dns(lua_State *L);
int luaopen_host_line_editor(lua_State *L);
int luaopen_host_file(lua_State *L);
int luaopen_host_http(lua_State *L);
int luaopen_host_http_server(lua_State *L);
int luaopen_host_json(lua_State *L);
int luaopen_host_keys(lua_State *L);
int luaopen_host_log(lua_State *L);
int luaopen_host_process(lua_State *L);
int luaopen_host_secret(lua_State *L);
int luaopen_host_stream(lua_State *L);
int luaopen_host_sys(lua_State *L);
int luaopen_host_task(lua_State *L);
int luaopen_host_tls(lua_State *L);
int luaopen_host_xml(lua_State *L);

/* ---- helpers of these files; LJMP ---- */

/* [-0, +0] table[name] = value, for the table on top. */
void lib_set_integer(lua_State *L, const char *name, lua_Integer value);

/* [-0, +1] The bytes as a string. */
struct buf;
void lib_push_bytes(lua_State *L, const struct buf *bytes);

/* [-0, +1] The facts of a certificate, a table of host.keys. Returns 1. */
struct certificate;
int lib_push_certificate(lua_State *L, const struct certificate *facts);

/* [-0, +1] Pushes an array of the strings in the list at `index`, which keeps
 * them alive, with a NULL behind the last one. Raises "`what`: ..." unless
 * these are 1 to `max` strings without NUL bytes. */
const char **lib_push_strings(lua_State *L, int index, int max,
                              const char *what);

/* [-0, +1] Pushes "Name: value", a header of HTTP, for the name at index `name`
 * and the value on top, which stays. Raises "`what`: ..." (vm_misuse) for what
 * is no header, such as a value with a line break, which could begin another
 * one. */
void lib_push_header(lua_State *L, int name, const char *what);

/* Seconds above 0 as milliseconds: rounded up, at most 1e9. [any] */
uint64_t lib_ms(lua_Number s);

/* [-0, +0] The field `name` of the table of options at `index`. Both raise
 * "`what`: `name` must be ..." for the caller of the library (vm_misuse). */

/* Seconds above 0, as milliseconds: rounded up, at most 1e9; default: 0. */
uint64_t lib_ms_option(lua_State *L, int index, const char *name,
                       const char *what);
lua_Integer lib_integer_option(lua_State *L, int index, const char *name,
                               const char *what, lua_Integer min,
                               lua_Integer max, lua_Integer otherwise);

#endif
