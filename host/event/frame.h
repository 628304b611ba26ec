/* SPDX-License-Identifier: MIT */
/* struct frame_channel: the channel between a node and a worker, which carries
 * length-prefixed frames (u32 little-endian length, then that many bytes) over
 * a stream socket. All functions are [loop]. Sending never blocks: what the
 * socket does not take is queued. */
#ifndef MF_FRAME_H
#define MF_FRAME_H

#include "base/buf.h"
#include "base/err.h"
#include "event/loop.h"

#include <sys/uio.h>

struct frame_channel;

struct frame_events {
  /* Receives one whole frame; `data` is valid during the call only. The
   * callback may send on, pause or close the channel. */
  void (*on_frame)(void *arg, const uint8_t *data, size_t len);
  /* The peer has closed the channel or violated the protocol; no more events
   * follow. The callback may close the channel. */
  void (*on_end)(void *arg, const struct err *reason);
  /* The socket has taken everything that was queued. May be NULL. */
  void (*on_drained)(void *arg);
};

/* Most parts of one frame_end_with. */
enum { FRAME_MAX_PARTS = 4 };

/* Takes over `fd` on success. A frame longer than `max_frame` ends the channel.
 * NULL and `e` on failure. */
struct frame_channel *frame_open(struct loop *loop, int fd, size_t max_frame,
                                 const struct frame_events *events, void *arg,
                                 struct err *e);

/* Closes the descriptor and frees the channel; queued bytes are lost. Accepts
 * NULL. */
void frame_close(struct frame_channel *c);

/* Starts a frame: the caller appends its bytes to the returned buffer, then
 * calls frame_end. One frame at a time. */
struct buf *frame_begin(struct frame_channel *c);
/* Returns 0, or -1 when the frame is too long or memory is out; the frame is
 * then dropped as a whole and the channel stays usable. */
int frame_end(struct frame_channel *c);
/* The same, with these parts at the end of the frame: large ones, since only
 * what the socket does not take at once is copied. */
int frame_end_with(struct frame_channel *c, const struct iovec *parts,
                   int count);

/* The number of bytes that the socket has not yet taken. */
size_t frame_queued(const struct frame_channel *c);

/* Stops or resumes reading, as backpressure on the peer. Makes no callback
 * itself. Frames that a peer sent before it closed are delivered even while
 * paused. */
void frame_pause(struct frame_channel *c, bool pause);

#endif
