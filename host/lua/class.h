/* SPDX-License-Identifier: MIT */
/* Types of userdata that the host gives to Lua; the only unit that makes their
 * metatables. Scripts cannot reach such a metatable (`__metatable` is false).
 * Its functions check their arguments all the same, as all others do.
 *
 *   static void digest_release(void *object);
 *   class_add(L, DIGEST, digest_release, methods);      when a module is opened
 *   struct lua_digest *d = class_new(L, DIGEST, sizeof(*d), 0); for each object
 *   struct lua_digest *d = luaL_checkudata(L, 1, DIGEST);      in each method
 */
#ifndef MF_CLASS_H
#define MF_CLASS_H

#include <lauxlib.h>
#include <lua.h>

/* LJMP [-0, +0]: registers the type `name`, a literal. `release`, or NULL, is
 * called by `__gc` and `__close`, possibly several times for one object; it
 * must not raise. `methods`, or NULL, ends with {NULL, NULL}; methods whose
 * names begin with "__" are metamethods. */
void class_add(lua_State *L, const char *name, void (*release)(void *object),
               const luaL_Reg *methods);

/* LJMP [-0, +1]: the same, and a table of `functions`, for a module with one
 * type. Returns 1. */
int class_module(lua_State *L, const char *name, void (*release)(void *object),
                 const luaL_Reg *methods, const luaL_Reg *functions);

/* A method for `methods`: calls `release`, returns nothing. */
int class_release(lua_State *L);

/* LJMP [-0, +1]: an object of a registered type: `size` bytes, all zero, and
 * `user_values`. `release` must accept it before the caller can raise. */
void *class_new(lua_State *L, const char *name, size_t size, int user_values);

/* The userdata in upvalue `n` (from 1) of the running C function. C code put it
 * there; no script can change it. */
void *class_upvalue(lua_State *L, int n);

/* LJMP [-0, +0]: gives the table on top the metatable `name`. */
void class_set(lua_State *L, const char *name);

#endif
