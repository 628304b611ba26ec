/* SPDX-License-Identifier: MIT */
/* json_repair rewrites JSON texts that are valid by RFC 8259 but refused by
 * jansson, so that it accepts them, with the values that most readers give:
 * - half of a surrogate pair becomes \ufffd,
 * - a whole number that does not fit 64 bits becomes a float,
 * - a number beyond the range of doubles becomes the largest double.
 * Everything else is kept, errors too. [any] */
#ifndef MF_JSON_REPAIR_H
#define MF_JSON_REPAIR_H

#include "base/buf.h"

#include <stdbool.h>

/* Appends the rewritten text to `out`. Returns whether it differs from `text`
 * and so is worth another try; false when `out` has failed. `text` ends with a
 * NUL.
 */
bool json_repair(const char *text, size_t len, struct buf *out);

/* Returns where the byte at `place` of the rewritten text was in the text. */
size_t json_repair_origin(const char *text, size_t len, size_t place);

#endif
