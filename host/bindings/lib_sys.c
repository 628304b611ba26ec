/* SPDX-License-Identifier: MIT */
/* host.sys: what the driver needs to know about the machine.
 *   version, commit, protocol
 *                           constants
 *   libraries()             {{name, version}, ...} of those in use
 *   variables(prefix)       names of environment variables with a prefix
 *   now()                   monotonic seconds
 *   time()                  seconds since 1970, with a fraction
 *   random(n)               n bytes from the kernel
 *   cores()                 processors that this process may use
 *   hostname()
 *   isatty(fd)
 *   width()                 columns of stderr; nil if unknown
 *   fault(point)            the fault to inject at a point of fault.h
 *                           ("break" and so on), or nil
 *   can_filter()            true if workers here get a filter of system calls;
 *                           else nil, err
 *   notify(lines)           tells the service manager (notify.h)
 *   set_log(level)          writes the log from this level on
 *   asset(name)             what the web page sends to browsers (embed.h)
 *   set_lua_path(folder)    reads the Lua library from a folder
 *   allow_hosts(list)       what host.http of this process, and jobs of a
 *                           private node, may connect to beyond public
 *                           addresses: true; nil, err for a malformed list
 *   trust_modules(names)    the modules of this machine that jobs of a private
 *                           node may require, separated by commas */
#include "bindings/lib.h"

#include "base/embed.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/version.h"
#include "lua/vm.h"
#include "net/carrier_nng.h"
#include "net/http.h"
#include "net/http_filter.h"
#include "wire/protocol.h"
#include "wrap/confine.h"
#include "wrap/digest.h"
#include "wrap/xml.h"

#include <jansson.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

LJMP static int l_libraries(lua_State *L)
{
  const char *const list[][2] = {
      {"Lua", &LUA_RELEASE[4]}, /* without "Lua " */
      {"curl", http_library_version()},
      {"nng", carrier_nng_library_version()},
      {"OpenSSL", digest_library_version()},
      {"libxml2", xml_library_version()},
      {"jansson", JANSSON_VERSION},
  };
  const int n = (int)(sizeof(list) / sizeof(*list));
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_createtable(L, 2, 0);
    for (int part = 0; part < 2; part++) {
      lua_pushstring(L, list[i][part]);
      lua_rawseti(L, -2, part + 1);
    }
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

LJMP static int l_asset(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);
  for (const struct embed_file *f = embed_assets; f->module; f++) {
    if (strcmp(f->module, name)) continue;
    lua_pushlstring(L, f->data, f->size);
    return 1;
  }
  return luaL_error(L, "there is no asset '%s'", name);
}

LJMP static int l_variables(lua_State *L)
{
  size_t len;
  lua_Integer n = 0;
  const char *prefix = luaL_checklstring(L, 1, &len);
  lua_newtable(L);
  for (char **word = environ; word && *word; word++) {
    if (strncmp(*word, prefix, len)) continue;
    lua_pushlstring(L, *word, strcspn(*word, "="));
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

LJMP static int l_now(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)loop_clock() / 1e9);
  return 1;
}

LJMP static int l_time(lua_State *L)
{
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9);
  return 1;
}

LJMP static int l_notify(lua_State *L)
{
  notify_send("%s", luaL_checkstring(L, 1));
  return 0;
}

LJMP static int l_random(lua_State *L)
{
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n >= 1 && n <= 256, 1, "from 1 to 256 bytes");
  uint8_t bytes[256];
  if (getrandom(bytes, (size_t)n, 0) != n)
    return luaL_error(L, "the kernel returns no random bytes");
  lua_pushlstring(L, (const char *)bytes, (size_t)n);
  return 1;
}

LJMP static int l_cores(lua_State *L)
{
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);
  lua_pushinteger(L, n > 0 ? n : 1);
  return 1;
}

LJMP static int l_hostname(lua_State *L)
{
  char name[256] = "localhost";
  gethostname(name, sizeof(name) - 1);
  lua_pushstring(L, name);
  return 1;
}

LJMP static int l_isatty(lua_State *L)
{
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

LJMP static int l_width(lua_State *L)
{
  struct winsize size;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col) return 0;
  lua_pushinteger(L, size.ws_col);
  return 1;
}

LJMP static int l_fault(lua_State *L)
{
  lua_pushstring(L, fault_name(fault_point(luaL_checkstring(L, 1)).what));
  return 1;
}

LJMP static int l_set_log(lua_State *L)
{
  enum log_level level;
  luaL_argcheck(L, log_parse_level(luaL_checkstring(L, 1), &level) == 0, 1,
                "unknown level");
  log_init("driver", level);
  return 0;
}

/* LJMP: the string that is the argument, which lives as long as the state: the
 * host borrows it. */
LJMP static const char *lasting_text(lua_State *L, const char *key)
{
  const char *text = luaL_checkstring(L, 1);
  lua_pushvalue(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, key);
  return text;
}

LJMP static int l_set_lua_path(lua_State *L)
{
  vm_of(L)->host->lua_path = lasting_text(L, "host.lua_path");
  return 0;
}

LJMP static int l_allow_hosts(lua_State *L)
{
  struct http_filter filter;
  struct err e;
  if (http_filter_parse(luaL_checkstring(L, 1), &filter, &e) < 0)
    return vm_fail(L, &e);
  vm_of(L)->host->allow_hosts = lasting_text(L, "host.allow_hosts");
  lua_pushboolean(L, 1);
  return 1;
}

LJMP static int l_trust_modules(lua_State *L)
{
  vm_of(L)->host->modules = lasting_text(L, "host.modules");
  return 0;
}

LJMP static int l_can_filter(lua_State *L)
{
  struct err e;
  if (!confine_can_filter(&e)) return vm_fail(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

static const luaL_Reg lib[] = {
    {"asset", l_asset},
    {"libraries", l_libraries},
    {"variables", l_variables},
    {"now", l_now},
    {"time", l_time},
    {"notify", l_notify},
    {"random", l_random},
    {"cores", l_cores},
    {"hostname", l_hostname},
    {"isatty", l_isatty},
    {"width", l_width},
    {"fault", l_fault},
    {"can_filter", l_can_filter},
    {"set_log", l_set_log},
    {"set_lua_path", l_set_lua_path},
    {"allow_hosts", l_allow_hosts},
    {"trust_modules", l_trust_modules},
    {NULL, NULL},
};

int luaopen_host_sys(lua_State *L)
{
  luaL_newlib(L, lib);
  lua_pushliteral(L, MOONFLEET_VERSION);
  lua_setfield(L, -2, "version");
  lua_pushstring(L, moonfleet_commit);
  lua_setfield(L, -2, "commit");
  lua_pushinteger(L, PROTOCOL_VERSION);
  lua_setfield(L, -2, "protocol");
  return 1;
}
