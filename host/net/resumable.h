/* SPDX-License-Identifier: MIT */
/* struct resumable: two directions of numbered messages between a driver and a
 * node, which survive broken channels. Messages are numbered 1, 2, 3, ... in
 * each direction by their order alone. The sender keeps each until it is
 * acknowledged; after a broken channel it goes on behind the last one that has
 * arrived, so each message arrives once and in order.
 *
 * Flow control: the receiver grants a limit, in bytes since the beginning of
 * the session, and a sender begins a message only while it has sent fewer. That
 * bounds every queue: by a window and one message. A driver also gets a limit
 * in tasks. Both limits and the acknowledgement travel in one small frame
 * (struct resumable_ack), with whatever is sent next, or alone after
 * RESUMABLE_ACK_DELAY or when a quarter of the window has arrived.
 *
 * All functions are [loop]. The owner embeds the struct. */
#ifndef MF_RESUMABLE_H
#define MF_RESUMABLE_H

#include "base/buf.h"
#include "base/err.h"
#include "event/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
  /* Bytes that may be under way without having been consumed. */
  RESUMABLE_WINDOW = 16 * 1024 * 1024,
  /* Bytes of a message that is sealed and followed by another, unless one
   * element of it is larger. A little less than a frame. */
  RESUMABLE_MESSAGE = 240 * 1024,
};
#define RESUMABLE_ACK_DELAY (100 * LOOP_MS)

struct channel;

struct resumable_ack {
  uint64_t received; /* messages */
  uint64_t bytes;    /* limit, in bytes since the beginning */
  uint64_t tasks;    /* limit, in tasks since the beginning; 0 from a driver */
};

struct resumable_events {
  /* The next message has arrived; `data` is valid during the call. Returns 0,
   * or -1 and `e` (kind "protocol": it is malformed), which ends the channel;
   * the owner ends the session as well. */
  int (*on_message)(void *arg, const uint8_t *data, size_t len, struct err *e);
  /* Limits or acknowledgements have changed: there may be room. */
  void (*on_room)(void *arg);
};

struct resumable_message {
  STAILQ_ENTRY(resumable_message) link;
  uint64_t number;
  uint64_t start; /* bytes of all messages before it */
  unsigned users; /* `sent`, and channels that are sending it */
  struct buf bytes;
};

struct resumable {
  struct loop *loop;
  const struct resumable_events *events;
  void *arg;
  struct channel *channel;              /* NULL: none */
  void (*on_flush)(struct channel *c);  /* there may be something to send */
  void (*on_detach)(struct channel *c); /* it carries nothing any more */
  bool resumed; /* on this channel: messages may be sent */
  /* ---- outgoing ---- */
  STAILQ_HEAD(resumable_messages, resumable_message) sent; /* unacknowledged */
  struct resumable_message *next; /* of `sent`: the next to send, or NULL */
  struct buf open;                /* the message being built */
  uint64_t number;                /* of the last message in `sent` */
  uint64_t begun;                 /* messages that a channel has taken */
  uint64_t acked;                 /* messages */
  uint64_t end;                   /* bytes of all messages up to `number` */
  size_t kept;                    /* bytes of the messages in `sent` */
  struct resumable_ack limit;     /* as the peer has last granted */
  /* ---- incoming ---- */
  uint64_t received, received_bytes;
  struct resumable_ack granted; /* as last sent */
  uint64_t tasks;               /* the limit in tasks to grant */
  bool held;                    /* see resumable_hold */
  bool due;                     /* an acknowledgement goes out alone */
  struct loop_timer ack_timer;
};

void resumable_init(struct resumable *r, struct loop *loop, uint64_t tasks,
                    const struct resumable_events *events, void *arg);
/* Detaches it and frees its messages. Accepts one that is all zero. */
void resumable_free(struct resumable *r);

/* ---- channels ---- */

/* Leaves the channel (see channel_attach), which stays open. Idempotent. */
void resumable_detach(struct resumable *r);
/* What to tell the peer when a session is opened or goes on: the messages that
 * have arrived, and the limits. */
void resumable_offer(struct resumable *r, struct resumable_ack *ack);
/* Whether the peer has offered this before another channel took over: a request
 * to open that was overtaken. It changes nothing, and is to be refused. */
bool resumable_is_stale(const struct resumable *r,
                        const struct resumable_ack *ack);
/* The peer has received messages up to `ack->received`, and grants these
 * limits: drops those messages and sends what follows, after the callback of
 * the channel that calls it, if one does. Does not call back. Returns 0, or -1
 * and `e` with kind "protocol" when that cannot be. */
int resumable_resume(struct resumable *r, const struct resumable_ack *ack,
                     struct err *e);

/* ---- outgoing ---- */

/* Returns the message being built, to append whole elements to. It becomes
 * immutable when it is sent, or has RESUMABLE_MESSAGE bytes. A buffer that has
 * failed (memory) cannot be sent: see resumable_failed. */
struct buf *resumable_message(struct resumable *r);
/* Has what was appended sent, as soon as channel and limits allow. */
void resumable_flush(struct resumable *r);
/* The number of the message with the element that was appended last; 0 before
 * the first. */
uint64_t resumable_number(const struct resumable *r);
/* Whether another message may be built now: the limit is not reached, and not
 * much is waiting for the channel. */
bool resumable_has_room(const struct resumable *r);
/* Bytes that are not acknowledged, those being built included. */
size_t resumable_bytes(const struct resumable *r);
/* Whether an append has failed. The session cannot go on then. */
bool resumable_failed(const struct resumable *r);

/* ---- incoming ---- */

/* While held, no further bytes are granted: what arrived has not been consumed.
 */
void resumable_hold(struct resumable *r, bool hold);
/* Raises the limit in tasks to grant. */
void resumable_grant_tasks(struct resumable *r, uint64_t tasks);

/* ---- for channel.c ---- */

/* The next message to send; NULL when there is none or the limit is reached.
 * It stays valid until resumable_release, also when it is acknowledged or the
 * resumable is freed before. */
struct resumable_message *resumable_next(struct resumable *r);
void resumable_release(struct resumable_message *m);
/* Sets `ack` and returns true if the peer does not know it yet and, with
 * `alone` (nothing else is about to be sent), it is to go out now. */
bool resumable_take_ack(struct resumable *r, bool alone,
                        struct resumable_ack *ack);
/* An acknowledgement has arrived. 0, or -1 and `e` (kind "protocol"). */
int resumable_acknowledge(struct resumable *r, const struct resumable_ack *ack,
                          struct err *e);
/* A message begins to arrive: is it within the granted limit? */
int resumable_admit(struct resumable *r, struct err *e);
/* A message has arrived. As on_message. */
int resumable_receive(struct resumable *r, const uint8_t *data, size_t len,
                      struct err *e);

#endif
