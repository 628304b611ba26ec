/* SPDX-License-Identifier: MIT */
#include "event/frame.h"

#include "base/container.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 64 * 1024, HEAD_SIZE = 4 };

struct frame_channel {
  struct loop_io io;
  struct loop *loop;
  struct frame_events events;
  void *arg;
  size_t max_frame;
  struct buf in, out;
  size_t sent;  /* bytes of `out` the socket has taken */
  size_t start; /* where the frame being built begins in `out` */
  bool paused, ended;
  bool backlog; /* unpaused, and `in` may hold whole frames to deliver */
  bool last;    /* the peer has closed: deliver all it sent, paused or not */
  bool busy;    /* inside on_ready: frame_close only sets `closed` */
  bool closed;  /* to be freed when on_ready returns */
};

static void update_interest(struct frame_channel *c)
{
  struct err ignored;
  if (c->ended) return;
  uint32_t events =
      (c->paused ? 0 : (uint32_t)EPOLLIN) |
      (c->backlog || c->sent < c->out.len ? (uint32_t)EPOLLOUT : 0);
  loop_io_set(c->loop, &c->io, events, &ignored);
}

static void end(struct frame_channel *c, const struct err *reason)
{
  if (c->ended || c->closed) return;
  c->ended = true;
  loop_io_remove(c->loop, &c->io);
  c->events.on_end(c->arg, reason);
}

static void destroy(struct frame_channel *c)
{
  close(c->io.fd);
  buf_free(&c->in);
  buf_free(&c->out);
  free(c);
}

/* Writes what the socket takes. Errors are found by the next read: a socket
 * that cannot be written to is also readable (end or reset). */
static void flush(struct frame_channel *c)
{
  while (c->sent < c->out.len) {
    ssize_t n = send(c->io.fd, c->out.data + c->sent, c->out.len - c->sent,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    c->sent += (size_t)n;
  }
  /* The queue may never become empty: drop what is sent once it is the larger
   * part, which moves each byte once on average. */
  if (c->sent < c->out.len - c->sent) return;
  buf_consume(&c->out, c->sent);
  c->sent = 0;
  if (!c->out.len) buf_reset(&c->out);
}

/* Delivers the whole frames in `in`. */
static void parse(struct frame_channel *c)
{
  size_t at = 0;
  c->backlog = false;
  while (!c->closed && !c->ended && c->in.len - at >= HEAD_SIZE) {
    const uint8_t *p = c->in.data + at;
    size_t len = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 |
                 (size_t)p[3] << 24;
    if (len > c->max_frame) {
      struct err e;
      err_set(&e, "protocol", "frame of %zu bytes is over the limit of %zu",
              len, c->max_frame);
      end(c, &e);
      return;
    }
    if (c->in.len - at - HEAD_SIZE < len) break;
    at += HEAD_SIZE + len;
    c->events.on_frame(c->arg, p + HEAD_SIZE, len);
    if (c->paused && !c->last) break;
  }
  if (c->closed || c->ended) return;
  buf_consume(&c->in, at);
  if (!c->in.len) buf_reset(&c->in);
}

static void fill(struct frame_channel *c)
{
  struct err e;
  uint8_t *to = buf_room(&c->in, READ_SIZE);
  if (!to) {
    err_set(&e, "memory", "out of memory for a frame");
    end(c, &e);
    return;
  }
  ssize_t n = recv(c->io.fd, to, READ_SIZE, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0)
    err_errno(&e, "lost", errno, "the channel broke");
  else if (n == 0)
    err_set(&e, "lost", "the peer closed the channel");
  else
    c->in.len += (size_t)n;
  c->last |= n <= 0;
  parse(c);
  if (n <= 0) end(c, &e);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
  struct frame_channel *c = CONTAINER_OF(io, struct frame_channel, io);
  c->busy = true;
  if (events & EPOLLOUT) {
    bool queued = c->sent < c->out.len;
    flush(c);
    if (c->backlog) parse(c);
    if (c->sent == c->out.len) update_interest(c);
    if (queued && c->sent == c->out.len && !c->ended && !c->closed &&
        c->events.on_drained)
      c->events.on_drained(c->arg);
  }
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !c->ended) fill(c);
  c->busy = false;
  if (c->closed) destroy(c);
}

struct frame_channel *frame_open(struct loop *loop, int fd, size_t max_frame,
                                 const struct frame_events *events, void *arg,
                                 struct err *e)
{
  struct frame_channel *c = err_calloc(sizeof(*c), "a channel", e);
  if (!c) return NULL;
  c->io.fd = fd;
  c->io.on_ready = on_ready;
  c->loop = loop;
  c->events = *events;
  c->arg = arg;
  c->max_frame = max_frame;
  buf_init(&c->in, max_frame + HEAD_SIZE + READ_SIZE);
  /* the caller limits the queue, by frame_queued */
  buf_init(&c->out, SIZE_MAX / 4);
  if (loop_io_add(loop, &c->io, EPOLLIN, e) == 0) return c;
  free(c);
  return NULL;
}

void frame_close(struct frame_channel *c)
{
  if (!c || c->closed) return;
  if (!c->ended) loop_io_remove(c->loop, &c->io);
  c->ended = true;
  c->closed = true;
  if (!c->busy) destroy(c);
}

struct buf *frame_begin(struct frame_channel *c)
{
  c->start = c->out.len;
  buf_add(&c->out, "\0\0\0\0", HEAD_SIZE);
  return &c->out;
}

/* Sends what is in `out` and then the parts, of which it copies to `out` what
 * the socket does not take. Returns 0, or -1 when memory is out; as the peer
 * may have got a part of the frame then, the channel breaks. */
static int send_parts(struct frame_channel *c, const struct iovec *parts,
                      int count)
{
  struct iovec all[1 + FRAME_MAX_PARTS] = {{c->out.data, c->out.len}};
  struct msghdr message = {.msg_iov = all, .msg_iovlen = (size_t)count + 1};
  if (count) memcpy(&all[1], parts, (size_t)count * sizeof(*parts));
  ssize_t n = sendmsg(c->io.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  size_t left = n < 0 ? 0 : (size_t)n; /* errors: see flush */
  c->sent = left < c->out.len ? left : c->out.len;
  left -= c->sent;
  for (int i = 0; i < count; i++) {
    size_t taken = left < parts[i].iov_len ? left : parts[i].iov_len;
    left -= taken;
    buf_add(&c->out, (const uint8_t *)parts[i].iov_base + taken,
            parts[i].iov_len - taken);
  }
  if (!c->out.failed) return 0;
  shutdown(c->io.fd, SHUT_RDWR);
  return -1;
}

int frame_end_with(struct frame_channel *c, const struct iovec *parts,
                   int count)
{
  size_t len = c->out.len - c->start - HEAD_SIZE;
  for (int i = 0; i < count; i++) len += parts[i].iov_len;
  bool first = !c->sent && !c->start; /* else EPOLLOUT is on already */
  if (c->out.failed || len > c->max_frame) goto failed;
  uint8_t *p = c->out.data + c->start;
  for (int i = 0; i < HEAD_SIZE; i++) p[i] = (uint8_t)(len >> (8 * i));
  if (first) {
    if (send_parts(c, parts, count) < 0) goto failed;
    flush(c);
    if (c->sent < c->out.len) update_interest(c);
    return 0;
  }
  for (int i = 0; i < count; i++)
    buf_add(&c->out, parts[i].iov_base, parts[i].iov_len);
  if (!c->out.failed) return 0;
failed:
  c->out.len = c->start;
  c->out.failed = false;
  if (c->sent > c->out.len) c->sent = c->out.len;
  return -1;
}

int frame_end(struct frame_channel *c)
{
  return frame_end_with(c, NULL, 0);
}

size_t frame_queued(const struct frame_channel *c)
{
  return c->out.len - c->sent;
}

void frame_pause(struct frame_channel *c, bool pause)
{
  if (c->paused == pause) return;
  c->paused = pause;
  c->backlog = !pause && c->in.len;
  update_interest(c);
}
