/* SPDX-License-Identifier: MIT */
/* This unit provides the text of a place inside a Lua value, such as
 * "result.rows[3].cb", for the errors of codec.c and json.c. A walk that
 * failed adds the key of each level while it unwinds, the innermost first;
 * nothing is done, and nothing is to be set up, while all goes well. No
 * function raises. [loop] */
#ifndef MF_PATH_H
#define MF_PATH_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct path {
  char text[96]; /* filled from its end */
  size_t at;
  bool cut; /* outer keys were left out for want of room */
};

void path_init(struct path *p);

/* Puts the key at `idx` before what is there: .name, ["other text"], [3]. */
void path_add_key(struct path *p, lua_State *L, int idx);
void path_add_index(struct path *p, lua_Integer i);

/* Writes root (cut to 32 bytes) and path; returns `to`. */
enum { PATH_SIZE = 136 };
const char *path_text(const struct path *p, const char *root,
                      char to[PATH_SIZE]);

#endif
