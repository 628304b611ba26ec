/* SPDX-License-Identifier: MIT */
/* struct instance_monitor: a Lua state on the node's loop, beside its work,
 * that does what the node needs of its surroundings
 * (lua/fleet/node/monitor.lua): gets the keys of a node that has them in a
 * store; on an EC2 instance reads the termination notices, drains the node in
 * time and tells its Auto Scaling group when it has drained; with --http
 * answers those who watch the node. It runs the library's code alone, never a
 * job's, and only nodes that ask for it have one. [loop] */
#ifndef MF_INSTANCE_MONITOR_H
#define MF_INSTANCE_MONITOR_H

#include "node/node.h"

struct buf;
struct instance_monitor;

/* How long the monitor may still work when the node has drained. */
#define INSTANCE_MONITOR_LIMIT (60 * LOOP_S)

/* What the monitor does to its node besides draining it. */
struct instance_monitor_events {
  /* The node, which did not listen so far, begins to: with these keys, or those
   * of its folder when `keys` is NULL. 0, or -1 and `e`. */
  int (*open)(void *arg, const struct buf *keys, struct err *e);
  /* These are the keys now. */
  void (*take_keys)(void *arg, const struct buf *keys);
  /* Whether those taken last cannot be used. */
  bool (*keys_failed)(void *arg);
  /* The node cannot go on; it ends with this error. */
  void (*fail)(void *arg, const struct err *why);
};

/* NULL and `e` on failure. `n` and `events` are borrowed and outlive the
 * monitor. */
struct instance_monitor *
instance_monitor_new(struct node *n,
                     const struct instance_monitor_events *events, void *arg,
                     struct err *e);
/* Cancels what it waits for. Accepts NULL. */
void instance_monitor_free(struct instance_monitor *k);

/* SIGHUP: it looks at the store of the keys now. */
void instance_monitor_hangup(struct instance_monitor *k);

#endif
