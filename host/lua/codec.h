/* SPDX-License-Identifier: MIT */
/* codec_encode and codec_decode convert between Lua values and MessagePack
 * bytes: nil, booleans, integers and floats (kept apart), NaN and infinities,
 * byte strings, nested tables. [loop]
 *
 * A table with exactly the keys 1..n becomes an array, any other (with holes,
 * too) a map with keys of any scalar type but nil and NaN; an empty table is an
 * empty array. Metatables are ignored. A table that occurs twice in one value
 * (shared or cyclic) is refused with both paths, because the copy could not be
 * the same. Functions, userdata and threads are refused with the path
 * ("result.rows[3].cb: function cannot be sent"). */
#ifndef MF_CODEC_H
#define MF_CODEC_H

#include "base/buf.h"
#include "base/err.h"
#include "lua/lua_compat.h"
#include "wire/msgpack.h"

enum { CODEC_MAX_DEPTH = 100 };

/* Appends the value at `idx` to `out`. Returns 0, or -1 and `e` with kind
 * "encode" (a value that cannot be sent; the text names `root` and the path),
 * "too_large" (over out->max; the text names the limit) or "memory"; `out` is
 * then unchanged. Never raises and leaves the stack unchanged. */
int codec_encode(lua_State *L, int idx, const char *root, struct buf *out,
                 struct err *e);

/* LJMP (out of memory only) [-0, +1 or +0]: pushes the next value of `r` and
 * returns 0. Pushes nothing at the end of the input and returns 1, nor when it
 * is malformed, too deep, or has tokens without a Lua value (ext, integers
 * above int64) and returns -1 and `e` with kind "decode". */
int codec_decode(lua_State *L, struct mp_reader *r, struct err *e);

#endif
