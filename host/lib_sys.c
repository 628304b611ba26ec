/* SPDX-License-Identifier: MIT */
/* host.sys: what the driver needs of the machine.
 *   version, protocol       constants
 *   libraries()             {{name, version}, ...} of those in use
 *   variables(prefix)       names of the environment's variables that begin so
 *   now()                   monotonic seconds
 *   random(n)               n bytes from the kernel
 *   cores()                 processors this process may use
 *   hostname()
 *   isatty(fd), width()     of stderr; width is nil when unknown
 *   fault(point)            a point of fault.h: what is to happen there, "drop"
 *                           and so on, or nil
 *   can_filter()            true when workers here get a filter of system
 * calls; else nil, err wait_signal()           "INT" or "TERM", when one
 * arrives (waits). From the first call on, signals have no other effect.
 *   local_node{workers=, release=}   starts a private node (waits until it
 *                           listens): an object with url, pid() and stop(), or
 *                           nil, err */
#include "lib.h"

#include "class.h"
#include "confine.h"
#include "digest.h"
#include "fault.h"
#include "http.h"
#include "local_node.h"
#include "log.h"
#include "protocol.h"
#include "rpc.h"
#include "signals.h"
#include "stream.h"
#include "task.h"
#include "xml.h"

#include <errno.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

extern char **environ;

#define LOCAL_NODE "host.sys.local_node"

LJMP static int l_libraries(lua_State *L)
{
  const char *const list[][2] = {
      {"Lua", &LUA_RELEASE[4]}, /* without "Lua " */
      {"curl", http_library_version()},
      {"nng", rpc_library_version()},
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

LJMP static int l_random(lua_State *L)
{
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n >= 1 && n <= 256, 1, "from 1 to 256 bytes");
  uint8_t bytes[256];
  if (getrandom(bytes, (size_t)n, 0) != n)
    return luaL_error(L, "the kernel gives no random bytes");
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

/* ---- signals ---- */

struct signal_wait {
  struct task_wait wait;
  struct signals *signals;
};

static void on_signal_cancel(struct task_wait *w)
{
  ((struct signal_wait *)w)->signals->waiting = NULL;
}

LJMP static int k_signal(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct signals *s = (struct signals *)ctx;
  lua_pushstring(L, s->pending == SIGINT ? "INT" : "TERM");
  s->pending = 0;
  return 1;
}

LJMP static int l_wait_signal(lua_State *L)
{
  struct signals *s = vm_user(vm_of(L));
  task_check_can_wait(L, "sys.wait_signal");
  if (s->waiting) return luaL_error(L, "another task waits for signals");
  s->handled = true;
  if (s->pending) return k_signal(L, LUA_OK, (lua_KContext)s);
  struct signal_wait *w = lua_newuserdatauv(L, sizeof(*w), 0);
  memset(w, 0, sizeof(*w));
  w->wait.cancel = on_signal_cancel;
  w->signals = s;
  s->waiting = &w->wait;
  return task_await(L, &w->wait, (lua_KContext)s, k_signal);
}

/* ---- the private node ---- */

struct node_box {
  struct stream ready;
  struct task_wait wait;
  struct local_node node;
};

static void on_ready(struct stream *s)
{
  task_wake(&((struct node_box *)s)->wait);
}

static void node_close(struct node_box *b)
{
  stream_close(&b->ready);
  local_node_stop(&b->node);
}

static void on_node_cancel(struct task_wait *w)
{
  node_close((struct node_box *)((char *)w - offsetof(struct node_box, wait)));
}

LJMP static int k_local_node(lua_State *L, int status, lua_KContext ctx)
{
  (void)status;
  struct node_box *b = (struct node_box *)ctx;
  struct err e;
  char word[16];
  if (stream_read(&b->ready, word, sizeof(word)) > 0) return 1;
  node_close(b);
  err_set(&e, "connect", "the local node did not start; its log is above");
  return vm_fail(L, &e);
}

LJMP static int l_local_node(lua_State *L)
{
  struct vm_host *host = vm_host(vm_of(L));
  struct local_node_options options = {.lua_path = host->lua_path};
  struct err e;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "workers");
  options.workers = (int)luaL_checkinteger(L, -1);
  lua_getfield(L, 1, "release");
  options.release = luaL_checkstring(L, -1);
  task_check_can_wait(L, "sys.local_node");
  struct node_box *b = class_new(L, LOCAL_NODE, sizeof(*b), 1);
  stream_init(&b->ready, host->loop, -1, false);
  b->ready.on_ready = on_ready;
  b->wait.cancel = on_node_cancel;
  if (local_node_start(&b->node, host->loop, &options, &e) < 0)
    return vm_fail(L, &e);
  b->ready.io.fd = b->node.ready_fd;
  if (stream_wait(&b->ready, false, &e) < 0) {
    node_close(b);
    return vm_fail(L, &e);
  }
  return task_await(L, &b->wait, (lua_KContext)b, k_local_node);
}

LJMP static int l_node_stop(lua_State *L)
{
  node_close(luaL_checkudata(L, 1, LOCAL_NODE));
  return 0;
}

LJMP static int l_node_url(lua_State *L)
{
  struct node_box *b = luaL_checkudata(L, 1, LOCAL_NODE);
  lua_pushstring(L, b->node.url);
  return 1;
}

LJMP static int l_node_pid(lua_State *L)
{
  struct node_box *b = luaL_checkudata(L, 1, LOCAL_NODE);
  lua_pushinteger(L, b->node.pid);
  return 1;
}

static const luaL_Reg node_methods[] = {
    {"url", l_node_url},
    {"pid", l_node_pid},
    {"stop", l_node_stop},
    {NULL, NULL},
};

LJMP static int l_set_log(lua_State *L)
{
  enum log_level level;
  luaL_argcheck(L, log_parse_level(luaL_checkstring(L, 1), &level) == 0, 1,
                "unknown level");
  log_init("driver", level);
  return 0;
}

LJMP static int l_set_lua_path(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  vm_host(vm_of(L))->lua_path = path;
  lua_pushvalue(L, 1); /* the host borrows it as long as the state lives */
  lua_setfield(L, LUA_REGISTRYINDEX, "host.lua_path");
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
    {"libraries", l_libraries},
    {"variables", l_variables},
    {"now", l_now},
    {"random", l_random},
    {"cores", l_cores},
    {"hostname", l_hostname},
    {"isatty", l_isatty},
    {"width", l_width},
    {"fault", l_fault},
    {"can_filter", l_can_filter},
    {"wait_signal", l_wait_signal},
    {"local_node", l_local_node},
    {"set_log", l_set_log},
    {"set_lua_path", l_set_lua_path},
    {NULL, NULL},
};

int luaopen_host_sys(lua_State *L)
{
  class_add(L, LOCAL_NODE, l_node_stop, node_methods);
  luaL_newlib(L, lib);
  lua_pushliteral(L, MOONFLEET_VERSION);
  lua_setfield(L, -2, "version");
  lua_pushinteger(L, PROTOCOL_VERSION);
  lua_setfield(L, -2, "protocol");
  return 1;
}
