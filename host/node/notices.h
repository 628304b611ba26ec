/* SPDX-License-Identifier: MIT */
/* Events of the node itself, queued for drivers. [loop] */
#ifndef MF_NOTICES_H
#define MF_NOTICES_H

#include "node/state.h"

/* A worker came up (`death` is NULL) or died: for every session. Only the
 * session of the task that was on the processor learns of the task. */
void notices_worker(struct node *n, const struct worker_process *w,
                    const struct worker_death *death);
/* A batch for the worker with that index was not started; `w` is the worker, if
 * there is one. The caller flushes the session. */
void notices_refused(struct session *s, const struct not_begun_range *batch,
                     int64_t index, const struct worker_process *w,
                     const char *why);
/* The state of the node has changed: for every session. */
void notices_state(struct node *n);
/* "ready" or "draining". */
const char *notices_state_of(const struct node *n);

#endif
