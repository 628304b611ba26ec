/* SPDX-License-Identifier: MIT */
/* This unit provides what running tasks say to their driver: text they print,
 * of which there may be so much, and their progress, of which only the latest
 * counts. Kept until the next report of the job. [loop] */
#ifndef MF_SAID_H
#define MF_SAID_H

#include "base/buf.h"
#include "wire/task_page.h"
#include "worker/outcome.h"

/* Bytes of text that one task may print, and of one value of its progress. */
enum { SAID_MAX = 64 * 1024 };

/* One who speaks; part of the task's own struct. */
struct said {
  const struct task_identity *who;
  size_t printed;
  bool cut;            /* it printed too much, and the driver was told */
  struct buf progress; /* the latest, encoded; empty: none since the report */
  struct said *prev, *next;
};

/* All that is to be said for one job. */
struct said_list {
  const struct record_worker *from;
  struct buf records;        /* to be sent */
  struct said *first, *last; /* tasks with progress, oldest first */
};

void said_list_init(struct said_list *list, const struct record_worker *from);
void said_list_free(struct said_list *list);

/* `who` must stay valid as long as `s` speaks. */
void said_begin(struct said *s, const struct task_identity *who);
/* What it has said stays to be sent. */
void said_end(struct said_list *list, struct said *s);

/* Text over the limit is cut, and the driver told so once. */
void said_print(struct said_list *list, struct said *s, const char *text,
                size_t len);

/* To be filled with the encoded value (it is empty, and fails above SAID_MAX);
 * then said_progress_end. */
struct buf *said_progress(struct said *s);
void said_progress_end(struct said_list *list, struct said *s);

/* Adds latest progress to list->records, which are to be sent, then cleared by
 * said_clear: of as many as leave them at about `most` bytes, who waited
 * longest first. Whether there is more. */
bool said_add_progress(struct said_list *list, size_t most);
void said_clear(struct said_list *list);

#endif
