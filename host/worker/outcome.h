/* SPDX-License-Identifier: MIT */
/* The events that a worker writes for drivers (protocol.h), as
 * bytes: outcomes of tasks, and the heads of its other events. [loop]
 *
 * Writers append to a buf whose failure is sticky; none of them raises. */
#ifndef MF_OUTCOME_H
#define MF_OUTCOME_H

#include "base/buf.h"
#include "lua/vm.h"

/* The worker that writes events. */
struct worker_identity {
  int index;
  int64_t generation; /* which process of that index */
  const char *node;   /* its name */
};

/* Begins an event with a map of `fields` fields, the first of which,
 * "generation", is written already; the caller writes the others. */
void event_begin(struct buf *b, const struct worker_identity *worker,
                 const char *name, size_t fields);

/* The outcome of a task that failed: with an error of the host; with an error
 * that was encoded before; with a raised error, on top of its coroutine `co`,
 * the traceback below. `started` tells whether the task ever ran. */
void outcome_failure(struct buf *b, int64_t id, int64_t attempt,
                     const char *kind, const char *message, bool started);
void outcome_error(struct buf *b, int64_t id, int64_t attempt,
                   const struct buf *error);
void outcome_raised(struct buf *b, int64_t id, int64_t attempt, struct vm *vm,
                    lua_State *co);
/* The outcome of a task that returned the `nresults` values on top of `co`: the
 * first value, or nil and an error. Returns whether it is a value. */
bool outcome_results(struct buf *b, int64_t id, int64_t attempt, struct vm *vm,
                     lua_State *co, int nresults);

/* Errors alone: of the host, or the one on top of `co`, with the traceback
 * below if `traceback`. Long texts are cut. */
void outcome_put_error(struct buf *b, const char *kind, const char *message,
                       bool started);
void outcome_encode_error(struct buf *b, struct vm *vm, lua_State *co,
                          bool traceback, bool started);

#endif
