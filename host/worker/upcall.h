/* SPDX-License-Identifier: MIT */
/* This unit provides the questions that tasks of a session ask their driver:
 * bytes there and, later, bytes back. [loop] */
#ifndef MF_ASK_H
#define MF_ASK_H

#include "base/buf.h"
#include "lua/task.h"
#include "worker/outcome.h"

#include <stdint.h>

struct ask_list {
  const struct record_worker *from;
  struct ask *first;
  int64_t last_number;
  struct buf records; /* to be sent, then cleared, by the owner */
};

/* One question; lives in the userdata of the binding. */
struct ask {
  struct task_wait wait;
  struct ask_list *list; /* while it waits for its answer; else NULL */
  struct ask *prev, *next;
  int64_t number;
  struct buf answer;
};

void ask_list_init(struct ask_list *list, const struct record_worker *from);
/* All questions must have ended. */
void ask_list_free(struct ask_list *list);

/* Adds the question and its record. `a` is all zero. 0, or -1 and `e`. */
int ask_begin(struct ask_list *list, struct ask *a, const void *question,
              size_t len, struct err *e);
/* Whatever comes of it is not wanted any more; frees the answer. Idempotent. */
void ask_end(struct ask *a);

/* Keeps the answer and wakes who waits for it; ignored when nobody does. 0, or
 * -1 when memory is out. */
int ask_answer(struct ask_list *list, int64_t number, const uint8_t *answer,
               size_t len);

#endif
