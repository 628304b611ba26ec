/* SPDX-License-Identifier: MIT */
/* The life of a node: start, draining, backpressure, ends of sessions. [loop]
 */
#ifndef MF_NODE_H
#define MF_NODE_H

#include "node/state.h"

int node_init(struct node *n, const struct serve_options *options,
              struct loop *loop, struct err *e);
/* Ends the sessions. Accepts a node that is all zero. */
void node_free(struct node *n);

/* Finishes what runs, refuses the rest, then leaves: the loop is stopped. */
void node_drain(struct node *n);
/* What has not ended in this time is given up: its workers are killed, and the
 * drivers, which learn of it, run it elsewhere. */
void node_drain_within(struct node *n, uint64_t ms);
/* A signal asks the node to end: the first one drains it, the second one has it
 * leave with what runs, and the third stops the loop at once. */
void node_stop(struct node *n);

/* To be called when tasks have ended, and when events were added or fetched. */
void node_check(struct node *n);

/* Whether the session keeps a driver's lease from being renewed: while a driver
 * leaves events that make the node pause its workers, and others use the node
 * as well, only taking them counts. */
bool node_is_in_the_way(const struct node *n, const struct session *s);

/* Cancels what the session has at the workers, and frees it. Its channel stays
 * open, without a session. */
void node_end_session(struct node *n, struct session *s);

#endif
