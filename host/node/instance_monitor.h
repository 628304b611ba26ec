/* SPDX-License-Identifier: MIT */
/* struct instance_monitor: a Lua state on the node's loop, beside its work,
 * that monitors the machine (lua/fleet/node/monitor.lua): on an EC2 instance it
 * reads the termination notices and drains the node in time; with --http it
 * answers those who watch the node. It runs the library's code alone, never a
 * job's, and only nodes that ask for it have one.
 * [loop] */
#ifndef MF_INSTANCE_MONITOR_H
#define MF_INSTANCE_MONITOR_H

#include "node/node.h"

struct instance_monitor;

/* NULL and `e` on failure. `n` is borrowed and outlives the monitor. */
struct instance_monitor *instance_monitor_new(struct node *n, struct err *e);
/* Cancels what it waits for. Accepts NULL. */
void instance_monitor_free(struct instance_monitor *k);

#endif
