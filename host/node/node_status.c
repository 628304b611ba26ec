/* SPDX-License-Identifier: MIT */
#include "node/node_status.h"

#include "base/version.h"
#include "bindings/lib.h"
#include "lua/vm.h"
#include "node/notices.h"

#include <unistd.h>

LJMP static void set_text(lua_State *L, const char *name, const char *text)
{
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

LJMP static void set_number(lua_State *L, const char *name, lua_Number n)
{
  lua_pushnumber(L, n);
  lua_setfield(L, -2, name);
}

/* [-0, +0]: a table of counts by name. */
LJMP static void set_counts(lua_State *L, const char *name,
                            const char *const *names, const uint64_t *counts,
                            int n)
{
  lua_createtable(L, 0, n);
  for (int i = 0; i < n; i++)
    lib_set_integer(L, names[i], (lua_Integer)counts[i]);
  lua_setfield(L, -2, name);
}

/* [-0, +0]: the histogram at `values`, whose bounds are in the list on top,
 * which this pops. */
LJMP static void set_histogram(lua_State *L, const char *name,
                               const uint64_t *values, int bounds, double unit)
{
  lua_createtable(L, 0, 3);
  lua_insert(L, -2);
  lua_setfield(L, -2, "bounds");
  lua_createtable(L, bounds + 1, 0);
  for (int i = 0; i <= bounds; i++) {
    lua_pushinteger(L, (lua_Integer)values[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "counts");
  set_number(L, "sum", (double)values[bounds + 1] / unit);
  lua_setfield(L, -2, name);
}

LJMP static void push_seconds(lua_State *L)
{
  lua_createtable(L, METERS_SECONDS, 0);
  for (int i = 0; i < METERS_SECONDS; i++) {
    lua_pushnumber(L, meters_seconds[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

LJMP static void push_bytes(lua_State *L)
{
  lua_createtable(L, METERS_BYTES, 0);
  for (int i = 0; i < METERS_BYTES; i++) {
    lua_pushinteger(L, (lua_Integer)meters_bytes[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

LJMP static void set_workers(lua_State *L, const struct node *n)
{
  static const char *const causes[] = {"timeout", "cancelled", "frozen",
                                       "memory", "crash"};
  static const char *const outcomes[] = {"ok", "failed", "cancelled"};
  uint64_t totals[METERS] = {0}, deaths[WORKERS_CAUSES] = {0};
  lua_Integer alive = 0, running = 0, outstanding = 0;
  if (n->workers) workers_count(n->workers, totals, deaths);
  WORKERS_FOREACH (w, n->workers) {
    alive += w->alive;
    running += w->running;
    outstanding += w->outstanding;
  }
  lib_set_integer(L, "alive", alive);
  lib_set_integer(L, "running", running);
  lib_set_integer(L, "outstanding", outstanding);
  set_counts(L, "deaths", causes, deaths, WORKERS_CAUSES);
  set_counts(L, "tasks", outcomes, totals + METER_TASKS_OK, 3);
  set_number(L, "cpu", (double)totals[METER_CPU] / 1e9);
  set_counts(L, "fetches", outcomes, totals + METER_FETCHES_OK, 2);
  push_seconds(L);
  set_histogram(L, "task_seconds", totals + METER_TASK_TIME, METERS_SECONDS,
                1e9);
  push_seconds(L);
  set_histogram(L, "fetch_seconds", totals + METER_FETCH_TIME, METERS_SECONDS,
                1e9);
  push_bytes(L);
  set_histogram(L, "fetch_bytes", totals + METER_FETCH_BYTES, METERS_BYTES, 1);
}

LJMP void node_status_push(lua_State *L, const struct node *n)
{
  lua_Integer bytes = 0;
  char host[256] = "localhost";
  gethostname(host, sizeof(host) - 1);
  lua_createtable(L, 0, 20);
  set_text(L, "version", MOONFLEET_VERSION);
  set_text(L, "hostname", host);
  for (const struct session *s = n->sessions.first; s; s = s->next)
    bytes += (lua_Integer)resumable_bytes(&s->messages);
  set_text(L, "name", n->options->name);
  set_text(L, "release", n->options->release);
  set_text(L, "state", n->workers ? notices_state_of(n) : "starting");
  set_number(L, "uptime", (double)(loop_clock() - n->began) / 1e9);
  lib_set_integer(L, "workers", n->options->workers);
  lib_set_integer(L, "sessions", n->sessions.count);
  lib_set_integer(L, "unacknowledged", bytes);
  set_workers(L, n);
}
