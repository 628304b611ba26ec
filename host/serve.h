/* SPDX-License-Identifier: MIT */
/* This unit provides the node program: the process behind `moonfleet serve`.
 * It routes work from drivers to its workers and records back, and runs no job
 * code, ever. Uses rpc, pool, session; its only Lua is the command line that
 * ran before it. */
#ifndef MF_SERVE_H
#define MF_SERVE_H

#include "err.h"

#include <stdbool.h>
#include <stdint.h>

struct serve_options {
  const char *const *listen; /* URLs, NULL-terminated */
  int ipc_mode;              /* see rpc_listen */
  const char *name;
  const char *release;
  const char *lua_path; /* or NULL */
  const char *zone;     /* of the machine; these two are told to drivers, and */
  const char *instance; /* NULL when not known */
  bool keeper;          /* see keeper.h */
  int workers;
  int64_t worker_memory; /* bytes of data each may have; 0: no limit */
  int64_t lease; /* ms that a session lives without a word; 0: the usual */
  int64_t frozen_after; /* ms: see pool_options */
  int ready_fd;         /* told "ready\n" and closed once listening; -1: none */
  int parent; /* private node: process id of its driver; 0: a server */
};

/* [main] Runs until SIGTERM or SIGINT has drained the node (a second one ends
 * it at once). The signals must be blocked already (main does). Returns the
 * exit code; -1 and `e` when it cannot start. */
int serve_run(const struct serve_options *options, struct err *e);

#endif
