/* SPDX-License-Identifier: MIT */
#include "event/stream.h"

#include "base/container.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static void on_io(struct loop_io *io, uint32_t events)
{
  (void)events;
  struct stream *s = CONTAINER_OF(io, struct stream, io);
  stream_cancel_wait(s);
  s->on_ready(s);
}

void stream_init(struct stream *s, struct loop *loop, int fd, bool owned)
{
  memset(s, 0, sizeof(*s));
  s->io.fd = fd;
  s->io.on_ready = on_io;
  s->loop = loop;
  s->owned = owned;
}

void stream_close(struct stream *s)
{
  stream_cancel_wait(s);
  if (s->owned && s->io.fd >= 0) close(s->io.fd);
  s->io.fd = -1;
}

int stream_wait(struct stream *s, bool write, struct err *e)
{
  if (s->plain) return 1;
  if (loop_io_add(s->loop, &s->io, write ? EPOLLOUT : EPOLLIN, e) == 0) {
    s->waiting = true;
    return 0;
  }
  if (strcmp(e->kind, "file")) return -1;
  s->plain = true;
  return 1;
}

void stream_cancel_wait(struct stream *s)
{
  if (s->waiting) loop_io_remove(s->loop, &s->io);
  s->waiting = false;
}

ssize_t stream_read(struct stream *s, void *to, size_t n)
{
  ssize_t got;
  do got = read(s->io.fd, to, n);
  while (got < 0 && errno == EINTR);
  return got;
}

ssize_t stream_write(struct stream *s, const void *from, size_t n)
{
  /* a pipe or terminal that is ready takes PIPE_BUF bytes at once */
  if (!s->plain && n > PIPE_BUF) n = PIPE_BUF;
  ssize_t put;
  do put = write(s->io.fd, from, n);
  while (put < 0 && errno == EINTR);
  return put;
}
