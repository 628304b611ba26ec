/* SPDX-License-Identifier: MIT */
/* struct err: the error value of the host's C code. It has a kind (one word,
 * the same words that Lua sees in the `kind` field of an error table) and one
 * line of text for people. It has a fixed size and can be copied.
 *
 * Functions that can fail return 0 or -1 (or a pointer or NULL) and take a
 * `struct err *` as their last parameter, written only on failure. */
#ifndef MF_ERR_H
#define MF_ERR_H

#include <stdarg.h>
#include <stddef.h>

struct err {
  char kind[16];
  char text[256];
};

/* [any] Fills `e`; text that is too long is cut. Always returns -1, so that a
 * function may end with `return err_set(...)`. */
int err_set(struct err *e, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

int err_vset(struct err *e, const char *kind, const char *format, va_list ap)
    __attribute__((format(printf, 3, 0)));

/* [any] As err_set, with ": <text of errno value>" appended. */
int err_errno(struct err *e, const char *kind, int errnum, const char *format,
              ...) __attribute__((format(printf, 4, 5)));

/* [any] calloc(1, size). Without memory it returns NULL and fills `e` with kind
 * "memory" and "out of memory for <what>". */
void *err_calloc(size_t size, const char *what, struct err *e);

#endif
