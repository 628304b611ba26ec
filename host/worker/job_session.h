/* SPDX-License-Identifier: MIT */
/* This unit provides a session inside a worker: one Lua state, which all its
 * jobs share, the blobs they are made of, and the upcalls they ask. Uses
 * job.h; blobs and upcalls are there for lib_job.c. [loop] */
#ifndef MF_CONTEXT_H
#define MF_CONTEXT_H

#include "wire/blob_store.h"
#include "worker/job.h"
#include "worker/upcall.h"

struct context;

struct context_options {
  struct vm_host *host;
  const luaL_Reg *modules; /* as vm_options */
  size_t memory_cap;       /* Lua memory of the state */
  struct job_host job;     /* `vm` and `session` are set here */
};

/* NULL and `e` on failure. */
struct context *context_new(const struct context_options *options,
                            int64_t session, struct err *e);
/* Cancels all tasks; nothing is said of them. */
void context_free(struct context *c);

/* The one that a state belongs to (a state with lib_job.c). */
struct context *context_of(lua_State *L);

int64_t context_session(const struct context *c);
/* The owner's list link. */
struct context **context_next(struct context *c);

struct blob_store *context_blobs(struct context *c);
/* As upcall_begin and upcall_reply. */
int context_upcall(struct context *c, struct upcall *a, const void *request,
                   size_t len, struct err *e);
int context_reply(struct context *c, int64_t number, const uint8_t *reply,
                  size_t len);
const struct record_worker *context_worker(const struct context *c);
/* NULL when there is none (any more). */
struct job *context_job(struct context *c, int64_t number);

/* Gives a batch to job `number`, which the first batch makes from the blob
 * `key`. 0, or -1 when memory is out. */
int context_work(struct context *c, int64_t number, const uint8_t *key,
                 size_t key_len, const struct job_batch *batch);
/* As job_cancel, and job_close; harmless when there is no such job. */
int context_cancel(struct context *c, int64_t number, int64_t first,
                   int64_t count);
void context_close(struct context *c, int64_t number);

/* Tasks begun and not ended. */
int64_t context_running(const struct context *c);

/* The end of a turn: starts tasks if there is `room` for what comes of them
 * before the node, sends what there is to tell. Whether another turn is due at
 * once: a task was started, or there is more to tell. */
bool context_turn(struct context *c, bool room);

#endif
