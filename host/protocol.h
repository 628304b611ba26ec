/* SPDX-License-Identifier: MIT */
/* What driver, node and workers say to each other. Every message is one
 * MessagePack array whose first element is its name. Changing any of it means
 * another PROTOCOL_VERSION: nodes of another version are shown and not used.
 *
 * Driver -> node (requests of rpc.h; "reply" is what comes back):
 *   ["status", version]
 *       reply ["status", {protocol, release, name, boot, pid, state,
 *              workers: [[index, generation], ...], running, queued}]
 *       state: "ready" or "draining"
 *   ["work", version, session, jobs, batches]
 *       jobs: [[job, definition], ...]: each job once per session and node,
 *           before its first batch; the definition is opaque to the node
 *       batches: [[worker, generation, job, first, count, attempt, items],..]
 *           items: `count` values, one after the other, for the task ids
 *           first, first+1, ...
 *       reply ["records", bytes], as soon as there are records for the
 *           session: the request is held until then. The connection that
 *           sends a session's work owns it: when it goes, the session ends.
 *   ["end", version, session]         cancels what the session has there
 *       reply ["ended"]
 *   anything else, another version:   reply ["error", kind, text]
 *
 * Records (a concatenation of arrays): the results of a worker follow a
 * report of that worker.
 *   [id, attempt, true, value]        a task ended well
 *   [id, attempt, false, error]       ... or not; error: a map, kind, message..
 *   [0, "report", worker, {generation, n, cpu, wall, bytes}]  n tasks ended,
 *           using that many seconds of processor and of summed wall time;
 *           their records, which follow, are that many bytes
 *   [0, "hungry", worker, {generation, running}]   all its tasks are waiting
 *   [0, "worker", worker, {generation, state, signal, code}]   state "up" or
 *           "down"; signal or exit code say how it died
 *   [0, "refused", worker, {first, count, attempt, why, generation}]   not
 *           started: why is "gone" (generation is the worker's new one, nil
 *           while there is none) or "draining"
 *   [0, "state", 0, {state}]          the node drains
 *
 * Node -> worker (frames): ["job", session number, job, definition],
 *   ["work", session number, job, first, count, attempt, items],
 *   ["end", session number].
 * Worker -> node: ["ready"], ["out", session number, n ended, records],
 *   ["running", tasks begun and not ended], ["ended", session number]. */
#ifndef MF_PROTOCOL_H
#define MF_PROTOCOL_H

enum {
  PROTOCOL_VERSION = 1,
  PROTOCOL_SESSION_SIZE = 16,
  /* One value, an item or a result, encoded. */
  PROTOCOL_MAX_VALUE = 64 * 1024 * 1024,
  /* One frame between node and worker: a value and its head. */
  PROTOCOL_MAX_FRAME = PROTOCOL_MAX_VALUE + 1024 * 1024,
  /* Records gathered into one reply, as long as each fits. */
  PROTOCOL_REPLY_SIZE = 4 * 1024 * 1024,
  /* The descriptor that a worker finds its node at. */
  PROTOCOL_WORKER_FD = 3,
};

#define MOONFLEET_VERSION "0.1.0"

#endif
