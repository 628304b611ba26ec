/* SPDX-License-Identifier: MIT */
/* This unit provides the driver's private node: a child process of this same
 * program on an ipc address that only this user can reach, gone when the
 * driver goes, however it goes. [loop] */
#ifndef MF_LOCAL_NODE_H
#define MF_LOCAL_NODE_H

#include "base/buf.h"
#include "base/err.h"
#include "event/loop.h"

#include <stdint.h>
#include <sys/types.h>

struct local_node {
  pid_t pid;       /* 0: none */
  int ready_fd;    /* readable when it listens (or has died: then at its end) */
  char folder[64]; /* mode 0700, holds the socket */
  char url[80];
  struct loop *loop;
  struct loop_io log; /* what it and its workers write to stderr */
  struct buf lines;   /* of that, what is not yet passed on */
};

struct local_node_options {
  int workers;
  const char *release;
  const char *lua_path; /* or NULL */
};

/* Starts the process; it is ready when ready_fd says so. What it logs is
 * passed on to our log, so that both meet nowhere on a terminal. `n` all-zero.
 * 0 or -1. */
int local_node_start(struct local_node *n, struct loop *loop,
                     const struct local_node_options *options, struct err *e);

/* Ends it (SIGTERM, then SIGKILL), reaps it, removes the folder. Idempotent;
 * waits a few milliseconds for the process. */
void local_node_stop(struct local_node *n);

#endif
