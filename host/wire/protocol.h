/* SPDX-License-Identifier: MIT */
/* The protocol between driver, node and workers. Every message is one
 * MessagePack array whose first element is its name. Any change means another
 * PROTOCOL_VERSION: nodes of another version are listed and not used.
 *
 * Driver -> node: requests of rpc.h, with the reply to each. No list has more
 * than MAX_LIST elements.
 *   ["status", version, session?]     on the control connection
 *       session: 16 bytes, optional; renews its lease
 *       reply ["status", {protocol, release, name, boot, pid, state,
 *              workers: [[index, generation], ...], running, queued,
 *              session, zone?, instance?}]
 *       state: "ready" or "draining"; generation: 0 while there is no such
 *       worker; session: whether the node knows the session that was named;
 *       zone, instance: of the machine, if the node knows them
 *   ["work", version, session, seq, ack, blobs, drops, closes, batches,
 *           replies]
 *       seq: 1, 2, 3, ... numbers the messages of a session. A message whose
 *           number was received before only polls for events, so a driver may
 *           repeat one whose reply was lost; nothing runs twice. Number 1 opens
 *           the session. Its reply comes at once, with or without events. Until
 *           a reply or a status confirms the session, the driver must not send
 *           higher numbers. Up to 64 numbers may be missing and come later.
 *       ack: the driver has received every chunk of events up to this number
 *           (0: none), and the node drops them
 *       blobs: [[key, bytes], ...] that workers may need: definitions of jobs
 *           and modules. The node keeps each until it is dropped, ignores
 *           another one with the same key, and sends it to a worker before the
 *           first batch there that names it.
 *       drops: [key, ...] blobs that are not needed any more
 *       closes: [job, ...] jobs that have ended; what still runs is cancelled
 *       batches: [[worker, generation, job, keys, first, count, attempt,
 *                 timeout, items], ...]
 *           job: positive, chosen by the driver
 *           keys: blobs that the worker must have, 1,024 at most; the last is
 *           the definition of the job
 *           timeout: seconds that one task may take, 0: no limit
 *           items: `count` values, one after the other, for the task ids
 *           first, first+1, ...; MAX_VALUE bytes at most
 *       replies: [[worker, generation, number, bytes], ...] to upcalls, each
 *           MAX_VALUE bytes at most; those to a worker that is gone are ignored
 *       reply ["events", number, bytes]: the chunk with that number (1, 2, 3,
 *           ... in this session) as soon as there is one; number 0 and no bytes
 *           if there is none within POLL_TIMEOUT. Chunks that are not
 *           acknowledged are sent again: on another connection, after a
 *           repeated message, after a while. A driver ignores those that it
 *           has.
 *   ["part", version, session, id, offset, total, bytes]   part of a message of
 *       work that is larger than MAX_REQUEST. Parts come on the bulk
 *       connection, in any order.
 *       id: numbers these messages in their session, from 1 on; at most four
 *       are unfinished; offset: a multiple of PARTIAL_SIZE, which is the size
 *       of every part but the last; total: bytes of the message
 *       reply ["part"]
 *   ["whole", version, session, id]   acts on the message whose parts have all
 *       been sent; reply as to "work"
 *   ["cancel", version, session, [[worker, generation, job, first, count],
 *           ...]]             on the control connection
 *       reply ["cancelled"] once the workers are asked, also for an unknown
 *           session. Each task ends with an error of kind "cancelled", or with
 *           its result if it came first.
 *   ["end", version, session]   cancels what the session has, and closes it
 *       reply ["ended", {running, events}]: tasks cancelled, and bytes of
 *           events that were not acknowledged; 0 for an unknown session
 *   Any request may be refused, and then nothing of it was done:
 *       reply ["error", kind, text]
 *       kind: "protocol" (malformed), "skew" (another version), "lost" (the
 *       session is closed; its key cannot be used any more), "refused" (the
 *       node is full), "too_large" (it never fits), "memory"
 *
 * A session belongs to its key, not to a connection. Its work comes on one
 * connection at a time, and changes to another with the first message there.
 * When the connection breaks, the session lives on for LEASE after the last
 * status or work that named it; a driver that reconnects repeats the messages
 * that had no reply. A session whose lease has expired is ended. While
 * unfetched events of a session make a node pause that other drivers use as
 * well, only fetching them renews its lease.
 *
 * Events, in a chunk one after the other. The results of a job follow a report
 * of that job.
 *   [id, attempt, true, value]        the result of a task
 *   [id, attempt, false, error]       its error: a map with kind, message, ...
 *   [0, "report", worker, {generation, job, n, cpu, wall, bytes}]  n tasks have
 *           ended, which took that many seconds of processor time and of wall
 *           time, summed up; `bytes` of results follow
 *   [0, "starved", worker, {generation, job, running}]  all tasks of the job
 *           are waiting: the worker needs more
 *   [0, "output", worker, {generation, job, id, attempt, what, value}]  what:
 *           "print" (text) or "progress" (any value)
 *   [0, "upcall", worker, {generation, number, bytes}]  a request of a task to
 *           its driver; without bytes it withdraws the request of that number
 *   [0, "worker", worker, {generation, state, signal, code, why?, job?, id?,
 *           attempt?, not_begun?, seq?, missing?}]
 *           state: "up" or "down"; signal, code: how it died. When it is down,
 *           not_begun: [[job, first, count, attempt], ...] are the tasks it had
 *           that have certainly not begun; seq, missing: the last message
 *           received by then, and the earlier ones not received: what they
 *           bring for this worker does not begin either. why: "timeout" or
 *           "cancelled" if the node killed it for a task; "frozen" if it gave
 *           no sign of life while its tasks waited; "memory" if the kernel or
 *           the memory limit ended it. job, id, attempt: the task that was on
 *           the processor, if it belongs to this session.
 *   [0, "refused", worker, {job, first, count, attempt, why, generation?}]
 *           a batch was not started. why: "gone" (generation: of the process
 *           that took its place, if there is one), "draining", or "unknown" (no
 *           blob has one of its keys: messages may overtake each other)
 *   [0, "state", 0, {state}]          the node is draining
 *
 * Node -> worker, as frames. `session` is the number of a session in the node.
 *   ["options", index, generation, process id of the node, bytes of data that
 *           the worker may have (0: no limit), log level, name of the node,
 *           Lua path, allowed hosts, modules, package.path, package.cpath]
 *           the first frame; the last four as in struct serve_options
 *   ["blob", session, key, bytes]   ["drop", session, key]
 *   ["work", session, job, key, first, count, attempt, timeout, items]
 *           key: of the definition of the job
 *   ["cancel", session, job, first, count]   ["close", session, job]
 *   ["reply", session, number, bytes]   to the upcall of that number
 *   ["end", session]   ["sync", n]
 * Worker -> node:
 *   ["running", n]   tasks begun and not ended
 *   ["out", session, n, events]   n tasks have ended, including those of a job
 *           that was closed, begun or not
 *   ["synced", n]   everything before "sync" n has been done. The node sends a
 *           sync behind cancel, close and end, and kills a worker that goes on
 *           computing a cancelled task; it also sends one when a worker with
 *           tasks is quiet, and kills it if it neither answers nor runs any. */
#ifndef MF_PROTOCOL_H
#define MF_PROTOCOL_H

enum {
  PROTOCOL_VERSION = 4,
  PROTOCOL_SESSION_SIZE = 16,
  /* Seconds that a session lives without a message of its driver, and that a
   * request waits for events. */
  PROTOCOL_LEASE = 15,
  PROTOCOL_POLL_TIMEOUT = 5,
  /* Bytes of one encoded value (an item or a result), of all items of a batch
   * together, and of one blob. */
  PROTOCOL_MAX_VALUE = 64 * 1024 * 1024,
  /* Bytes of a frame between node and worker: of one of the above, and more. */
  PROTOCOL_MAX_FRAME = PROTOCOL_MAX_VALUE + 1024 * 1024,
  /* Bytes of a whole message, and of a request, which is as much of it as is
   * sent at once. */
  PROTOCOL_MAX_MESSAGE = 80 * 1024 * 1024,
  PROTOCOL_MAX_REQUEST = 512 * 1024 + 4096,
  /* Bytes of a blob's key, blobs of one session, keys of one batch. */
  PROTOCOL_MAX_KEY = 255,
  PROTOCOL_MAX_BLOBS = 1024,
  /* Elements of any list in a request. */
  PROTOCOL_MAX_LIST = 65536,
  /* Bytes of a chunk of events, unless a single one is larger. */
  PROTOCOL_REPLY_SIZE = 4 * 1024 * 1024,
  /* The descriptor of a worker that is connected to its node. */
  PROTOCOL_WORKER_FD = 3,
};

#endif
