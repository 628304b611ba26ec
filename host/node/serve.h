/* SPDX-License-Identifier: MIT */
/* This unit provides the node program: the process behind `moonfleet serve`.
 * It routes work from drivers to its workers and records back, and runs no job
 * code, ever. Uses rpc, pool, session; its only Lua is the command line that
 * ran before it. */
#ifndef MF_SERVE_H
#define MF_SERVE_H

#include "base/err.h"
#include "node/serve_options.h"

/* [main] Runs until SIGTERM or SIGINT has drained the node (a second one ends
 * it at once). The signals must be blocked already (main does). Returns the
 * exit code; -1 and `e` when it cannot start. */
int serve_run(const struct serve_options *options, struct err *e);

#endif
