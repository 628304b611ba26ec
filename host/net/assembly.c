/* SPDX-License-Identifier: MIT */
#include "net/assembly.h"

void assembly_set_init(struct assembly_set *p)
{
  TAILQ_INIT(&p->all);
  p->bytes = 0;
  p->max = ASSEMBLY_SET_MAX;
}

void assembly_init(struct assembly *a, struct assembly_set *set, size_t max,
                   void (*on_evict)(struct assembly *a))
{
  a->set = set;
  a->counted = 0;
  a->on_evict = on_evict;
  buf_init(&a->bytes, max);
}

/* Takes it out of the set, or puts it last there. */
static void count(struct assembly *a)
{
  struct assembly_set *p = a->set;
  if (!p) return;
  if (a->counted) TAILQ_REMOVE(&p->all, a, link);
  p->bytes += a->bytes.cap - a->counted;
  a->counted = a->bytes.cap;
  if (a->counted) TAILQ_INSERT_TAIL(&p->all, a, link);
}

void assembly_clear(struct assembly *a)
{
  buf_free(&a->bytes);
  count(a);
}

void assembly_take(struct assembly *a, struct buf *bytes)
{
  buf_init(bytes, a->bytes.max);
  buf_swap(bytes, &a->bytes);
  count(a);
}

int assembly_add(struct assembly *a, const void *data, size_t n)
{
  int rc = buf_add(&a->bytes, data, n);
  count(a);
  for (struct assembly *first; a->set && a->set->bytes > a->set->max;) {
    first = TAILQ_FIRST(&a->set->all);
    if (first == a) break;
    assembly_clear(first);
    first->on_evict(first);
  }
  return rc;
}
