/* SPDX-License-Identifier: MIT */
/* This unit provides the node's sessions, one per driver: which of its messages
 * have come, the records it has not fetched, its held requests, its blobs. A
 * session belongs to its key and ends when its lease is over, whatever becomes
 * of its connections. [loop] */
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
  /* Enough that there is one while the next is on its way: a driver has but a
   * few requests under way, and needs one to send with. */
  SESSION_MAX_HELD = 2,
  /* Messages that may be missing while later ones have come. */
  SESSION_MAX_MISSING = 64,
  /* Bytes of records: a session that has more loses them, and is over. */
  SESSION_MAX_RECORDS = 256 * 1024 * 1024,
  /* Keys of sessions that are over, not to be opened again. */
  SESSION_MAX_OVER = 1024,
};

/* What a session is to one worker. */
struct session_worker {
  int64_t generation;  /* that has heard of the session */
  int64_t outstanding; /* tasks sent to it and not ended */
};

struct session {
  struct session *next;
  struct session_list *list;
  int64_t number; /* what workers know it by; never reused */
  uint8_t key[PROTOCOL_SESSION_SIZE];
  uint64_t lease; /* ends then, unless renewed: the loop's clock */
  bool lost;      /* see session_lose */
  /* messages that have come: all up to the last, but some */
  int64_t last_seq, missing[SESSION_MAX_MISSING];
  int missing_count;
  struct session_worker *workers; /* by index - 1 */
  struct blob_store blobs;
  struct partial_list partials; /* messages that come in parts */
  struct outbox outbox;
  uint32_t pipe; /* the connection of its work; 0: none */
  struct session_held *held, **held_last;
  int held_count;
  struct loop_timer hold; /* until the oldest is answered without records */
};

struct session_list {
  struct loop *loop;
  int workers;
  uint64_t lease, hold; /* how long: nanoseconds */
  /* A lease is over: the owner ends the session (session_end). */
  void (*on_over)(struct session_list *l, struct session *s);
  struct session *first;
  int count;
  int64_t last_number;
  struct loop_timer timer; /* set while there are sessions */
  uint8_t over[SESSION_MAX_OVER][PROTOCOL_SESSION_SIZE];
  int64_t over_count;
};

void session_list_init(struct session_list *l, struct loop *loop, int workers,
                       void (*on_over)(struct session_list *l,
                                       struct session *s));
/* Ends all sessions; held requests are dropped. */
void session_list_close(struct session_list *l);

/* Finds by key, or by number; NULL without one, and when it is lost. */
struct session *session_find(struct session_list *l, const uint8_t *key);
struct session *session_numbered(struct session_list *l, int64_t number);

/* Whether there was one of that key, not too long ago. */
bool session_was(const struct session_list *l, const uint8_t *key);

/* NULL when memory is out. */
struct session *session_new(struct session_list *l, const uint8_t *key);
/* Its held requests get no answer. */
void session_end(struct session *s);

void session_renew(struct session *s);

/* ---- messages ---- */

enum session_seen { SEEN_NOT, SEEN_BEFORE, SEEN_TOO_FAR };

/* Whether the message of that number has come. */
enum session_seen session_seen(const struct session *s, int64_t seq);
/* It has come now; it was SEEN_NOT. */
void session_take(struct session *s, int64_t seq);

/* ---- records ---- */

/* What its driver must know cannot be kept: nobody finds it any more, and it
 * ends with this turn of the loop. */
void session_lose(struct session *s);

/* Queues a copy, and answers a held request if there is one. When memory is
 * out, or there are too many, the session is lost. */
void session_push(struct session *s, const void *data, size_t len);

/* Work comes by that connection from now on. When it came by another one, what
 * was sent there and not acknowledged is sent again. */
void session_connect(struct session *s, uint32_t pipe);
/* That connection is gone, and with it the requests held from there. */
void session_disconnect(struct session *s, uint32_t pipe);

/* Answers with records, or with none when there are none. */
void session_answer(struct session *s, struct rpc_request *req);
/* Answers once there are records, with none after a while, or when more than
 * SESSION_MAX_HELD are held. One request of a number is held, the latest. */
void session_hold(struct session *s, struct rpc_request *req, uint32_t pipe,
                  int64_t seq);

#endif
