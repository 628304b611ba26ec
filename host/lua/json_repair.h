/* SPDX-License-Identifier: MIT */
/* This unit rewrites JSON texts that are right by RFC 8259 and that jansson
 * refuses, so that it takes them, with the values that most readers give:
 * - half of a surrogate pair becomes \ufffd,
 * - a whole number that 64 bits do not hold becomes a float,
 * - a number beyond all doubles becomes the largest double.
 * All else stays as it is, also what is wrong. [any] */
#ifndef MF_JSON_MEND_H
#define MF_JSON_MEND_H

#include "base/buf.h"

#include <stdbool.h>

/* Appends the text to `out`. True when it is not the same, and so worth another
 * try; when `out` failed, it is of no use. `text` ends with a NUL. */
bool json_mend(const char *text, size_t len, struct buf *out);

/* Where the byte at `place` of the rewritten text was in the text. */
size_t json_mend_origin(const char *text, size_t len, size_t place);

#endif
