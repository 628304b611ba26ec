/* SPDX-License-Identifier: MIT */
/* Cancellations. The worker is asked first, which works as long as its loop
 * turns. A "sync" follows the frame; if its answer takes longer than a grace
 * period, and one of the cancelled tasks is on the worker's processor, the
 * worker is killed. Other tasks may take all the time they want. [loop] */
#ifndef MF_CANCEL_H
#define MF_CANCEL_H

#include "node/state.h"

void cancel_init(struct node *n);
void cancel_free(struct node *n);

/* Tasks first..first+count-1 of the job. */
void cancel_tasks(struct node *n, struct session *s, struct worker_process *w,
                  int64_t job, int64_t first, int64_t count);
void cancel_job(struct node *n, struct session *s, int64_t job);
void cancel_session(struct node *n, struct session *s);
/* After any number of the above: has the workers answer when it is done. */
void cancel_sync(struct node *n);

/* The worker has done everything before that sync. */
void cancel_synced(struct worker_process *w, int64_t sync);
/* The worker has died. */
void cancel_forget(struct worker_process *w);

#endif
