/* SPDX-License-Identifier: MIT */
/* struct outbox: events that wait for a driver, gathered into chunks. A chunk
 * gets its number when it is first sent, never changes from then on, and is
 * kept until the driver has acknowledged it. [loop] */
#ifndef MF_OUTBOX_H
#define MF_OUTBOX_H

#include "base/buf.h"

#include <stdint.h>
#include <sys/queue.h>

struct outbox {
  TAILQ_HEAD(outbox_chunks, outbox_chunk) chunks; /* numbered ones first */
  struct outbox_chunk *next; /* the next to send, or NULL */
  int64_t number;            /* the last that a chunk has got */
  size_t bytes;              /* of memory */
};

void outbox_init(struct outbox *o);
void outbox_free(struct outbox *o);

/* Copies whole events. Returns 0, or -1 when memory is out. */
int outbox_add(struct outbox *o, const void *data, size_t len);

/* Whether there is something to send. */
bool outbox_waits(const struct outbox *o);

/* Returns the reply with the next chunk, which counts as sent; it is valid
 * until it is acknowledged. NULL when nothing waits. `now` is the loop's clock.
 */
const struct buf *outbox_send(struct outbox *o, uint64_t now);

/* Drops all chunks up to `number`, which the driver has received. */
void outbox_acked(struct outbox *o, int64_t number);

/* Has everything that was not acknowledged sent again. */
void outbox_rewind(struct outbox *o);

/* Whether the oldest chunk was sent so long ago that it must be lost. */
bool outbox_overdue(const struct outbox *o, uint64_t now);

#endif
