/* SPDX-License-Identifier: MIT */
/* The node program: the process behind `moonfleet serve`. It routes work from
 * drivers to its workers and events back, and never runs job code. */
#ifndef MF_SERVE_H
#define MF_SERVE_H

#include "base/err.h"
#include "node/serve_options.h"

/* [main] Runs until SIGTERM or SIGINT has drained the node (a second one ends
 * it at once). These signals must be blocked already. Returns the exit code; -1
 * and `e` when the node cannot start. */
int serve_run(const struct serve_options *options, struct err *e);

#endif
