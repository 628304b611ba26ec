/* SPDX-License-Identifier: MIT */
/* What the files of a channel share: channel.c (its life, requests),
 * channel_send.c and channel_read.c. */
#ifndef MF_CHANNEL_INTERNAL_H
#define MF_CHANNEL_INTERNAL_H

#include "net/channel.h"
#include "net/preface.h"
#include "wire/protocol.h"

enum {
  HEAD_SIZE = 4,
  ID_SIZE = 4,
  ACK_SIZE = 24,
  /* Pieces of numbered messages in one send. Its first part has all small
   * frames and the head of the first piece, the others have heads of their own.
   */
  MAX_SLICES = CARRIER_MAX_PARTS / 2,
};

/* A request that waits for its reply. */
struct channel_call {
  LIST_ENTRY(channel_call) link;
  uint32_t id;
  channel_on_reply *on_reply; /* NULL: the reply is dropped */
  void *arg;
};

struct channel {
  struct carrier *carrier;
  struct loop *loop;
  const struct channel_events *events;
  void *arg;
  struct resumable *resumable;
  char peer[sizeof(((struct carrier *)0)->peer)];
  struct loop_msg later;   /* reports the end, or frees the channel */
  struct loop_timer delay; /* of a fault: a send that is late */
  struct err reason;       /* of the end */
  int depth;               /* callbacks that are under way */
  bool posted;             /* `later` is in the mailbox */
  bool ended;              /* nothing is sent or received any more */
  bool reported;           /* by on_end, or nobody is interested */
  bool closed;
  bool waits; /* for the peer's preface, before anything is sent */
  /* ---- outgoing ---- */
  bool sending;       /* the memory of `parts` belongs to the carrier */
  struct buf queue;   /* whole frames that go next */
  struct buf flight;  /* first part of the send under way */
  size_t replies;     /* bytes of replies in `queue` */
  size_t replies_out; /* and in `flight` */
  struct resumable_message *message; /* being cut into frames */
  size_t message_at;
  struct iovec parts[CARRIER_MAX_PARTS]; /* of the send under way */
  int part_count;
  struct resumable_message *slices[MAX_SLICES]; /* to be released after it */
  int slice_count;
  uint8_t heads[MAX_SLICES][HEAD_SIZE];
  LIST_HEAD(channel_calls, channel_call) calls;
  unsigned call_count;
  uint32_t last_id;
  /* ---- incoming ---- */
  struct preface preface;
  uint8_t head[HEAD_SIZE];
  size_t head_len;
  enum protocol_frame kind; /* of the frame that arrives */
  size_t left;              /* bytes of the frame that have not arrived */
  bool dropping;            /* the rest of a numbered frame */
  bool paused;              /* too many replies are unsent */
  struct buf frame;         /* a frame that has arrived in part */
  struct assembly assembly; /* a numbered message that has arrived in part */
  struct buf unread;        /* arrived while paused */
  struct buf asked;         /* ids of requests to be replied to: uint32_t */
};

/* Every callback into a channel is between these. The owner's calls meanwhile
 * only set state; channel_leave acts upon it: it reports the end, frees the
 * channel, or sends. */
void channel_enter(struct channel *c);
void channel_leave(struct channel *c);

/* Has the loop enter and leave, unless a callback is under way. */
void channel_post(struct channel *c);

/* Ends the channel, whose carrier has not ended. The owner learns it in
 * channel_leave. */
void channel_fail(struct channel *c, const struct err *reason);
void channel_fail_memory(struct channel *c);
void channel_fail_fault(struct channel *c);

struct channel_call *channel_find_call(struct channel *c, uint32_t id);
bool channel_has_asked(const struct channel *c, uint32_t id);

/* Lets go of the messages of the send that is done. */
void channel_drop_slices(struct channel *c);

/* ---- channel_send.c ---- */

/* Appends a frame to what is sent next. -1 when memory is out. */
int channel_add_frame(struct channel *c, enum protocol_frame kind, uint32_t id,
                      const void *data, size_t len);
/* Sends what there is; the caller must not use the channel afterwards, which
 * may be freed. */
void channel_pump(struct channel *c);
void channel_on_sent(void *arg);
void channel_on_delay(struct loop_timer *timer);

/* ---- channel_read.c ---- */

void channel_on_bytes(void *arg, const uint8_t *data, size_t len);
/* Reads what has arrived while there was no room for replies. */
void channel_read_on(struct channel *c);

#endif
