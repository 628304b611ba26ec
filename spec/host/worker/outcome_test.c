/* SPDX-License-Identifier: MIT */
/* What becomes of a worker's events when memory is out. */
#include "../test.h"
#include "worker/outcome.h"

#include <lauxlib.h>

extern const struct test outcome_tests[];

/* Without the first, the second would stand in the midst of the rest of it. */
static void test_after_lost(struct test_run *t)
{
  struct buf b;
  lua_State *L = luaL_newstate();
  buf_init(&b, 8); /* no room for the first */
  outcome_failure(&b, 1, 1, "raise", "one", true);
  CHECK(t, b.failed);
  b.max = 1024;
  lua_pushinteger(L, 42);
  outcome_results(&b, 2, 1, NULL, L, 1);
  CHECK(t, b.failed);
  buf_free(&b);
  lua_close(L);
}

const struct test outcome_tests[] = {
    {"outcome: no result repairs what has lost the one before",
     test_after_lost},
    {NULL, NULL},
};
