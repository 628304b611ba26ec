/* SPDX-License-Identifier: MIT */
/* Messages that arrive in parts: the memory in which they are assembled, and
 * how much of it there is. [loop] */
#ifndef MF_PARTIAL_H
#define MF_PARTIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
  /* Bytes of every part but the last. */
  PARTIAL_SIZE = 512 * 1024,
  /* Parts of one message: 80 MiB. */
  PARTIAL_MAX_PARTS = 160,
  /* Unfinished messages of one list. */
  PARTIAL_COUNT = 4,
};

struct partial {
  LIST_ENTRY(partial) entry;
  int64_t id;
  size_t total, received;                        /* bytes */
  uint64_t parts[(PARTIAL_MAX_PARTS + 63) / 64]; /* received: a bit for each */
  uint64_t last; /* loop_clock when the last part arrived */
  uint8_t data[];
};

/* All zero: empty. */
struct partial_list {
  LIST_HEAD(partials, partial) all;
  size_t bytes; /* of all messages, at their full size */
  int count;
};

enum partial_result {
  PARTIAL_OK,
  PARTIAL_MALFORMED,
  PARTIAL_FULL, /* too many messages in this list, or memory is out */
};

/* The unfinished message of that id, or NULL. */
struct partial *partial_find(const struct partial_list *l, int64_t id);

/* Adds the part at `offset` of message `id`, which has `total` bytes; ignores
 * one that arrived before. */
enum partial_result partial_add(struct partial_list *l, int64_t id,
                                int64_t offset, int64_t total,
                                const uint8_t *data, size_t len, uint64_t now);

/* Takes a whole message out of the list, for the caller to free; NULL when
 * there is none of that id, or parts of it are missing. */
struct partial *partial_take(struct partial_list *l, int64_t id);

/* Drops messages of which no part has arrived since `time`. */
void partial_drop_old(struct partial_list *l, uint64_t time);
void partial_drop_all(struct partial_list *l);

#endif
