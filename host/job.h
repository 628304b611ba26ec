/* SPDX-License-Identifier: MIT */
/* This unit provides a job inside a worker: its Lua state, the tasks that wait
 * and run, and the records of those that ended. [loop]
 *
 * The job's Lua side is lua/fleet/runner.lua: prepare(definition) loads the
 * job's source in the sandbox, runs its setup, and gives back the map
 * function. Tasks wait until that is done; when it fails, every task fails
 * with its error. */
#ifndef MF_JOB_H
#define MF_JOB_H

#include "buf.h"
#include "err.h"
#include "vm.h"

#include <stdbool.h>
#include <stdint.h>

struct job;

/* Many records wait: the owner sends them (job_report) at once. */
typedef void job_on_full(void *arg, struct job *j);

/* `definition` is a MessagePack map, see runner.lua. Copies what it needs.
 * NULL and `e` when there is no memory for it. */
struct job *job_new(struct vm_host *host, int64_t session, const uint8_t *key,
                    size_t key_len, const uint8_t *definition,
                    size_t definition_len, job_on_full *on_full, void *arg,
                    struct err *e);
/* Cancels its tasks; their records are lost. */
void job_free(struct job *j);

bool job_is(const struct job *j, int64_t session, const uint8_t *key,
            size_t key_len);
int64_t job_session(const struct job *j);
/* The owner's list link. */
struct job **job_next(struct job *j);

/* Queues tasks first..first+count-1. 0, or -1 when memory is out. */
int job_add(struct job *j, int64_t first, int64_t count, int64_t attempt,
            const uint8_t *items, size_t len);

/* Tasks begun and not ended. */
int64_t job_running(const struct job *j);

/* Starts queued tasks up to the job's concurrency; whether any was started. */
bool job_start_tasks(struct job *j);

struct job_reporter {
  int worker;         /* its index */
  int64_t generation; /* which process of that index */
};

/* Whether there is something to tell the driver: tasks ended, or all wait and
 * there is room for more. */
bool job_has_report(const struct job *j);

/* Appends the "out" message (protocol.h) with all there is to tell to `frame`,
 * and forgets it. A failed `frame` means results are lost. */
void job_report(struct job *j, const struct job_reporter *who,
                struct buf *frame);

#endif
