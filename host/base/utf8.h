/* SPDX-License-Identifier: MIT */
/* This unit provides the lengths of characters in UTF-8. [any] thread. */
#ifndef MF_UTF8_H
#define MF_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The bytes of the well-formed sequence at `s`, of which `left` are there (at
 * least 1), or 0. */
size_t utf8_length(const uint8_t *s, size_t left);

/* Of bytes at `s` for which utf8_length is 0: how many are the longest start of
 * a character, or else 1. That many become one U+FFFD (Unicode, section 3.9,
 * U+FFFD Substitution of Maximal Subparts). */
size_t utf8_broken(const uint8_t *s, size_t left);

#endif
