/* SPDX-License-Identifier: MIT */
/* The Lua library, compiled in as source. The build generates its definition,
 * build/gen/embed.c, from lua/. */
#ifndef MF_EMBED_H
#define MF_EMBED_H

#include <stddef.h>

struct embed_file {
  const char *module; /* "fleet.scheduler"; NULL ends the list */
  const char *path;   /* "lua/fleet/scheduler/init.lua": the chunk name */
  const char *data;   /* also NUL-terminated */
  size_t size;
};

/* Sorted by path. */
extern const struct embed_file embed_files[];

/* What the web page sends to browsers (lua/fleet/web/assets/): `module` is the
 * name of the file. */
extern const struct embed_file embed_assets[];

#endif
