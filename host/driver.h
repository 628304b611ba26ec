/* SPDX-License-Identifier: MIT */
/* This unit provides the driver program: one Lua state on one loop, in which
 * lua/fleet/main.lua reads the command line and does the rest. */
#ifndef MF_DRIVER_H
#define MF_DRIVER_H

#include "err.h"
#include "loop.h"
#include "serve.h"

#include <lua.h>

/* What the command line asked for. */
struct driver_result {
  int exit_code;
  /* `moonfleet serve`: the driver's state is gone, serve_run is to follow. The
   * strings are owned by this struct. */
  bool serve;
  struct serve_options options;
};

/* [main] Runs the command line. 0, or -1 and `e` when it cannot start. Signals
 * (main blocks them) reach the waiting Lua code, or end the driver. */
int driver_run(int argc, char **argv, struct driver_result *result,
               struct err *e);
void driver_result_free(struct driver_result *result);

#endif
