/* SPDX-License-Identifier: MIT */
/* struct job_session: a session inside a worker. It has one Lua state, which
 * all its jobs share, the blobs that they are made of, and the upcalls of their
 * tasks. [loop] */
#ifndef MF_JOB_SESSION_H
#define MF_JOB_SESSION_H

#include "wire/blob_store.h"
#include "worker/job.h"
#include "worker/upcall.h"

/* Makes a session without jobs. `host` is borrowed. NULL and `e` on failure. */
struct job_session *job_session_new(const struct job_host *host, int64_t number,
                                    struct err *e);
/* Cancels all tasks and reports nothing of them. The caller has taken the
 * session off its list. */
void job_session_free(struct job_session *s);

/* The job with that number, or NULL. */
struct job *job_session_find(const struct job_session *s, int64_t number);

/* Adds a batch to job `number`, which the first batch makes from the blob
 * `key`. Returns 0, or -1 when memory is out. */
int job_session_add(struct job_session *s, int64_t number, const uint8_t *key,
                    size_t key_len, const struct job_batch *batch);

/* Ends a loop iteration: starts tasks if the channel has `room` for their
 * results, and sends reports and upcalls. Returns whether another iteration is
 * due at once, as a task was started or there is more to send. */
bool job_session_run(struct job_session *s, bool room);

#endif
