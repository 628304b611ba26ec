/* SPDX-License-Identifier: MIT */
/* struct assembly: a message that arrives in several frames, put together; and
 * struct assembly_set, which bounds the memory of those of many channels. When
 * it is exceeded, the one that has got nothing for longest makes room. [loop]
 */
#ifndef MF_ASSEMBLY_H
#define MF_ASSEMBLY_H

#include "base/buf.h"

#include <sys/queue.h>

enum {
  /* Bytes of all unfinished messages of a set. */
  ASSEMBLY_SET_MAX = 256 * 1024 * 1024,
};

struct assembly_set {
  TAILQ_HEAD(assemblies, assembly) all; /* that have bytes; quietest first */
  size_t bytes;                         /* of memory */
  size_t max;                           /* at least that of two messages */
};

struct assembly {
  TAILQ_ENTRY(assembly) link;
  struct assembly_set *set; /* NULL: it is bounded by itself alone */
  size_t counted;           /* bytes in `set` */
  struct buf bytes;
  /* Its bytes have been dropped to make room. */
  void (*on_evict)(struct assembly *a);
};

void assembly_set_init(struct assembly_set *p);

/* Allocates nothing. `set` outlives it, and may be NULL. */
void assembly_init(struct assembly *a, struct assembly_set *set, size_t max,
                   void (*on_evict)(struct assembly *a));
/* Appends. Returns 0, or -1 when memory is out or `max` is exceeded. */
int assembly_add(struct assembly *a, const void *data, size_t n);
/* Hands the bytes over, for the caller to free, and begins anew. */
void assembly_take(struct assembly *a, struct buf *bytes);
/* Drops the bytes. */
void assembly_clear(struct assembly *a);

#endif
