/* SPDX-License-Identifier: MIT */
/* This unit writes Lua values as JSON, in one pass into a buffer, no tree in
 * between. Uses value_path.h. [loop]
 *
 * Every value that codec.h can send can be written, and equal values give equal
 * bytes:
 * - exactly the keys 1..n: an array; so are integer keys with few holes (the
 *   largest at most twice their number plus 8), with null in the holes; an
 *   empty table is []. A field "n" beside them, an integer not below them, is
 *   the length, as table.pack and fleet.pmap have it. Anything else is an
 * object, members sorted by the bytes of their names; number and boolean keys
 * as text. Two keys with one text (1 and "1") are refused. Metatables are
 * ignored.
 * - floats in the fewest digits that read back as the same float, never
 *   without a point or an exponent, so that they stay floats. NaN and the
 *   infinities are the strings "NaN", "Infinity", "-Infinity", as in
 *   https://protobuf.dev/programming-guides/json/.
 * - strings that are not UTF-8: {"base64":"..."}; as a name: "base64:...".
 *   Control characters, U+2028 and U+2029 are escaped, "/" is not. */
#ifndef MF_JSON_H
#define MF_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <lua.h>

enum { JSON_MAX_DEPTH = 100 };

struct json_out {
  struct buf text;
  struct buf marks, sorted; /* internal: for the order of members */
};

/* `max`: bytes of text. Allocates nothing. */
void json_out_init(struct json_out *out, size_t max);
void json_out_reset(struct json_out *out); /* see buf_reset */
void json_out_free(struct json_out *out);

/* Appends the value at `idx` to out->text. 0, or -1 with kind "encode" (the
 * text names `root` and the path), "too_large" or "memory"; the text then ends
 * anywhere. Never raises, leaves the stack as it was. */
int json_write(lua_State *L, int idx, const char *root, struct json_out *out,
               struct err *e);

/* Appends a string, quoted, as a member's name. Failure is sticky in
 * out->text. */
void json_write_name(struct json_out *out, const char *s, size_t len);

#endif
