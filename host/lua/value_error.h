/* SPDX-License-Identifier: MIT */
/* struct value_error: why a Lua value cannot be converted, and the place inside
 * it, such as "result.rows[3].cb". For codec.c and json.c. A walk that fails
 * adds the key of each level while it unwinds, the innermost first; as long as
 * it succeeds, nothing needs to be initialised. No function raises. [loop] */
#ifndef MF_VALUE_ERROR_H
#define MF_VALUE_ERROR_H

#include "base/err.h"

#include <lua.h>
#include <stdbool.h>

struct value_error {
  struct err reason;
  char path[96]; /* filled from its end */
  size_t start;  /* of the path */
  bool cut;      /* outer keys did not fit and are missing */
};

/* Sets the reason, as err_set does, and an empty path. These three return -1.
 */
int value_error_set(struct value_error *v, const char *kind, const char *format,
                    ...) __attribute__((format(printf, 3, 4)));
/* Put the key at `idx`, or an index, before the path: .name, ["text"], [3]. */
int value_error_add_key(struct value_error *v, lua_State *L, int idx);
int value_error_add_index(struct value_error *v, lua_Integer i);

/* Writes root (cut to 32 bytes) and path; returns `to`. */
enum { VALUE_PATH_SIZE = 136 };
const char *value_error_path(const struct value_error *v, const char *root,
                             char to[VALUE_PATH_SIZE]);

/* Fills `e` with the kind and "<root><path>: <reason>"; returns -1. */
int value_error_report(const struct value_error *v, const char *root,
                       struct err *e);

#endif
