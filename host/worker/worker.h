/* SPDX-License-Identifier: MIT */
/* This unit provides the worker program: the process that runs job code. It
 * finds its node at PROTOCOL_WORKER_FD, keeps one Lua state per session, runs
 * each task as a coroutine and streams results back. It holds no secrets and is
 * killable at any time. */
#ifndef MF_WORKER_H
#define MF_WORKER_H

#include "base/err.h"

/* [main] Runs until the node goes away. Returns the exit code; -1 and `e` when
 * it cannot start. */
int worker_run(struct err *e);

#endif
