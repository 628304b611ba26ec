/* SPDX-License-Identifier: MIT */
/* json_write writes Lua values as JSON, in one pass into a buffer, without a
 * tree in between; lib_json.c reads JSON by jansson. [loop]
 *
 * Every value that codec.h can send can be written, and equal values give equal
 * bytes:
 * - A table with exactly the keys 1..n is an array; so is one with integer keys
 *   and few holes (the largest key is at most twice their number plus 8), with
 *   null in the holes. An empty table is []. A field "n" beside the integer
 *   keys, an integer not below them, is the length, as table.pack and
 *   fleet.pmap set it.
 * - Any other table is an object, its members sorted by the bytes of their
 *   names; number and boolean keys become text. Two keys with the same text (1
 *   and "1") are refused. Metatables are ignored.
 * - Floats have the fewest digits that read back as the same float, and always
 *   a point or an exponent, so that they stay floats. NaN and the infinities
 *   are the strings "NaN", "Infinity", "-Infinity", as in
 *   https://protobuf.dev/programming-guides/json/.
 * - A string that is not UTF-8 becomes {"base64":"..."}, or as a name
 *   "base64:...". Control characters, U+2028 and U+2029 are escaped, "/" is
 *   not. */
#ifndef MF_JSON_H
#define MF_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <lua.h>

enum { JSON_MAX_DEPTH = 100 };

struct json_out {
  struct buf text;
  struct buf marks, sorted; /* internal: to sort members */
};

/* `max` limits the text, in bytes. Allocates nothing. */
void json_out_init(struct json_out *out, size_t max);
void json_out_reset(struct json_out *out); /* see buf_reset */
void json_out_free(struct json_out *out);

/* Appends the value at `idx` to out->text. Returns 0, or -1 and `e` with kind
 * "encode" (the text names `root` and the path), "too_large" or "memory"; the
 * text is then incomplete. Never raises and leaves the stack unchanged. */
int json_write(lua_State *L, int idx, const char *root, struct json_out *out,
               struct err *e);

/* Appends a string, quoted, as a member's name. A failure is sticky in
 * out->text.
 */
void json_write_name(struct json_out *out, const char *s, size_t len);

#endif
