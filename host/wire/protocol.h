/* SPDX-License-Identifier: MIT */
/* What driver, node and workers say to each other. Every message is one
 * MessagePack array whose first element is its name. Changing any of it means
 * another PROTOCOL_VERSION: nodes of another version are shown and not used.
 *
 * Driver -> node (requests of rpc.h; "reply" is what comes back); no list has
 * more than MAX_LIST elements:
 *   ["status", version, session?]     by the control connection
 *       session: 16 bytes, optional: renews its lease
 *       reply ["status", {protocol, release, name, boot, pid, state,
 *              workers: [[index, generation], ...], running, queued,
 *              session, zone?, instance?}]
 *       state: "ready" or "draining"; generation: 0 while there is no such
 *       worker; session: whether the session named is known here; zone,
 *       instance: of the machine, where it knows them
 *   ["work", version, session, seq, ack, blobs, drops, closes, batches,
 *           replies]
 *       seq: 1,2,3,... numbers this message in its session. A number that was
 *           seen is not acted on again, only held for records: a reply that
 *           was lost is asked for again, nothing runs twice. Number 1 opens
 *           the session; its reply comes at once, with records or without, and
 *           until a reply or a status has said that the session is known, no
 *           number above 1 may be sent. Up to 64 numbers may be left out and
 *           come later.
 *       ack: every chunk of records up to this number has come (0: none); the
 *           node forgets those
 *       blobs: [[key, bytes], ...] what the workers may need: definitions of
 *           jobs, modules. The node keeps one until it is dropped, the first
 *           of its key, and gives it to a worker before the first batch there
 *           that names it.
 *       drops: [key, ...]     blobs not needed any more
 *       closes: [job, ...] jobs that are over: what still runs there is
 *           cancelled
 *       batches: [[worker, generation, job, keys, first, count, attempt,
 *                 timeout, items], ...]
 *           job: positive, chosen by the driver; names the job in a worker
 *           keys: blobs the worker must have, 1,024 at most; the last is the
 *           job's definition
 *           timeout: seconds that one task may take, 0: no limit
 *           items: `count` values, one after the other, for the task ids
 *           first, first+1, ...; MAX_VALUE bytes at most
 *       replies: [[worker, generation, number, bytes], ...] to upcalls, each
 *           MAX_VALUE bytes at most; a worker that is gone needs none
 *       reply ["records", number, bytes]: chunk `number` (1,2,3,... in this
 *           session) as soon as there is one; number 0 and no bytes when there
 *           was none for HOLD. What is not acknowledged comes again: on
 *           another connection, after a message that was seen before, after a
 *           while. So a chunk may come twice, and a driver drops the second.
 *   ["part", version, session, id, offset, total, bytes]   a message of work
 *       that is larger than MAX_REQUEST comes in parts, and is acted on by
 *       "whole"; by the bulk connection, too, in any order
 *       id: a number of the message in its session, from 1 on; at most four are
 *       unfinished; offset: a multiple of PARTIAL_SIZE, which every part but
 *       the last has as its size; total: bytes of the message
 *       reply ["part"]
 *   ["whole", version, session, id]   all parts have come; reply as to "work"
 *   ["cancel", version, session, [[worker, generation, job, first, count],
 *           ...]]             by the control connection
 *       reply ["cancelled"], once passed on, also for a session that is not
 *           there. Each task ends with a record of kind "cancelled", or with
 *           its result if that was first.
 *   ["end", version, session]         cancels what the session has there
 *       reply ["ended", {running, records}]: tasks cancelled, bytes of records
 *           that were not acknowledged; of a session that is not there, none
 *   otherwise, and then nothing of the message was done:
 *       reply ["error", kind, text]
 *       kind: "protocol" (malformed), "skew" (another version), "lost" (the
 *       session is over; its key is of no use any more), "refused" (the node is
 *       full), "too_large" (it never fits), "memory"
 *
 * A session belongs to its key, not to a connection; its work comes by one at a
 * time, and goes over to another with the first message there. When the
 * connection breaks the session lives on for LEASE after the last status or
 * work that named it; a driver that comes back sends the messages again that
 * had no reply. When the lease is over the session is ended. While records of a
 * session hold up a node that other drivers use as well, only fetching them
 * renews its lease.
 *
 * Records (a concatenation of arrays): the results of a job follow a report of
 * that job.
 *   [id, attempt, true, value]        a task ended well
 *   [id, attempt, false, error]       ... or not; error: a map, kind, message..
 *   [0, "report", worker, {generation, job, n, cpu, wall, bytes}]  n tasks
 *           ended, using that many seconds of processor and of summed wall
 *           time; their records, which follow, are that many bytes
 *   [0, "starved", worker, {generation, job, running}]  all tasks of the job
 *           are waiting
 *   [0, "output", worker, {generation, job, id, attempt, what, value}]  what:
 *           "print" (text) or "progress" (any value)
 *   [0, "upcall", worker, {generation, number, bytes}]  a request of a task to
 *           its driver; no bytes: it wants no reply to that number any more
 *   [0, "worker", worker, {generation, state, signal, code, why?, job?, id?,
 *           attempt?, not_begun?, seq?, missing?}]
 *           state "up" or "down"; signal or exit code say how it died. When
 *           down, not_begun: [[job, first, count, attempt], ...] the tasks it
 *           had that have certainly not begun; seq, missing: the last message
 *           that had come by then, and the numbers before it that had not:
 *           what they bring for it does not begin either. why: "timeout" or
 *           "cancelled", the node killed it for a task; "frozen", for it gave
 *           no sign of life while its tasks waited; "memory", the kernel or
 *           the limit did. job, id, attempt: the task that was on the
 *           processor, when it is this session's
 *   [0, "refused", worker, {job, first, count, attempt, why, generation?}]
 *           not started: why is "gone" (generation is the worker's new one,
 *           absent while there is none), "draining", or "unknown" (a key names
 *           no blob here: messages may overtake each other)
 *   [0, "state", 0, {state}]          the node drains
 *
 * Node -> worker (frames); `session` is a small number of the node's here:
 *   ["options", index, generation, process id of the node, bytes of data it
 *           may have (0: no limit), log level, name of the node, Lua path]
 *           comes first
 *   ["blob", session, key, bytes]   ["drop", session, key]
 *   ["work", session, job, key, first, count, attempt, timeout, items]
 *           key: of the job's definition
 *   ["cancel", session, job, first, count]   ["close", session, job]
 *   ["reply", session, number, bytes]   ["end", session]   ["sync", n]
 *           reply: to upcall `number`
 * Worker -> node:
 *   ["running", tasks begun and not ended]
 *   ["out", session, n ended, records]   n counts every task that ended, also
 *           those of a job that was closed, begun or not
 *   ["synced", n]   everything before "sync" n has been done. The node sends
 *           one behind cancel, close and end, and kills a worker that computes
 *           a cancelled task instead of answering; and one when a worker with
 *           tasks has been quiet, to kill one that neither answers nor runs
 *           any of them. */
#ifndef MF_PROTOCOL_H
#define MF_PROTOCOL_H

enum {
  PROTOCOL_VERSION = 3,
  PROTOCOL_SESSION_SIZE = 16,
  /* Seconds: a session is kept without a word of its driver; a request is held
   * without records. */
  PROTOCOL_LEASE = 15,
  PROTOCOL_POLL_TIMEOUT = 5,
  /* One value, an item or a result, encoded; the items of a batch together; and
   * one blob. */
  PROTOCOL_MAX_VALUE = 64 * 1024 * 1024,
  /* One frame between node and worker: what may be as large, and its head. */
  PROTOCOL_MAX_FRAME = PROTOCOL_MAX_VALUE + 1024 * 1024,
  /* A message, whole; and a request, which is as much of it as is sent at once.
   */
  PROTOCOL_MAX_MESSAGE = 80 * 1024 * 1024,
  PROTOCOL_MAX_REQUEST = 512 * 1024 + 4096,
  /* Bytes of a blob's key, blobs of one session, keys of one batch. */
  PROTOCOL_MAX_KEY = 255,
  PROTOCOL_MAX_BLOBS = 1024,
  /* Elements of any list in a request. */
  PROTOCOL_MAX_LIST = 65536,
  /* Records gathered into one chunk, as long as each fits. */
  PROTOCOL_REPLY_SIZE = 4 * 1024 * 1024,
  /* The descriptor that a worker finds its node at. */
  PROTOCOL_WORKER_FD = 3,
};

#define MOONFLEET_VERSION "0.1.0"

#endif
