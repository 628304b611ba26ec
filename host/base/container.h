/* SPDX-License-Identifier: MIT */
/* CONTAINER_OF: from a pointer to a member to the struct that holds it. */
#ifndef MF_CONTAINER_H
#define MF_CONTAINER_H

#include <stddef.h>

/* `pointer`, to the member `member` of a `type`: that `type`. */
#define CONTAINER_OF(pointer, type, member)                                    \
  ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
