/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
  memset(b, 0, sizeof(*b));
  b->max = max;
}

void buf_free(struct buf *b)
{
  free(b->data);
  buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
  b->len = 0;
  b->failed = false;
}

void buf_reset(struct buf *b)
{
  if (b->cap > BUF_KEEP)
    buf_free(b);
  else
    buf_clear(b);
}

uint8_t *buf_room(struct buf *b, size_t n)
{
  if (b->failed) return NULL;
  if (n > b->max || b->len > b->max - n) goto fail;
  if (b->len + n > b->cap || !b->data) {
    size_t cap = b->cap ? b->cap : 256;
    while (cap < b->len + n) cap = cap > b->max / 2 ? b->max : cap * 2;
    uint8_t *data = realloc(b->data, cap);
    if (!data) goto fail;
    b->data = data;
    b->cap = cap;
  }
  return b->data + b->len;
fail:
  b->failed = true;
  return NULL;
}

int buf_add(struct buf *b, const void *data, size_t n)
{
  uint8_t *to = buf_room(b, n);
  if (!to) return -1;
  if (n) memcpy(to, data, n);
  b->len += n;
  return 0;
}

void buf_consume(struct buf *b, size_t n)
{
  b->len -= n;
  if (b->len) memmove(b->data, b->data + n, b->len);
}

void buf_swap(struct buf *a, struct buf *b)
{
  struct buf t = *a;
  *a = *b;
  *b = t;
}
