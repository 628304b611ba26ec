/* SPDX-License-Identifier: MIT */
/* The lengths of characters in UTF-8. [any] */
#ifndef MF_UTF8_H
#define MF_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The length of the well-formed sequence at `s`, or 0. `left` bytes can be
 * read, at least 1. */
size_t utf8_length(const uint8_t *s, size_t left);

/* For bytes whose utf8_length is 0: how many of them form the longest beginning
 * of a character, or 1. One U+FFFD replaces them (Unicode, section 3.9, U+FFFD
 * Substitution of Maximal Subparts). */
size_t utf8_broken(const uint8_t *s, size_t left);

#endif
