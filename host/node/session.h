/* SPDX-License-Identifier: MIT */
/* struct session: what a node keeps for one driver: which of its messages were
 * received, the events it has not fetched, its pending polls, its blobs. A
 * session belongs to its key and ends when its lease has expired, whatever
 * becomes of its connections. [loop] */
#ifndef MF_SESSION_H
#define MF_SESSION_H

#include "event/loop.h"
#include "net/partial.h"
#include "net/rpc.h"
#include "node/outbox.h"
#include "wire/blob_store.h"
#include "wire/protocol.h"

#include <stdbool.h>
#include <stdint.h>

enum {
  SESSION_MAX = 256,
  /* One waits at the node while the next is on its way: a driver has only a few
   * requests under way, and needs one to send with. */
  SESSION_MAX_POLLS = 2,
  /* Messages that may be missing while later ones were received. */
  SESSION_MAX_MISSING = 64,
  /* Bytes of events: a session that has more loses them, and expires. */
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
  uint64_t lease; /* when it expires unless renewed, by the loop's clock */
  bool expired;   /* see session_expire */
  /* received messages: all up to the last, but these */
  int64_t last_seq, missing[SESSION_MAX_MISSING];
  int missing_count;
  struct blob_store blobs;
  struct partial_list partials; /* messages that come in parts */
  struct outbox outbox;
  uint32_t pipe; /* the connection of its work; 0: none */
  TAILQ_HEAD(session_polls, session_poll) polls; /* oldest first */
  int poll_count;
  struct loop_timer poll_timer;    /* until the oldest poll times out */
  struct session_worker workers[]; /* by index - 1 */
};

struct session_list {
  struct loop *loop;
  int workers;
  uint64_t lease, poll_timeout; /* nanoseconds */
  /* A session has expired: the owner ends it (session_end). */
  void (*on_expired)(struct session_list *l, struct session *s);
  struct session *first;
  int count;
  int64_t last_number;
  struct loop_timer timer; /* set while there are sessions */
  uint8_t closed[SESSION_MAX_CLOSED][PROTOCOL_SESSION_SIZE];
  int64_t closed_count;
};

void session_list_init(struct session_list *l, struct loop *loop, int workers,
                       void (*on_expired)(struct session_list *l,
                                          struct session *s));
/* Ends all sessions. */
void session_list_close(struct session_list *l);

/* Finds a session by key or by number; NULL when there is none, or it has
 * expired. */
struct session *session_find(struct session_list *l, const uint8_t *key);
struct session *session_numbered(struct session_list *l, int64_t number);

/* Whether a session with that key has expired or ended not long ago. */
bool session_is_closed(const struct session_list *l, const uint8_t *key);

/* NULL when memory is out. */
struct session *session_new(struct session_list *l, const uint8_t *key);
/* Frees the session; its pending polls get no reply. */
void session_end(struct session *s);

/* Starts the lease anew. */
void session_renew(struct session *s);

/* ---- messages ---- */

enum session_receipt { NOT_RECEIVED, RECEIVED, TOO_FAR_AHEAD };

/* Whether the message with that number was received. */
enum session_receipt session_is_received(const struct session *s, int64_t seq);
/* The message is received now. */
void session_mark_received(struct session *s, int64_t seq);

/* ---- events ---- */

/* An event for the driver was lost: the session is not found any more, and ends
 * within this iteration of the loop. */
void session_expire(struct session *s);

/* Queues a copy of events, and replies to a pending poll if there is one. The
 * session expires when memory is out or there are too many events. */
void session_push(struct session *s, const void *data, size_t len);

/* Work comes on that connection from now on. What was sent on another one and
 * not acknowledged is sent again. */
void session_connect(struct session *s, uint32_t pipe);
/* The connection has ended, and with it the pending polls if it was the one. */
void session_disconnect(struct session *s, uint32_t pipe);

/* Replies at once, with events or without. */
void session_reply(struct session *s, struct rpc_request *req);
/* A long poll: replies once there are events; without any after a while, or
 * when more than SESSION_MAX_POLLS are pending. Of two with the same number,
 * the earlier one is dropped. */
void session_poll(struct session *s, struct rpc_request *req, int64_t seq);

#endif
