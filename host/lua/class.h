/* SPDX-License-Identifier: MIT */
/* This unit provides the types of userdata that Lua gets from the host, the one
 * place where their metatables are made. No script can reach such a metatable
 * (`__metatable` is false), so nothing in it changes; still its functions check
 * what they are called with, as all others do.
 *
 *   static int l_release(lua_State *L)
 *   {
 *     struct box *b = luaL_checkudata(L, 1, BOX);
 *     ...
 *   }
 *   class_add(L, BOX, l_release, methods);           when the module is opened
 *   struct box *b = class_new(L, BOX, sizeof(*b), 0); for each object */
#ifndef MF_CLASS_H
#define MF_CLASS_H

#include <lauxlib.h>
#include <lua.h>

/* LJMP [-0, +0]: registers the type `name`. `release`, or NULL, becomes `__gc`
 * and `__close`: it takes its argument by luaL_checkudata, and may be called
 * any number of times. `methods`, or NULL, ends with {NULL, NULL}; those whose
 * names begin with "__" are metamethods. */
void class_add(lua_State *L, const char *name, lua_CFunction release,
               const luaL_Reg *methods);

/* LJMP [-0, +1]: an object of a type that class_add has registered: `size`
 * bytes, all zero, and `user_values`. The caller makes it one that `release`
 * accepts before anything can raise. */
void *class_new(lua_State *L, const char *name, size_t size, int user_values);

/* The userdata that is the function's upvalue `n`, from 1: the C code put it
 * there, no script can change it. */
void *class_upvalue(lua_State *L, int n);

/* LJMP [-0, +0]: gives the table on top the metatable `name`, of the registry.
 */
void class_set(lua_State *L, const char *name);

#endif
