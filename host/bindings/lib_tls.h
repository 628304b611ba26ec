/* SPDX-License-Identifier: MIT */
/* What lib_channel.c needs of lib_tls.c. [loop] */
#ifndef MF_LIB_TLS_H
#define MF_LIB_TLS_H

#include <lauxlib.h>

struct tls_identity;

/* LJMP: the identity at `index`, as long as that object lives; raises when it
 * is something else. */
struct tls_identity *lib_tls_identity(lua_State *L, int index);

#endif
