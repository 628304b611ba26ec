/* SPDX-License-Identifier: MIT */
/* This unit provides messages that come in parts: the memory that they are put
 * together in, and how much of it there is. [loop] */
#ifndef MF_PARTIAL_H
#define MF_PARTIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  /* Bytes of every part but the last. */
  PARTIAL_SIZE = 512 * 1024,
  /* Parts of one message: 80 MiB. */
  PARTIAL_MOST = 160,
  /* Unfinished messages of one list. */
  PARTIAL_COUNT = 4,
};

struct partial {
  struct partial *next;
  int64_t id;
  size_t total, come; /* bytes */
  uint64_t seen[(PARTIAL_MOST + 63) / 64];
  uint64_t last; /* when a part came: loop_clock */
  uint8_t data[];
};

/* All zero: empty. */
struct partial_list {
  struct partial *first;
  size_t bytes; /* of all messages, as large as they will be */
  int count;
};

enum partial_result {
  PARTIAL_OK,
  PARTIAL_MALFORMED,
  PARTIAL_FULL, /* too many of them in this list, or memory is out */
};

/* The unfinished message of that number, or NULL. */
const struct partial *partial_find(const struct partial_list *l, int64_t id);

/* Takes the part at `offset` of message `id`, which has `total` bytes; one that
 * came before is let pass. */
enum partial_result partial_add(struct partial_list *l, int64_t id,
                                int64_t offset, int64_t total,
                                const uint8_t *data, size_t len, uint64_t now);

/* Takes a message that is whole out of the list, for the caller to free; NULL
 * when there is none of that number, or parts of it are missing. */
struct partial *partial_take(struct partial_list *l, int64_t id);

/* Drops messages no part of which has come since `time`. */
void partial_drop_old(struct partial_list *l, uint64_t time);
void partial_drop_all(struct partial_list *l);

#endif
