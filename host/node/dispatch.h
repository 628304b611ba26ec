/* SPDX-License-Identifier: MIT */
/* Frames from the node to its workers, and the backpressure on drivers when
 * these are not read: while a worker with tasks of a session has more than
 * DISPATCH_MAX_UNREAD bytes unread, the session gets no further credit. [loop]
 */
#ifndef MF_DISPATCH_H
#define MF_DISPATCH_H

#include "node/state.h"

enum { DISPATCH_MAX_UNREAD = 64 * 1024 * 1024 };

/* Starts a frame [name, session, ...] of `count` elements, for workers_end.
 * NULL when the worker is not alive, or soon will not be. */
struct buf *dispatch_begin(struct worker_process *w, const char *name,
                           const struct session *s, size_t count);

/* Sends the frame; a worker that cannot get it is killed. */
void dispatch_end(struct worker_process *w);

/* Whether anything of the session was sent to the worker. */
bool dispatch_knows(const struct session *s, const struct worker_process *w);

/* Gives credit to the session, or withholds it. To be called when something was
 * sent to workers, or they have read it. */
void dispatch_update_credit(struct node *n, struct session *s);

#endif
