/* SPDX-License-Identifier: MIT */
/* struct session: what a node keeps for one driver: the numbered messages in
 * both directions, the driver's blobs and jobs, and its tasks at each worker. A
 * session belongs to its key and ends when its lease has expired, whatever
 * becomes of its channels. [loop] */
#ifndef MF_SESSION_H
#define MF_SESSION_H

#include "event/loop.h"
#include "net/resumable.h"
#include "wire/blob_store.h"
#include "wire/protocol.h"

#include <stdbool.h>
#include <stdint.h>

enum {
  SESSION_MAX = 256,
  /* Bytes of events that are not acknowledged: a session that has more fails.
   */
  SESSION_MAX_EVENTS = 256 * 1024 * 1024,
  /* Keys of closed sessions, which are not opened again. */
  SESSION_MAX_CLOSED = 1024,
};

/* What a session is to one worker. */
struct session_worker {
  int64_t generation;  /* the process that knows the session */
  int64_t outstanding; /* tasks sent to it and not ended */
};

struct session {
  struct session *next;
  struct session_list *list;
  int64_t number; /* what workers know it by; never reused */
  uint8_t key[PROTOCOL_SESSION_SIZE];
  uint64_t lease;    /* when it expires unless renewed, by the loop's clock */
  bool failed;       /* see session_fail */
  struct peer *peer; /* whose channel it is on, or NULL */
  struct resumable messages;
  uint64_t taken; /* messages, as of the last acknowledgement */
  uint64_t tasks,
      finished; /* received in all, and those of them that have ended */
  struct blob_store blobs;
  bool blobs_too_large; /* these alone, with the last that there was no room for
                         */
  void *jobs;           /* see session_add_job */
  size_t job_count;
  struct session_worker workers[]; /* by index - 1 */
};

struct session_list {
  struct loop *loop;
  int workers;
  uint64_t lease; /* nanoseconds */
  /* A session has expired or failed: the owner ends it (session_end). */
  void (*on_expired)(struct session_list *l, struct session *s);
  const struct resumable_events *events; /* of all; their argument: a session */
  struct session *first;
  int count;
  int64_t last_number;
  struct loop_timer timer; /* set while there are sessions */
  uint8_t closed[SESSION_MAX_CLOSED][PROTOCOL_SESSION_SIZE];
  int64_t closed_count;
};

/* The caller then sets on_expired and events. */
void session_list_init(struct session_list *l, struct loop *loop, int workers);
/* Ends all sessions. */
void session_list_close(struct session_list *l);

/* Finds a session by key or by number; NULL when there is none, or it has
 * failed. */
struct session *session_find(struct session_list *l, const uint8_t *key);
struct session *session_numbered(struct session_list *l, int64_t number);

/* Whether a session with that key has failed or ended not long ago. */
bool session_is_closed(const struct session_list *l, const uint8_t *key);

/* NULL when memory is out. */
struct session *session_new(struct session_list *l, const uint8_t *key);
/* Frees the session, which has left its peer. */
void session_end(struct session *s);

/* Starts the lease anew. */
void session_renew(struct session *s);

/* The session cannot go on: it is not found any more, and ends before the loop
 * sleeps. The reason is logged. */
void session_fail(struct session *s, const char *reason);

/* To append whole events for the driver to, and then to send them. A session
 * with too many of them fails. */
struct buf *session_events(struct session *s);
void session_flush(struct session *s);

/* That many tasks have ended, at a worker or before they got there: the driver
 * may send so many others. */
void session_tasks_finished(struct session *s, int64_t count);

/* Adds a job; returns whether it is new. Without memory it is not. */
bool session_add_job(struct session *s, int64_t number);
void session_drop_job(struct session *s, int64_t number);

#endif
