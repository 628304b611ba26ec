/* SPDX-License-Identifier: MIT */
#include "net/partial.h"

#include <stdlib.h>
#include <string.h>

struct partial *partial_find(const struct partial_list *l, int64_t id)
{
  struct partial *p = LIST_FIRST(&l->all);
  while (p && p->id != id) p = LIST_NEXT(p, entry);
  return p;
}

static void take_out(struct partial_list *l, struct partial *p)
{
  LIST_REMOVE(p, entry);
  l->bytes -= p->total;
  l->count--;
}

static struct partial *add(struct partial_list *l, int64_t id, size_t total)
{
  struct partial *p = NULL;
  if (l->count < PARTIAL_COUNT) p = malloc(sizeof(*p) + total);
  if (!p) return NULL;
  *p = (struct partial){.id = id, .total = total};
  LIST_INSERT_HEAD(&l->all, p, entry);
  l->bytes += total;
  l->count++;
  return p;
}

enum partial_result partial_add(struct partial_list *l, int64_t id,
                                int64_t offset, int64_t total,
                                const uint8_t *data, size_t len, uint64_t now)
{
  if (total < 1 || total > (int64_t)PARTIAL_SIZE * PARTIAL_MAX_PARTS ||
      offset < 0 || offset >= total || offset % PARTIAL_SIZE)
    return PARTIAL_MALFORMED;
  int64_t left = total - offset;
  if ((int64_t)len != (left < PARTIAL_SIZE ? left : PARTIAL_SIZE))
    return PARTIAL_MALFORMED;
  struct partial *p = partial_find(l, id);
  if (p && p->total != (size_t)total) return PARTIAL_MALFORMED;
  if (!p) p = add(l, id, (size_t)total);
  if (!p) return PARTIAL_FULL;
  size_t index = (size_t)offset / PARTIAL_SIZE;
  uint64_t bit = UINT64_C(1) << index % 64;
  p->last = now;
  if (p->parts[index / 64] & bit) return PARTIAL_OK;
  p->parts[index / 64] |= bit;
  memcpy(p->data + offset, data, len);
  p->received += len;
  return PARTIAL_OK;
}

struct partial *partial_take(struct partial_list *l, int64_t id)
{
  struct partial *p = partial_find(l, id);
  if (!p || p->received < p->total) return NULL;
  take_out(l, p);
  return p;
}

void partial_drop_old(struct partial_list *l, uint64_t time)
{
  for (struct partial *p = LIST_FIRST(&l->all), *next; p; p = next) {
    next = LIST_NEXT(p, entry);
    if (p->last >= time) continue;
    take_out(l, p);
    free(p);
  }
}

void partial_drop_all(struct partial_list *l)
{
  partial_drop_old(l, UINT64_MAX);
}
