/* SPDX-License-Identifier: MIT */
/* struct buf: growable bytes with a mandatory cap. No other file calls realloc.
 *
 * A failure is sticky: once an append would pass the cap, or memory is out,
 * `failed` is set and later appends do nothing. A writer of many small pieces
 * therefore checks only once, at the end. */
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

/* Cannot fail and allocates nothing. */
void buf_init(struct buf *b, size_t max);

/* Frees the memory and leaves an empty buffer with the same `max`. Accepts an
 * all-zero buffer. */
void buf_free(struct buf *b);

/* Empties the buffer and clears `failed`; keeps the memory. */
void buf_clear(struct buf *b);

/* As buf_clear, but frees the memory if there is more than BUF_KEEP bytes of
 * it, so that one rare large value does not occupy memory for ever. */
void buf_reset(struct buf *b);
enum { BUF_KEEP = 1024 * 1024 };

/* Makes room for n more bytes and returns the place to write them, valid until
 * the next append, or NULL when the buffer has failed. The caller then adds to
 * `len` what it has written. */
uint8_t *buf_room(struct buf *b, size_t n);

/* Appends n bytes. Returns 0, or -1 when the buffer has failed. */
int buf_add(struct buf *b, const void *data, size_t n);

/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);

/* Exchanges the contents (and caps) of two buffers. */
void buf_swap(struct buf *a, struct buf *b);

#endif
