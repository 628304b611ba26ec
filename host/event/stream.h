/* SPDX-License-Identifier: MIT */
/* This unit provides byte streams over descriptors that may be slow: pipes,
 * terminals, sockets, and plain files (which are always ready). Reading and
 * writing never block the loop, and the descriptor's O_NONBLOCK flag, which
 * other processes may share, is left alone. [loop] */
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
  bool watched;                       /* interest is registered */
  bool plain;                         /* epoll does not take it: always ready */
  bool owned;                         /* stream_close closes the descriptor */
};

/* All-zero is not a stream; fd -1 is a closed one. */
void stream_init(struct stream *s, struct loop *loop, int fd, bool owned);
/* Idempotent. */
void stream_close(struct stream *s);

/* One on_ready call when the stream can be read (or written) without blocking.
 * 0 when it will come, 1 when it is ready now (no call), -1 and `e`. */
int stream_wait(struct stream *s, bool write, struct err *e);
void stream_unwait(struct stream *s);

/* After stream_wait: as read(2), for up to `n` bytes. */
ssize_t stream_read(struct stream *s, void *to, size_t n);
/* After stream_wait: as write(2), of at most what cannot block. */
ssize_t stream_write(struct stream *s, const void *from, size_t n);

#endif
