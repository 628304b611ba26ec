/* SPDX-License-Identifier: MIT */
/* struct stream: a byte stream over a descriptor that may be slow, such as a
 * pipe, a terminal or a socket, or over a plain file, which is always ready.
 * Reading and writing never block the loop, and never change the descriptor's
 * O_NONBLOCK flag, which other processes may share. [loop] */
#ifndef MF_STREAM_H
#define MF_STREAM_H

#include "base/err.h"
#include "event/loop.h"

#include <stdbool.h>
#include <sys/types.h>

struct stream {
  struct loop_io io; /* fd: -1 when closed */
  struct loop *loop;
  void (*on_ready)(struct stream *s); /* set by the owner */
  bool waiting;                       /* interest is registered */
  bool plain;                         /* a file, always ready */
  bool owned;                         /* stream_close closes the descriptor */
};

/* `fd` may be -1, for a closed stream. */
void stream_init(struct stream *s, struct loop *loop, int fd, bool owned);
/* Idempotent. */
void stream_close(struct stream *s);

/* Calls on_ready once when the stream can be read (or written) without blocking
 * and returns 0; or returns 1 without a call when it can be now; or -1 and `e`.
 */
int stream_wait(struct stream *s, bool write, struct err *e);
/* Does nothing when there is no wait. */
void stream_cancel_wait(struct stream *s);

/* As read(2), once the stream is ready. */
ssize_t stream_read(struct stream *s, void *to, size_t n);
/* As write(2), once the stream is ready; writes no more than cannot block. */
ssize_t stream_write(struct stream *s, const void *from, size_t n);

#endif
