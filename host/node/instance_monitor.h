/* SPDX-License-Identifier: MIT */
/* This unit provides the node's keeper: a Lua state on the node's loop, beside
 * its work, that looks after the machine the node is on
 * (lua/fleet/node/monitor.lua): on an EC2 instance it reads the notices of its
 * end, and drains the node in time. It runs the library's code alone, never a
 * job's, and only nodes that ask for it have one. [loop] */
#ifndef MF_KEEPER_H
#define MF_KEEPER_H

#include "node/node.h"

struct keeper;

/* Starts it; NULL and `e` on failure. `n` is borrowed and outlives it. */
struct keeper *keeper_new(struct node *n, struct err *e);
/* Ends what it is waiting for. Accepts NULL. */
void keeper_free(struct keeper *k);

#endif
