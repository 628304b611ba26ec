/* SPDX-License-Identifier: MIT */
#include "lua/vm.h"

#include "base/embed.h"
#include "base/log.h"
#include "lua/class.h"

#include <lualib.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* The part of its cap that a state has as a reserve, see vm->allocated. */
enum { RESERVE_PART = 8 };

#define ERROR "fleet.error"

/* Whether the cap forbids `more` bytes. */
static bool is_refused(const struct vm *vm, size_t more)
{
  size_t reserve = vm->cap / RESERVE_PART;
  if (vm->used + more <= vm->cap) return false;
  return vm->allocated + more > reserve || vm->used + more > vm->cap + reserve;
}

static void *allocate(void *ud, void *ptr, size_t osize, size_t nsize)
{
  struct vm *vm = ud;
  if (!ptr) osize = 0; /* it is a type tag then, not a size */
  if (nsize == 0) {
    free(ptr);
    vm->used -= osize;
    return NULL;
  }
  /* shrinking must never fail */
  if (vm->cap && nsize > osize && is_refused(vm, nsize - osize)) return NULL;
  /* The allocator of lua_newstate is the other place, beside buf.c, that has
   * to resize. */
  void *p = realloc(ptr, nsize);
  if (p) vm->used = vm->used - osize + nsize;
  if (p && nsize > osize) vm->allocated += nsize - osize;
  return p ? p : (nsize <= osize ? ptr : NULL);
}

/* Every entry is protected, so this is a bug in the host: logs it and lets Lua
 * abort(). */
static int on_panic(lua_State *L)
{
  const char *text = lua_tostring(L, -1);
  log_error("unprotected Lua error", LOG_STR("error", text ? text : "?"));
  return 0;
}

/* ---- require ---- */

static const struct embed_file *find_embedded(const char *module)
{
  for (const struct embed_file *f = embed_files; f->module; f++)
    if (!strcmp(f->module, module)) return f;
  return NULL;
}

/* The package.searchers entry for the Lua library: the folder of --lua-path, if
 * any, else the binary. */
LJMP static int l_search_library(lua_State *L)
{
  struct vm *vm = vm_of(L);
  const char *name = luaL_checkstring(L, 1);
  const struct embed_file *f = find_embedded(name);
  const char *folder = vm->host->lua_path;
  if (folder) {
    const char *path = luaL_gsub(L, name, ".", "/");
    const char *file = lua_pushfstring(L, "%s/%s.lua", folder, path);
    if (f) file = lua_pushfstring(L, "%s/%s", folder, f->path + 4);
    int rc = luaL_loadfilex(L, file, "t");
    if (rc == LUA_OK) {
      lua_pushstring(L, file);
      return 2;
    }
    if (rc != LUA_ERRFILE) return lua_error(L);
    if (!f) return 1;
  }
  if (!f) {
    lua_pushfstring(L, "no module '%s' in the library", name);
    return 1;
  }
  lua_pushfstring(L, "@%s", f->path);
  if (luaL_loadbufferx(L, f->data, f->size, lua_tostring(L, -1), "t") != LUA_OK)
    return lua_error(L);
  lua_pushstring(L, f->path);
  return 2;
}

LJMP static void set_path(lua_State *L, const char *field, const char *path)
{
  if (!path) return;
  lua_pushstring(L, path);
  lua_setfield(L, -2, field);
}

LJMP static void open_require(lua_State *L, bool search_path)
{
  lua_getglobal(L, "package");
  set_path(L, "path", vm_of(L)->host->path);
  set_path(L, "cpath", vm_of(L)->host->cpath);
  lua_getfield(L, -1, "searchers"); /* package searchers */
  if (!search_path) {               /* keep preload (1) only */
    for (lua_Integer i = luaL_len(L, -1); i > 1; i--) {
      lua_pushnil(L);
      lua_rawseti(L, -2, i);
    }
  }
  for (lua_Integer i = luaL_len(L, -1); i > 1; i--) {
    lua_rawgeti(L, -1, i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushcfunction(L, l_search_library);
  lua_rawseti(L, -2, 2); /* the library before package.path */
  lua_pop(L, 2);
}

LJMP void vm_push_library(lua_State *L, const char *module, const char *name)
{
  luaL_checkstack(L, 3, "require");
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  lua_call(L, 1, 1);
  lua_getfield(L, -1, name);
  lua_replace(L, -2);
}

/* ---- the library and its callers ---- */

/* How the names of the library's chunks begin. */
#define LIBRARY "lua/fleet/"

/* What follows `prefix` in the text, or NULL. */
static const char *skip(const char *text, const char *prefix)
{
  size_t len = strlen(prefix);
  return strncmp(text, prefix, len) ? NULL : text + len;
}

/* The chunk names are those of l_search_library. */
bool vm_in_library(lua_State *L, lua_Debug *ar)
{
  const char *folder = vm_of(L)->host->lua_path;
  if (!lua_getinfo(L, "S", ar)) return false;
  if (skip(ar->source, "@" LIBRARY)) return true;
  const char *file = folder ? skip(ar->source, "@") : NULL;
  file = file ? skip(file, folder) : NULL;
  return file && skip(file, "/fleet/");
}

LJMP void vm_where(lua_State *L)
{
  lua_Debug ar;
  for (int level = 1; lua_getstack(L, level, &ar); level++) {
    if (!lua_getinfo(L, "l", &ar) || ar.currentline <= 0) continue; /* of C */
    if (vm_in_library(L, &ar)) continue;
    lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
    return;
  }
  lua_pushliteral(L, "");
}

LJMP void vm_traceback(lua_State *L, lua_State *co)
{
  static const char tail[] = "\t(...tail calls...)";
  luaL_traceback(L, co, NULL, 0);
  if (lua_gettop(co) > 0 && lua_type(co, -1) == LUA_TSTRING &&
      skip(lua_tostring(co, -1), LIBRARY))
    return;
  const char *line = lua_tostring(L, -1);
  bool left_out = false;
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  while (*line) {
    size_t len = strcspn(line, "\n");
    left_out = skip(line, "\t" LIBRARY) || (left_out && skip(line, tail));
    if (!left_out) {
      if (luaL_bufflen(&b) > 0) luaL_addchar(&b, '\n');
      luaL_addlstring(&b, line, len);
    }
    line += len + (line[len] == '\n');
  }
  luaL_pushresult(&b);
  lua_remove(L, -2);
}

LJMP int vm_misuse(lua_State *L, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  vm_where(L);
  lua_pushvfstring(L, format, args);
  va_end(args);
  lua_concat(L, 2);
  return lua_error(L);
}

/* ---- creation and release ---- */

/* The module host.error of every state: {metatable=}, the one of errors. Only
 * fleet.errors can require it. */
LJMP static int l_open_error(lua_State *L)
{
  lua_createtable(L, 0, 1);
  luaL_getmetatable(L, ERROR);
  lua_setfield(L, -2, "metatable");
  return 1;
}

LJMP static int l_open(lua_State *L)
{
  const struct vm_options *options = vm_arg(L);
  luaL_openlibs(L);
  open_require(L, options->search_path);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  class_add(L, ERROR, NULL, NULL);
  lua_pushcfunction(L, l_open_error);
  lua_setfield(L, -2, "host.error");
  for (const luaL_Reg *m = options->modules; m && m->name; m++) {
    lua_pushcfunction(L, m->func);
    lua_setfield(L, -2, m->name);
  }
  return 0;
}

struct vm *vm_new(const struct vm_options *options, struct err *e)
{
  struct vm *vm = calloc(1, sizeof(*vm));
  if (!vm) goto memory;
  vm->host = options->host;
  vm->user = options->user;
  vm->cap = options->memory_cap;
  vm->L = lua_compat_newstate(allocate, vm);
  if (!vm->L) goto memory;
  lua_atpanic(vm->L, on_panic);
  /* Lua copies the main thread's extra space into every coroutine */
  memcpy(lua_getextraspace(vm->L), &vm, sizeof(vm));
  /* a light C function and light userdata: nothing here allocates unprotected
   * (the options are only read) */
  struct vm_options copy = *options;
  if (vm_pcall(vm, l_open, &copy, e) < 0) goto fail;
  return vm;
memory:
  err_set(e, "memory", "out of memory for a Lua state");
fail:
  vm_free(vm);
  return NULL;
}

void vm_free(struct vm *vm)
{
  if (!vm) return;
  if (vm->L) lua_close(vm->L);
  free(vm);
}

/* The lowest bit of the pointer in the extra space is the lock. */
static uintptr_t extra_bits(lua_State *L)
{
  uintptr_t bits;
  memcpy(&bits, lua_getextraspace(L), sizeof(bits));
  return bits;
}

struct vm *vm_of(lua_State *L)
{
  return (struct vm *)(extra_bits(L) & ~(uintptr_t)1);
}

void vm_lock_coroutine(lua_State *L, bool locked)
{
  uintptr_t bits = (uintptr_t)vm_of(L) | locked;
  memcpy(lua_getextraspace(L), &bits, sizeof(bits));
}

bool vm_is_locked(lua_State *L)
{
  return extra_bits(L) & 1;
}

LJMP static int l_collect(lua_State *L)
{
  lua_gc(L, LUA_GCCOLLECT);
  return 0;
}

void vm_collect(struct vm *vm)
{
  struct err ignored;
  vm_pcall(vm, l_collect, NULL, &ignored);
  malloc_trim(0);
}

/* ---- protected calls and errors ---- */

LJMP static int l_traceback(lua_State *L)
{
  const char *text = lua_tostring(L, 1);
  if (text) luaL_traceback(L, L, text, 1);
  return 1; /* an error table is left as it is */
}

void *vm_arg(lua_State *L)
{
  return lua_touserdata(L, 1);
}

int vm_pcall(struct vm *vm, lua_CFunction f, void *arg, struct err *e)
{
  lua_State *L = vm->L;
  if (!lua_checkstack(L, 8)) return err_set(e, "memory", "Lua stack is full");
  int top = lua_gettop(L);
  lua_pushcfunction(L, l_traceback);
  lua_pushcfunction(L, f);
  lua_pushlightuserdata(L, arg);
  int rc = lua_pcall(L, 1, 0, top + 1);
  if (rc != LUA_OK) {
    const char *text =
        lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    err_set(e, rc == LUA_ERRMEM ? "memory" : "raise", "%s",
            text ? text : "(error object is not a string)");
  }
  lua_settop(L, top);
  return rc == LUA_OK ? 0 : -1;
}

/* The field `message` of the table on top. Must not raise, as the call is not
 * protected. */
static const char *message_of(lua_State *L)
{
  const char *text = NULL;
  if (!lua_checkstack(L, 2)) return NULL;
  for (lua_pushnil(L); !text && lua_next(L, -2); lua_pop(L, 1))
    if (lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING &&
        !strcmp(lua_tostring(L, -2), "message"))
      text = lua_tostring(L, -1); /* the table keeps it */
  if (text) lua_pop(L, 1);
  return text;
}

void vm_log_error(lua_State *L, const char *message)
{
  const char *text = NULL, *trace = NULL;
  if (lua_type(L, -2) == LUA_TSTRING) trace = lua_tostring(L, -2);
  if (lua_type(L, -1) == LUA_TSTRING) text = lua_tostring(L, -1);
  if (lua_type(L, -1) == LUA_TTABLE) text = message_of(L);
  if (!text) text = luaL_typename(L, -1);
  log_limited(vm_of(L)->host->log_limit, LOG_ERROR, message,
              LOG_FIELDS(LOG_STR("error", text), LOG_STR("trace", trace)));
}

LJMP void vm_push_error(lua_State *L, const struct err *e)
{
  luaL_checkstack(L, 4, "error");
  lua_createtable(L, 0, 2);
  class_set(L, ERROR);
  lua_pushstring(L, e->kind);
  lua_setfield(L, -2, "kind");
  lua_pushstring(L, e->text);
  lua_setfield(L, -2, "message");
}

LJMP int vm_fail(lua_State *L, const struct err *e)
{
  lua_pushnil(L);
  vm_push_error(L, e);
  return 2;
}
