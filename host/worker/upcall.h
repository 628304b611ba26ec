/* SPDX-License-Identifier: MIT */
/* Upcalls: requests that tasks of a session make to their driver:
 * bytes there and, later, bytes back. [loop] */
#ifndef MF_UPCALL_H
#define MF_UPCALL_H

#include "base/buf.h"
#include "lua/task.h"
#include "worker/outcome.h"

#include <stdint.h>

struct upcall_list {
  const struct record_worker *from;
  struct upcall *first;
  int64_t last_number;
  struct buf records; /* to be sent, then cleared, by the owner */
};

/* One upcall; lives in the userdata of the binding. */
struct upcall {
  struct task_wait wait;
  struct upcall_list *list; /* while it waits for its reply; else NULL */
  struct upcall *prev, *next;
  int64_t number;
  struct buf reply;
};

void upcall_list_init(struct upcall_list *list,
                      const struct record_worker *from);
/* All upcalls must have ended. */
void upcall_list_free(struct upcall_list *list);

/* Adds the upcall and its record. `a` is all zero. 0, or -1 and `e`. */
int upcall_begin(struct upcall_list *list, struct upcall *a,
                 const void *request, size_t len, struct err *e);
/* Whatever comes of it is not wanted any more; frees the reply. Idempotent. */
void upcall_end(struct upcall *a);

/* Keeps the reply and wakes who waits for it; ignored when nobody does. 0, or
 * -1 when memory is out. */
int upcall_reply(struct upcall_list *list, int64_t number, const uint8_t *reply,
                 size_t len);

#endif
