/* SPDX-License-Identifier: MIT */
/* This unit provides the records that a worker writes (protocol.h), as bytes:
 * what became of a task, and the heads of what the worker itself tells. Uses
 * codec.h. [loop]
 *
 * Writers append to a buf whose failure is sticky; none of them raises. */
#ifndef MF_RECORD_H
#define MF_RECORD_H

#include "base/buf.h"
#include "lua/vm.h"

#include <stdint.h>

/* Who writes them. */
struct record_worker {
  int index;
  int64_t generation; /* which process of that index */
  const char *node;   /* its name */
};

/* The head of a record of `name`, whose map has `fields` fields: "generation"
 * is written, the others follow. */
void record_event(struct buf *b, const struct record_worker *from,
                  const char *name, size_t fields);

/* A task that did not end by itself. `begun` tells whether it ever ran. */
void record_failure(struct buf *b, int64_t id, int64_t attempt,
                    const char *kind, const char *message, bool begun);
/* One that failed with an error encoded before. */
void record_error(struct buf *b, int64_t id, int64_t attempt,
                  const struct buf *error);
/* One that raised: the error is on top of its coroutine, the traceback below.
 */
void record_raised(struct buf *b, int64_t id, int64_t attempt, struct vm *vm,
                   lua_State *co);
/* One that returned the `nresults` values at the top of `co`: a first value, or
 * nil and an error. */
void record_results(struct buf *b, int64_t id, int64_t attempt, struct vm *vm,
                    lua_State *co, int nresults);

/* Errors alone: of C, and the one on top of `co`, below which the traceback is
 * when `traceback`. Long texts are cut, and say so. */
void record_put_error(struct buf *b, const char *kind, const char *message,
                      bool begun);
void record_encode_error(struct buf *b, struct vm *vm, lua_State *co,
                         bool traceback, bool begun);

#endif
