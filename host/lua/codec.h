/* SPDX-License-Identifier: MIT */
/* This unit provides the codec between Lua values and MessagePack bytes: nil,
 * booleans, integers and floats kept apart, NaN and infinities, byte strings,
 * nested tables. Uses msgpack.h. [loop]
 *
 * Tables: exactly the keys 1..n travel as an array, everything else (holes
 * too) as a map with keys of any scalar type but nil and NaN; an empty table
 * is an empty array. Metatables are ignored and do not travel. A table that
 * stands twice in one value (shared or cyclic) is refused with both paths,
 * because the copy could not be the same. Functions, userdata, threads are
 * refused with the path ("result.rows[3].cb: function cannot be sent"). */
#ifndef MF_CODEC_H
#define MF_CODEC_H

#include "base/buf.h"
#include "base/err.h"
#include "lua/lua_compat.h"
#include "wire/msgpack.h"

enum { CODEC_MAX_DEPTH = 100 };

/* Appends the value at `idx` to `out`. 0, or -1 with kind "encode" (a value
 * that cannot travel; text names `root` and the path), "too_large" (out->max
 * passed; text says the limit) or "memory"; `out` is then as it was. Never
 * raises, leaves the stack as it was. */
int codec_encode(lua_State *L, int idx, const char *root, struct buf *out,
                 struct err *e);

/* LJMP (out of memory only) [-0, +1 or +0]: pushes the next value of `r`.
 * Returns 0; 1 at the end of the input (nothing pushed); -1 when malformed, too
 * deep, or with tokens Lua has no value for (ext, integers above int64), with
 * kind "decode" (nothing pushed). */
int codec_decode(lua_State *L, struct mp_reader *r, struct err *e);

#endif
