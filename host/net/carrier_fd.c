/* SPDX-License-Identifier: MIT */
#include "net/carrier_fd.h"

#include "base/container.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_SIZE = 256 * 1024 };

/* One direction; only the first of two that are the same socket is on the
 * loop. */
struct end {
  struct loop_io io;
  bool socket;
  bool watched; /* on the loop, for `events` */
  uint32_t events;
};

struct carrier_fd {
  struct carrier base;
  struct loop *loop;
  struct end in, out;
  bool same; /* `in` and `out` are the same descriptor */
  bool paused, sending;
  bool soon; /* see loop_expect_soon */
  bool ended;
  bool busy;   /* inside a callback of the loop: closing only sets `closed` */
  bool closed; /* to be freed when it returns */
  int error;   /* of a write, to be reported */
  struct loop_timer failed;
  struct carrier_parts parts; /* that have not been taken */
  uint8_t data[READ_SIZE];
};

static struct carrier_fd *of(struct carrier *c)
{
  return CONTAINER_OF(c, struct carrier_fd, base);
}

/* ---- interest ---- */

/* `keep`: also without events, to notice the end. */
static void watch(struct carrier_fd *c, struct end *end, uint32_t events,
                  bool keep)
{
  struct err ignored;
  if (!events && !keep) {
    if (end->watched) loop_io_remove(c->loop, &end->io);
    end->watched = false;
    return;
  }
  if (end->watched && end->events == events) return;
  if (end->watched)
    loop_io_set(c->loop, &end->io, events, &ignored);
  else
    loop_io_add(c->loop, &end->io, events, &ignored);
  end->watched = true;
  end->events = events;
}

/* A hangup is reported whatever the events are. So a socket that is paused is
 * not watched: the bytes before its end would be lost, or reported again and
 * again. */
static void update(struct carrier_fd *c)
{
  bool live = c->base.started && !c->ended && !c->closed;
  uint32_t in = live && !c->paused ? EPOLLIN : 0;
  uint32_t out = live && c->sending ? EPOLLOUT : 0;
  if (c->same) {
    watch(c, &c->in, in | out, false);
    return;
  }
  watch(c, &c->in, in, false);
  watch(c, &c->out, out, live);
}

/* ---- the end ---- */

static void destroy(struct carrier_fd *c)
{
  close(c->in.io.fd);
  if (!c->same) close(c->out.io.fd);
  free(c);
}

/* The other end of a descriptor is a process beside this one, mostly. */
static void expect_soon(struct carrier_fd *c, bool soon)
{
  if (c->soon != soon) loop_expect_soon(c->loop, soon);
  c->soon = soon;
}

/* `error` 0: the peer has closed the stream. */
static void end(struct carrier_fd *c, int error)
{
  struct err e;
  if (c->ended || c->closed) return;
  c->ended = true;
  loop_timer_clear(c->loop, &c->failed);
  update(c);
  expect_soon(c, false);
  if (error)
    err_errno(&e, "lost", error, "the connection broke");
  else
    err_set(&e, "lost", "the connection was closed");
  c->base.events->on_end(c->base.arg, &e);
}

static void leave(struct carrier_fd *c)
{
  c->busy = false;
  if (c->closed)
    destroy(c);
  else
    update(c);
}

/* ---- reading ---- */

/* Delivers what one read returns. Returns false when there is no more now. */
static bool read_once(struct carrier_fd *c)
{
  struct end *in = &c->in;
  ssize_t n;
  do
    n = in->socket ? recv(in->io.fd, c->data, READ_SIZE, MSG_DONTWAIT)
                   : read(in->io.fd, c->data, READ_SIZE);
  while (n < 0 && errno == EINTR);
  if (n > 0) {
    c->base.events->on_bytes(c->base.arg, c->data, (size_t)n);
    return true;
  }
  if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
    end(c, n == 0 ? 0 : errno);
  return false;
}

/* The peer reads no more: delivers what it has sent before, unless paused, and
 * ends. */
static void finish(struct carrier_fd *c, int error)
{
  struct pollfd p = {.fd = c->in.io.fd, .events = POLLIN};
  while (!c->ended && !c->closed && !c->paused && poll(&p, 1, 0) > 0)
    if (!read_once(c)) break;
  end(c, error);
}

/* ---- writing ---- */

static ssize_t write_some(struct carrier_fd *c)
{
  struct end *out = &c->out;
  struct msghdr message = {.msg_iov = c->parts.list,
                           .msg_iovlen = (size_t)c->parts.count};
  if (out->socket)
    return sendmsg(out->io.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  /* a pipe or terminal that is ready takes PIPE_BUF bytes at once */
  struct pollfd p = {.fd = out->io.fd, .events = POLLOUT};
  if (poll(&p, 1, 0) <= 0 || !(p.revents & (POLLOUT | POLLERR))) {
    errno = EAGAIN;
    return -1;
  }
  const struct iovec *first = c->parts.list;
  size_t n = first->iov_len < PIPE_BUF ? first->iov_len : PIPE_BUF;
  return write(out->io.fd, first->iov_base, n);
}

/* Returns 1 when all parts are taken, 0 when some are not, -1 on an error,
 * which is reported later. */
static int flush(struct carrier_fd *c)
{
  while (c->parts.count) {
    ssize_t n = write_some(c);
    if (n >= 0) {
      carrier_parts_drop(&c->parts, (size_t)n);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return 0;
    } else if (errno != EINTR) {
      c->error = errno;
      loop_timer_set(c->loop, &c->failed, 0);
      return -1;
    }
  }
  return 1;
}

static void on_failed(struct loop_timer *timer)
{
  struct carrier_fd *c = CONTAINER_OF(timer, struct carrier_fd, failed);
  c->busy = true;
  finish(c, c->error);
  leave(c);
}

static void write_more(struct carrier_fd *c)
{
  int rv = flush(c);
  if (rv == 0) return;
  c->sending = false;
  if (rv > 0) c->base.events->on_sent(c->base.arg);
}

/* ---- events ---- */

static void on_in(struct loop_io *io, uint32_t events)
{
  struct carrier_fd *c = CONTAINER_OF(io, struct carrier_fd, in.io);
  c->busy = true;
  if (c->same && c->sending && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
    write_more(c);
  if (!c->closed && !c->ended && !c->paused &&
      (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
    read_once(c);
  leave(c);
}

static void on_out(struct loop_io *io, uint32_t events)
{
  struct carrier_fd *c = CONTAINER_OF(io, struct carrier_fd, out.io);
  c->busy = true;
  if (events & (EPOLLERR | EPOLLHUP))
    finish(c, EPIPE);
  else if (c->sending)
    write_more(c);
  leave(c);
}

/* ---- the carrier ---- */

static void fd_start(struct carrier *base)
{
  struct carrier_fd *c = of(base);
  update(c);
  expect_soon(c, true);
}

static bool fd_send(struct carrier *base, const struct iovec *parts, int count)
{
  struct carrier_fd *c = of(base);
  carrier_parts_set(&c->parts, parts, count);
  if (c->ended || c->error) return false;
  int rv = flush(c);
  c->sending = rv == 0;
  if (c->sending && !c->busy) update(c);
  return rv > 0;
}

static void fd_pause(struct carrier *base, bool pause)
{
  struct carrier_fd *c = of(base);
  c->paused = pause;
  if (!c->busy) update(c);
}

static void fd_close(struct carrier *base)
{
  struct carrier_fd *c = of(base);
  c->closed = true;
  loop_timer_clear(c->loop, &c->failed);
  update(c);
  expect_soon(c, false);
  if (!c->busy) destroy(c);
}

static const struct carrier_type type = {fd_start, fd_send, fd_pause, fd_close};

/* ---- construction ---- */

static int end_init(struct carrier_fd *c, struct end *end, int fd,
                    void (*on_ready)(struct loop_io *, uint32_t), struct err *e)
{
  struct stat s;
  end->io.fd = fd;
  end->io.on_ready = on_ready;
  end->socket = fstat(fd, &s) == 0 && S_ISSOCK(s.st_mode);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  /* epoll tells which descriptors it cannot watch */
  if (loop_io_add(c->loop, &end->io, 0, e) < 0) return -1;
  loop_io_remove(c->loop, &end->io);
  return 0;
}

struct carrier *carrier_fd_new(struct loop *loop, int in, int out,
                               const char *peer, struct err *e)
{
  struct carrier_fd *c = malloc(sizeof(*c));
  if (!c) {
    err_set(e, "memory", "out of memory for a connection");
    close(in);
    if (out != in) close(out);
    return NULL;
  }
  /* without its buffer, which takes no memory before it is used */
  memset(c, 0, offsetof(struct carrier_fd, data));
  c->base.type = &type;
  snprintf(c->base.peer, sizeof(c->base.peer), "%s", peer);
  c->loop = loop;
  c->same = in == out;
  c->failed.on_expire = on_failed;
  c->out.io.fd = out;
  if (end_init(c, &c->in, in, on_in, e) == 0 &&
      end_init(c, &c->out, out, on_out, e) == 0)
    return &c->base;
  destroy(c);
  return NULL;
}
