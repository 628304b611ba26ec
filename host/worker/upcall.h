/* SPDX-License-Identifier: MIT */
/* Upcalls: requests that tasks make to the driver of their session, bytes with
 * bytes as the reply. [loop] */
#ifndef MF_UPCALL_H
#define MF_UPCALL_H

#include "lua/task.h"
#include "worker/job.h"

/* One upcall. It lives in the userdata of the binding. */
struct upcall {
  struct task_wait wait;
  struct job_session *session; /* while it waits for its reply; else NULL */
  LIST_ENTRY(upcall) link;
  int64_t number;
  struct buf reply;
};

/* Queues the request. `u` is all zero. Returns 0, or -1 and `e`. */
int upcall_begin(struct job_session *s, struct upcall *u, const void *request,
                 size_t len, struct err *e);
/* Drops the reply, also one that is yet to come. Idempotent. */
void upcall_end(struct upcall *u);

/* Stores the reply and wakes the task; does nothing when that has ended.
 * Returns 0, or -1 when memory is out. */
int upcall_reply(struct job_session *s, int64_t number, const uint8_t *reply,
                 size_t len);

/* Sends the queued requests. */
void upcall_send(struct job_session *s);

#endif
