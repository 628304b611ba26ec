/* SPDX-License-Identifier: MIT */
/* Frames from the node to its workers. [loop] */
#ifndef MF_DISPATCH_H
#define MF_DISPATCH_H

#include "node/state.h"

/* Starts a frame [name, session, ...] of `count` elements, for workers_end.
 * NULL when the worker is not alive, or soon will not be. */
struct buf *dispatch_begin(struct worker_process *w, const char *name,
                           const struct session *s, size_t count);

/* Sends the frame; a worker that cannot get it is killed. */
void dispatch_end(struct worker_process *w);

/* Whether anything of the session was sent to the worker. */
bool dispatch_knows(const struct session *s, const struct worker_process *w);

/* Whether so many bytes are unread before the worker with that index, if there
 * is one, that it gets no further work. */
bool dispatch_is_backlogged(const struct node *n, int64_t index);

#endif
