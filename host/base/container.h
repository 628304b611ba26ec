/* SPDX-License-Identifier: MIT */
/* CONTAINER_OF: from a pointer to a member to the struct that contains it. */
#ifndef MF_CONTAINER_H
#define MF_CONTAINER_H

#include <stddef.h>

/* The `type` whose member `member` is at `pointer`. */
#define CONTAINER_OF(pointer, type, member)                                    \
  ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
