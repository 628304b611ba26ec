/* SPDX-License-Identifier: MIT */
/* Objects of host.secret (lib_secret.c), for other bindings. */
#ifndef MF_LIB_SECRET_H
#define MF_LIB_SECRET_H

#include <lua.h>

struct buf;

/* LJMP [-0, +1]: pushes a secret that takes over the memory of `text`, which is
 * empty then. The state must have host.secret. */
void lib_secret_push(lua_State *L, struct buf *text);

/* LJMP [-0, +0]: the text of the secret at `index`, as long as that lives; to
 * be overwritten by its collector. Raises when there is no secret. */
const struct buf *lib_secret_check(lua_State *L, int index);

/* Overwrites the bytes, then frees them. Accepts an all-zero buffer. [any] */
void lib_secret_wipe(struct buf *text);

#endif
