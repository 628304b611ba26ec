/* SPDX-License-Identifier: MIT */
/* This unit provides the worker program: the process that runs job code. It
 * finds its node at PROTOCOL_WORKER_FD, keeps one Lua state per session, runs
 * each task as a coroutine and streams results back. It holds no secrets and is
 * killable at any time. */
#ifndef MF_WORKER_H
#define MF_WORKER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct worker_options {
  int index;            /* 1..n, the node's name for this worker */
  int64_t generation;   /* which process of that index this is */
  int parent;           /* process id of the node */
  const char *node;     /* its name */
  int64_t memory;       /* bytes of data this process may have; 0: no limit */
  bool allow_loopback;  /* for jobs' HTTP */
  const char *lua_path; /* or NULL */
};

/* [main] Runs until the node goes away. Returns the exit code; -1 and `e` when
 * it cannot start. */
int worker_run(const struct worker_options *options, struct err *e);

#endif
