/* SPDX-License-Identifier: MIT */
/* This unit provides the records that wait for a driver: gathered into numbered
 * chunks when they are first sent, and kept until the driver has said that it
 * has them. A chunk, once numbered, never changes. [loop] */
#ifndef MF_OUTBOX_H
#define MF_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outbox {
  struct outbox_piece *first, **last; /* records without a number yet */
  struct outbox_chunk *kept, **kept_last;
  struct outbox_chunk *next; /* of those kept: the next to send; or NULL */
  int64_t number;            /* of the last chunk */
  size_t bytes;              /* memory of it all */
};

/* As it is sent: the whole reply. */
struct outbox_reply {
  const uint8_t *data;
  size_t len;
};

void outbox_init(struct outbox *o);
void outbox_free(struct outbox *o);

/* Copies. 0, or -1 (memory). */
int outbox_add(struct outbox *o, const void *data, size_t len);

/* Whether there is something to send. */
bool outbox_waits(const struct outbox *o);

/* The reply with the next chunk, which counts as sent; valid until it is
 * acknowledged. Nothing (data NULL) when nothing waits or memory is out: then
 * the records stay. `now` is the loop's clock. */
struct outbox_reply outbox_send(struct outbox *o, uint64_t now);

/* Everything up to that chunk has come: forgets it. -1 when there was no such
 * chunk. */
int outbox_acked(struct outbox *o, int64_t number);

/* What was not acknowledged is to be sent again. */
void outbox_rewind(struct outbox *o);

/* Whether the oldest chunk was sent so long ago that it must be lost. */
bool outbox_overdue(const struct outbox *o, uint64_t now);

#endif
