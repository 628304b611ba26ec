/* SPDX-License-Identifier: MIT */
/* This unit provides length-prefixed frames (u32 little-endian length, then
 * that many bytes) over a stream socket on a loop: what node and worker say to
 * each other. All functions are [loop]. Sending never blocks: what the socket
 * does not take is queued. */
#ifndef MF_FRAME_H
#define MF_FRAME_H

#include "base/buf.h"
#include "base/err.h"
#include "event/loop.h"

struct frame_channel;

struct frame_events {
  /* One whole frame; `data` is valid during the call only. The callback may
   * send, pause or close the channel. */
  void (*on_frame)(void *arg, const uint8_t *data, size_t len);
  /* The other end is gone, or broke the rules: no further events. The callback
   * may close the channel. */
  void (*on_end)(void *arg, const struct err *why);
};

/* Takes `fd` (made non-blocking) on success. Frames longer than `max_frame`
 * end the channel. */
struct frame_channel *frame_open(struct loop *loop, int fd, size_t max_frame,
                                 const struct frame_events *events, void *arg,
                                 struct err *e);

/* Closes the descriptor and frees; queued bytes are lost. Accepts NULL. */
void frame_close(struct frame_channel *c);

/* Starts a frame: append its bytes to the buffer returned, then frame_end. One
 * frame at a time. */
struct buf *frame_begin(struct frame_channel *c);
/* 0, or -1 when the frame was too long or memory is out: it is dropped whole,
 * the channel stays usable. */
int frame_end(struct frame_channel *c);

/* Bytes queued and not yet taken by the socket. */
size_t frame_queued(const struct frame_channel *c);

/* Stops and restarts reading: backpressure on the other end. Calls nobody back
 * itself. What an end that is gone had sent is handed out all the same. */
void frame_pause(struct frame_channel *c, bool pause);

#endif
