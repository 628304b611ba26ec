/* SPDX-License-Identifier: MIT */
/* This unit provides the length of a character in UTF-8. [any] thread. */
#ifndef MF_UTF8_H
#define MF_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The bytes of the well-formed sequence at `s`, of which `left` are there (at
 * least 1), or 0. */
size_t utf8_length(const uint8_t *s, size_t left);

#endif
