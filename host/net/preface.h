/* SPDX-License-Identifier: MIT */
/* struct preface: reads the first bytes of a peer, "moonfleet/" and the version
 * of its protocol and a line feed, and tells what else it may be. [any] */
#ifndef MF_PREFACE_H
#define MF_PREFACE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  /* Bytes before the preface that are skipped if noise is allowed. */
  PREFACE_MAX_NOISE = 64 * 1024,
  /* Bytes of what is not a preface that an error shows. */
  PREFACE_SHOWN = 32,
};

/* What this side sends; without the final zero. */
extern const char preface_text[sizeof("moonfleet/5\n")];

struct preface {
  bool skip_noise; /* the preface may come after other bytes */
  bool done;
  size_t at; /* where in `text` it may begin */
  struct buf text;
};

void preface_init(struct preface *p, bool skip_noise);
void preface_free(struct preface *p);

/* Reads the next bytes, and returns how many of them belong to the preface or
 * come before it: all, until `done` is set. On failure returns -1 and `e` with
 * kind "skew" (it speaks another version), "protocol" (it is something else),
 * or "memory". */
int64_t preface_read(struct preface *p, const uint8_t *data, size_t len,
                     struct err *e);

/* Writes what has been read, PREFACE_SHOWN bytes at most, as a quoted text of
 * one line. */
void preface_show(const struct preface *p, char *to, size_t size);

#endif
