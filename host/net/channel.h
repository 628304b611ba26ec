/* SPDX-License-Identifier: MIT */
/* struct channel: frames over a carrier, in both directions: requests and their
 * replies, acknowledgements, and the numbered messages of a session, cut into
 * frames. At each frame everything else goes before the numbered messages, so a
 * heartbeat never waits for more than one frame. protocol.h describes the
 * bytes. A channel ends when its carrier does, or when the peer violates the
 * protocol; the session outlives it (resumable.h). [loop] */
#ifndef MF_CHANNEL_H
#define MF_CHANNEL_H

#include "base/buf.h"
#include "base/err.h"
#include "event/loop.h"
#include "net/assembly.h"
#include "net/carrier.h"
#include "net/resumable.h"

enum {
  CHANNEL_MAX_FRAME = 256 * 1024,
  /* Bytes of a request or a reply, which are one frame. */
  CHANNEL_MAX_REQUEST = CHANNEL_MAX_FRAME - 4,
  /* Requests without a reply, in each direction. */
  CHANNEL_MAX_REQUESTS = 1024,
  /* Bytes of unsent replies above which the channel is not read. */
  CHANNEL_MAX_REPLIES = 4 * 1024 * 1024,
};

struct channel;

struct channel_events {
  /* The peer has sent its preface: it speaks this protocol. */
  void (*on_ready)(void *arg);
  /* A request; `data` is valid during the call. The callback may reply, attach
   * a resumable, or close the channel. */
  void (*on_request)(void *arg, uint32_t id, const uint8_t *data, size_t len);
  /* The channel has ended: kinds "lost" (it broke), "protocol" (garbage),
   * "skew" (the peer speaks another version; the text says which), "memory",
   * and those of the carrier. Requests without a reply have called back, and
   * the resumable is detached. No more events follow; the callback may close
   * the channel. */
  void (*on_end)(void *arg, const struct err *reason);
};

struct channel_options {
  struct loop *loop;
  /* What comes before the peer's preface is skipped, up to 64 KiB: a login
   * shell may print something. Without it the preface must come first. */
  bool skip_noise;
  /* The preface is sent only after the peer's. */
  bool wait_for_peer;
  /* Of the messages that have arrived in part, or NULL. */
  struct assembly_set *unfinished;
};

/* Takes over the carrier, also on failure, and starts it. NULL and `e` when
 * memory is out. */
struct channel *channel_new(struct carrier *carrier,
                            const struct channel_options *options,
                            const struct channel_events *events, void *arg,
                            struct err *e);
/* Hands it over to another owner, also in a callback. */
void channel_set_events(struct channel *c, const struct channel_events *events,
                        void *arg);
/* Ends it without on_end; requests without a reply never call back. Accepts
 * NULL. May be called in any callback. */
void channel_close(struct channel *c);

/* Carries the messages of that session from now on: detaches one that it had,
 * and this one from any other channel. Nothing is sent before resumable_resume.
 * If the channel has ended, the session has none.
 */
void channel_attach(struct channel *c, struct resumable *r);

/* The name of the other end, for logs. */
const char *channel_peer(const struct channel *c);
struct carrier *channel_carrier(struct channel *c);

/* Called once: the reply (valid during the call), or `e` of kind "lost". */
typedef void channel_on_reply(void *arg, const uint8_t *data, size_t len,
                              const struct err *e);

/* Sends a copy of a request. Returns its id; or 0 and `e` (kind "too_large",
 * "refused": CHANNEL_MAX_REQUESTS have no reply, "memory", "lost"). */
uint32_t channel_request(struct channel *c, const void *data, size_t len,
                         channel_on_reply *on_reply, void *arg, struct err *e);
/* The request never calls back; its reply is dropped. */
void channel_cancel(struct channel *c, uint32_t id);
/* Replies with a copy of `data`; a reply that is too long, or for which there
 * is no memory, ends the channel. */
void channel_reply(struct channel *c, uint32_t id, const void *data,
                   size_t len);

#endif
