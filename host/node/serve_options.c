/* SPDX-License-Identifier: MIT */
#include "node/serve_options.h"

#include "lua/vm.h"

#include <stdlib.h>
#include <string.h>

enum kind { TEXT, INT, INT64, BOOL };

/* An integer that is nil becomes `otherwise`. */
static const struct field {
  const char *key;
  enum kind kind;
  size_t offset;
  int otherwise;
} fields[] = {
#define FIELD(name, kind, otherwise)                                           \
  {                                                                            \
#name, kind, offsetof(struct serve_options, name), otherwise               \
  }
    FIELD(name, TEXT, 0),
    FIELD(release, TEXT, 0),
    FIELD(lua_path, TEXT, 0),
    FIELD(zone, TEXT, 0),
    FIELD(instance, TEXT, 0),
    FIELD(http_host, TEXT, 0),
    FIELD(http_port, INT, 0),
    FIELD(audit, TEXT, 0),
    FIELD(tls, TEXT, 0),
    FIELD(tls_stored, BOOL, 0),
    FIELD(tls_interval, INT64, 0),
    FIELD(standby, BOOL, 0),
    FIELD(lifecycle_hook, TEXT, 0),
    FIELD(region, TEXT, 0),
    FIELD(profile, TEXT, 0),
    FIELD(insecure, BOOL, 0),
    FIELD(monitor_instance, BOOL, 0),
    FIELD(workers, INT, 1),
    FIELD(worker_memory, INT64, 0),
    FIELD(lease, INT64, 0),
    FIELD(lease_exit, INT64, 0),
    FIELD(drain_timeout, INT64, 0),
    FIELD(worker_cgroup, TEXT, 0),
    FIELD(frozen_after, INT64, 0),
    FIELD(in_fd, INT, -1),
    FIELD(out_fd, INT, -1),
    FIELD(ipc_mode, INT, 0600),
    FIELD(allow_hosts, TEXT, 0),
    FIELD(modules, TEXT, 0),
    FIELD(path, TEXT, 0),
    FIELD(cpath, TEXT, 0),
};
enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

/* Raises when memory is out. */
LJMP static char *copy_text(lua_State *L, int idx)
{
  const char *text = lua_tostring(L, idx);
  char *copy = text ? strdup(text) : NULL;
  if (text && !copy) luaL_error(L, "not enough memory");
  return copy;
}

/* Reads a field of the table on top. */
LJMP static void read_field(lua_State *L, const struct field *f, void *options)
{
  void *to = (char *)options + f->offset;
  lua_getfield(L, -1, f->key);
  switch (f->kind) {
  case TEXT: *(char **)to = copy_text(L, -1); break;
  case INT: *(int *)to = (int)luaL_optinteger(L, -1, f->otherwise); break;
  case INT64: *(int64_t *)to = luaL_optinteger(L, -1, f->otherwise); break;
  case BOOL: *(bool *)to = lua_toboolean(L, -1); break;
  }
  lua_pop(L, 1);
}

/* NULL at the end; what has been copied counts even when memory runs out. */
LJMP static void copy_list(lua_State *L, const char *key,
                           const char *const **to)
{
  lua_getfield(L, -1, key);
  size_t n = (size_t)luaL_len(L, -1);
  const char **list = calloc(n + 1, sizeof(*list));
  if (!list) luaL_error(L, "not enough memory");
  *to = list;
  for (size_t i = 0; list && i < n; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    list[i] = copy_text(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

LJMP void serve_options_read(lua_State *L, struct serve_options *o)
{
  luaL_checktype(L, -1, LUA_TTABLE);
  luaL_checkstack(L, 8, "options");
  for (int i = 0; i < FIELDS; i++) read_field(L, &fields[i], o);
  copy_list(L, "listen", &o->listen);
}

void serve_options_free(struct serve_options *o)
{
  for (size_t i = 0; o->listen && o->listen[i]; i++)
    free((void *)(uintptr_t)o->listen[i]);
  free((void *)(uintptr_t)o->listen);
  for (int i = 0; i < FIELDS; i++)
    if (fields[i].kind == TEXT) free(*(char **)((char *)o + fields[i].offset));
}
