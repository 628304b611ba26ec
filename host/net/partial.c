/* SPDX-License-Identifier: MIT */
#include "net/partial.h"

#include <stdlib.h>
#include <string.h>

static struct partial **find(struct partial_list *l, int64_t id)
{
  struct partial **at = &l->first;
  while (*at && (*at)->id != id) at = &(*at)->next;
  return at;
}

const struct partial *partial_find(const struct partial_list *l, int64_t id)
{
  const struct partial *p = l->first;
  while (p && p->id != id) p = p->next;
  return p;
}

static struct partial *take_out(struct partial_list *l, struct partial **at)
{
  struct partial *p = *at;
  *at = p->next;
  l->bytes -= p->total;
  l->count--;
  return p;
}

static struct partial *add(struct partial_list *l, int64_t id, size_t total)
{
  struct partial *p = NULL;
  if (l->count < PARTIAL_COUNT) p = malloc(sizeof(*p) + total);
  if (!p) return NULL;
  *p = (struct partial){.next = l->first, .id = id, .total = total};
  l->first = p;
  l->bytes += total;
  l->count++;
  return p;
}

enum partial_result partial_add(struct partial_list *l, int64_t id,
                                int64_t offset, int64_t total,
                                const uint8_t *data, size_t len, uint64_t now)
{
  if (total < 1 || total > (int64_t)PARTIAL_SIZE * PARTIAL_MOST || offset < 0 ||
      offset >= total || offset % PARTIAL_SIZE)
    return PARTIAL_MALFORMED;
  int64_t left = total - offset;
  if ((int64_t)len != (left < PARTIAL_SIZE ? left : PARTIAL_SIZE))
    return PARTIAL_MALFORMED;
  struct partial *p = *find(l, id);
  if (p && p->total != (size_t)total) return PARTIAL_MALFORMED;
  if (!p) p = add(l, id, (size_t)total);
  if (!p) return PARTIAL_FULL;
  size_t index = (size_t)offset / PARTIAL_SIZE;
  uint64_t bit = UINT64_C(1) << index % 64;
  p->last = now;
  if (p->seen[index / 64] & bit) return PARTIAL_OK;
  p->seen[index / 64] |= bit;
  memcpy(p->data + offset, data, len);
  p->come += len;
  return PARTIAL_OK;
}

struct partial *partial_take(struct partial_list *l, int64_t id)
{
  struct partial **at = find(l, id);
  return *at && (*at)->come == (*at)->total ? take_out(l, at) : NULL;
}

void partial_drop_old(struct partial_list *l, uint64_t time)
{
  for (struct partial **at = &l->first; *at;) {
    if ((*at)->last < time)
      free(take_out(l, at));
    else
      at = &(*at)->next;
  }
}

void partial_drop_all(struct partial_list *l)
{
  partial_drop_old(l, UINT64_MAX);
}
