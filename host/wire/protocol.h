/* SPDX-License-Identifier: MIT */
/* The protocol between driver, node and workers. Every message is one
 * MessagePack array whose first element is its name. Any change means another
 * PROTOCOL_VERSION: nodes of another version are listed and not used.
 *
 * Driver and node share one duplex byte stream (carrier.h). Each side begins
 * with the preface, "moonfleet/" and the version and a line feed; what follows
 * are frames: 4 bytes (little-endian: length of the rest in the low 24 bits,
 * kind above), and at most 256 KiB. Kinds (enum protocol_frame):
 *   REQUEST, REPLY   an id (4 bytes, little-endian), then a message; replies
 *           come in any order
 *   ACK     three numbers of 8 bytes, little-endian (struct resumable_ack):
 *           messages received, limit in bytes, limit in tasks
 *   PART, LAST       a piece of a numbered message; LAST ends it. A message
 *           that fits into one frame is a LAST alone.
 *
 * Requests, of the driver only:
 *   ["status", session?]
 *       session: 16 bytes, optional; renews its lease
 *       reply ["status", {protocol, release, name, boot, pid, state,
 *              workers: [[index, generation], ...], running, queued,
 *              session, zone?, instance?, time}]
 *       state: "ready" or "draining"; generation: 0 while there is no such
 *       worker; session: whether the node knows the session that was named;
 *       zone, instance: of the machine, if the node knows them; time: of the
 *       node's clock, in seconds since 1970
 *   ["open", session, received, bytes, release?]   opens a session, or goes on
 *       with it on this channel, which must have none; another channel of it is
 *       closed
 *       received: number of the node's messages that have arrived (0: it is
 *       new); bytes: the limit that the driver grants; release: of the driver,
 *       for the node's log
 *       reply ["opened", received, bytes, tasks]: the same of the other
 *       direction. Then both sides send the numbered messages that the other
 *       has not received.
 *   ["cancel", after, [[worker, generation, job, first, count], ...]]
 *       once the driver's message of number `after` has been acted upon
 *       reply ["cancelled"] once the workers are asked. Each task ends with an
 *       error of kind "cancelled", or with its result if it came first.
 *   ["end", session]   cancels what the session has, and closes it
 *       reply ["ended", {running, events}]: tasks cancelled, and bytes of
 *       events that were not acknowledged; 0 for an unknown session
 *   Any request may be refused, and then nothing of it was done:
 *       reply ["error", kind, text]
 *       kind: "protocol" (malformed), "lost" (the session is closed; its key
 *       cannot be used any more), "refused" (the node is full), "tls" (the
 *       certificate may only observe), "memory"
 *
 * A session belongs to its key, not to a channel. When the channel breaks, the
 * session lives on for LEASE after the last status that named it. A session
 * whose lease has expired is ended, and its channel closed. While events of a
 * session that its driver does not take make a node pause that other drivers
 * use as well, only taking them renews its lease.
 *
 * Numbered messages of the driver: elements, one after the other:
 *   ["blob", key, bytes]   that workers may need: a definition of a job or a
 *       module. The node keeps it until it is dropped, ignores another one with
 *       the same key, and sends it to a worker before the first batch there
 *       that names it.
 *   ["drop", key]          the blob is not needed any more
 *   ["close", job]         the job has ended; what still runs is cancelled
 *   ["batch", worker, generation, keys, job, first, count, attempt, timeout,
 *           items]
 *       job: positive, chosen by the driver
 *       keys: blobs that the worker must have, 1,024 at most; the last is the
 *       definition of the job
 *       timeout: seconds that one task may take, 0: no limit
 *       items: `count` values, one after the other, for the task ids first,
 *       first+1, ...; MAX_VALUE bytes at most
 *   ["answer", worker, generation, number, bytes]   to an upcall, MAX_VALUE
 *       bytes at most; one to a worker that is gone is ignored
 * One that is malformed, or exceeds a limit, ends the session: the reply to the
 * next status or open says "lost".
 *
 * Numbered messages of the node: events, one after the other. The results of a
 * job follow a report of that job.
 *   [id, attempt, true, value]        the result of a task
 *   [id, attempt, false, error]       its error: a map with kind, message, ...
 *   [0, "report", worker, generation, job, n, cpu, wall, bytes]  n tasks have
 *           ended, which took that many seconds of processor time and of wall
 *           time, summed up; `bytes` of results follow
 *   [0, "starved", worker, {generation, job, running}]  all tasks of the job
 *           are waiting: the worker needs more
 *   [0, "output", worker, {generation, job, id, attempt, what, value}]  what:
 *           "print" (text) or "progress" (any value)
 *   [0, "upcall", worker, {generation, number, bytes}]  a request of a task to
 *           its driver; without bytes it withdraws the request of that number
 *   [0, "worker", worker, {generation, state, signal, code, why?, job?, id?,
 *           attempt?, not_begun?, received?}]
 *           state: "up" or "down"; signal, code: how it died. When it is down,
 *           not_begun: [[job, first, count, attempt], ...] are the tasks it had
 *           that have certainly not begun; received: the number of the
 *           driver's last message that was received by then: what later ones
 *           bring for this worker does not begin either. why: "timeout" or
 *           "cancelled" if the node killed it for a task; "frozen" if it gave
 *           no sign of life while its tasks waited; "draining" if the node has
 *           to leave before its tasks have ended; "memory" if the kernel or the
 *           memory limit ended it. job, id, attempt: the task that was on
 *           the processor, if it belongs to this session.
 *   [0, "refused", worker, {job, first, count, attempt, why, generation?}]
 *           a batch was not started. why: "gone" (generation: of the process
 *           that took its place, if there is one), "draining", "room" (the node
 *           does not have a blob that it needs: others' left no room for it),
 *           or "too_large" (because the blobs of this session alone are over
 *           PROTOCOL_MAX_BLOB_BYTES)
 *   [0, "state", 0, {state}]          the node is draining
 *
 * Node -> worker, as frames. `session` is the number of a session in the node.
 *   ["options", index, generation, process id of the node, bytes of data that
 *           the worker may have (0: no limit), log level, name of the node,
 *           Lua path, allowed hosts, modules, package.path, package.cpath,
 *           whether to try the metadata service (metadata_probe.h)]
 *           the first frame; the paths as in struct serve_options
 *   ["blob", session, key, bytes]   ["drop", session, key]
 *   ["work", session, key, job, first, count, attempt, timeout, items]
 *           key: of the definition of the job; what follows is as in the batch
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
  PROTOCOL_VERSION = 5,
  PROTOCOL_SESSION_SIZE = 16,
  /* Seconds that a session lives without a status that names it. */
  PROTOCOL_LEASE = 15,
  /* Bytes of one encoded value (an item or a result), of all items of a batch
   * together, and of one blob. */
  PROTOCOL_MAX_VALUE = 64 * 1024 * 1024,
  /* Bytes of a frame between node and worker: of one of the above, and more. */
  PROTOCOL_MAX_FRAME = PROTOCOL_MAX_VALUE + 1024 * 1024,
  /* Bytes of a numbered message. */
  PROTOCOL_MAX_MESSAGE = 80 * 1024 * 1024,
  /* Tasks that one driver may have at a node. */
  PROTOCOL_MAX_TASKS = 1024 * 1024,
  /* Bytes of a blob's key, blobs of one session, keys of one batch. */
  PROTOCOL_MAX_KEY = 255,
  PROTOCOL_MAX_BLOBS = 1024,
  /* Bytes of the blobs of all sessions of a node. */
  PROTOCOL_MAX_BLOB_BYTES = 256 * 1024 * 1024,
  /* Elements of any list in a request. */
  PROTOCOL_MAX_LIST = 65536,
  /* The descriptor of a worker that is connected to its node. */
  PROTOCOL_WORKER_FD = 3,
};

enum protocol_frame {
  PROTOCOL_REQUEST = 1,
  PROTOCOL_REPLY,
  PROTOCOL_ACK,
  PROTOCOL_PART,
  PROTOCOL_LAST,
};

#endif
