/* SPDX-License-Identifier: MIT */
/* This unit provides growable bytes with a mandatory cap. No other file calls
 * realloc.
 *
 * A buffer fails stickily: once an append would pass the cap, or memory is
 * out, `failed` is set and later appends do nothing. A writer of many small
 * pieces checks once, at the end. */
#ifndef MF_BUF_H
#define MF_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
  uint8_t *data;
  size_t len;
  size_t cap;
  size_t max; /* len never passes this */
  bool failed;
};

/* Cannot fail, allocates nothing. */
void buf_init(struct buf *b, size_t max);

/* Accepts an all-zero buffer; leaves an empty one with the same cap. */
void buf_free(struct buf *b);

/* Empties and clears `failed`; keeps the memory. */
void buf_clear(struct buf *b);

/* Room for n more bytes: the place to write them, or NULL (and failed). The
 * caller then adds to `len` what it wrote. Valid until the next append. */
uint8_t *buf_room(struct buf *b, size_t n);

/* 0, or -1 when the buffer has failed. */
int buf_add(struct buf *b, const void *data, size_t n);

/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);

/* Exchanges the contents (and caps) of two buffers. */
void buf_swap(struct buf *a, struct buf *b);

#endif
