/* SPDX-License-Identifier: MIT */
/* struct local_node: the driver's private node. It is a child process of this
 * same program, at the other end of a socket pair, and ends with the driver,
 * even if that is killed. [loop] */
#ifndef MF_LOCAL_NODE_H
#define MF_LOCAL_NODE_H

#include "base/buf.h"
#include "base/err.h"
#include "event/loop.h"

#include <sys/types.h>

struct local_node {
  pid_t pid;   /* 0: none */
  int session; /* our end of the socket pair; -1: taken */
  struct loop *loop;
  struct loop_io log; /* stderr of the node and its workers */
  struct buf lines;   /* the part of that which is not yet logged */
};

struct local_node_options {
  int workers;
  const char *release;
  const char *lua_path;              /* or NULL */
  const char *allow_hosts, *modules; /* see struct vm_host */
};

/* Starts the process. Its log is passed on to our log, so that the two do not
 * disturb each other on a terminal. `n` is all zero. Returns 0, or -1 and `e`.
 */
int local_node_start(struct local_node *n, struct loop *loop,
                     const struct local_node_options *options, struct err *e);

/* Returns the descriptor, which is the caller's from now on; -1 if it was
 * taken.
 */
int local_node_take_session(struct local_node *n);

/* Ends the process (SIGTERM, then SIGKILL) and reaps it. Blocks for the few
 * milliseconds that this takes. Accepts a node that is all zero, has not
 * started, or has been stopped. */
void local_node_stop(struct local_node *n);

#endif
