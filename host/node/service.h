/* SPDX-License-Identifier: MIT */
/* struct service: the node as a service of systemd. It reports that the node is
 * ready, what it does, that its loop still turns, and that it drains. Without a
 * service manager it does nothing. [loop] */
#ifndef MF_SERVICE_H
#define MF_SERVICE_H

#include "node/state.h"

struct service {
  struct node *node; /* NULL: there is no service manager */
  struct loop_timer timer;
};

/* For a node that is a program of its own, not part of a driver. `n` is
 * borrowed. */
void service_init(struct service *s, struct node *n);
/* The node waits for its keys, or for its instance to be put into service. */
void service_starting(struct service *s);
/* The node listens, and has its workers. */
void service_ready(struct service *s);
/* To be called before and after the node takes up what has changed. */
void service_reloading(struct service *s);
void service_reloaded(struct service *s);
/* Reports what the node does now, rather than a few seconds later. */
void service_report(struct service *s);
/* The node ends now. */
void service_end(struct service *s);

#endif
