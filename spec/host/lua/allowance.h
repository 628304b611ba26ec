/* SPDX-License-Identifier: MIT */
/* An allocator for Lua states that fails after a number of allocations. */
#ifndef MF_ALLOWANCE_H
#define MF_ALLOWANCE_H

#include <stdlib.h>

struct allowance {
  long left; /* allocations that still succeed */
};

/* A lua_Alloc; `ud` is a struct allowance. */
static inline void *allowance_allocate(void *ud, void *p, size_t osize,
                                       size_t nsize)
{
  struct allowance *a = ud;
  (void)osize;
  if (nsize == 0) {
    free(p);
    return NULL;
  }
  if (a->left <= 0) return NULL;
  a->left--;
  return realloc(p, nsize);
}

#endif
