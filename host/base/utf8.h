/* SPDX-License-Identifier: MIT */
/* Characters of UTF-8: their lengths, and which are control characters. [any]
 */
#ifndef MF_UTF8_H
#define MF_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the well-formed sequence at `s`, or 0. `left` bytes can be
 * read, at least 1. */
size_t utf8_length(const uint8_t *s, size_t left);

/* For bytes whose utf8_length is 0: how many of them form the longest beginning
 * of a character, or 1. One U+FFFD replaces them (Unicode, section 3.9, U+FFFD
 * Substitution of Maximal Subparts). */
size_t utf8_broken(const uint8_t *s, size_t left);

/* Whether the well-formed character at `s` is a control character, U+0080 to
 * U+009F included. */
bool utf8_is_control(const uint8_t *s);

#endif
