/* SPDX-License-Identifier: MIT */
#include "pipe_carrier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void start(struct carrier *c)
{
  ((struct pipe_end *)c)->started = true;
}

static bool send_parts(struct carrier *c, const struct iovec *parts, int count)
{
  struct pipe_end *p = (struct pipe_end *)c;
  size_t total = 0;
  p->wrong |= p->count || p->closed || !p->started || count < 1 ||
              count > CARRIER_MAX_PARTS;
  for (int i = 0; i < count; i++) {
    p->wrong |= !parts[i].iov_len || !parts[i].iov_base;
    total += parts[i].iov_len;
  }
  p->sends++;
  if (total > p->largest) p->largest = total;
  if (p->ended) return true;
  memcpy(p->parts, parts, (size_t)count * sizeof(*parts));
  p->count = count;
  for (size_t n = p->room; p->count && n;) {
    size_t some = p->parts[0].iov_len < n ? p->parts[0].iov_len : n;
    n -= some;
    buf_add(&p->wire, p->parts[0].iov_base, some);
    p->parts[0].iov_base = (uint8_t *)p->parts[0].iov_base + some;
    p->parts[0].iov_len -= some;
    if (p->parts[0].iov_len) break;
    memmove(p->parts, p->parts + 1, (size_t)--p->count * sizeof(*parts));
  }
  return !p->count;
}

static void pause_reading(struct carrier *c, bool pause)
{
  struct pipe_end *p = (struct pipe_end *)c;
  p->wrong |= p->closed;
  p->paused = pause;
}

static void close_end(struct carrier *c)
{
  struct pipe_end *p = (struct pipe_end *)c;
  p->wrong |= p->closed;
  p->closed = true;
  p->count = 0; /* the memory is the sender's again */
}

void pipe_init(struct pipe_end *a, struct pipe_end *b)
{
  static const struct carrier_type type = {start, send_parts, pause_reading,
                                           close_end};
  struct pipe_end *ends[] = {a, b};
  for (int i = 0; i < 2; i++) {
    struct pipe_end *p = ends[i];
    memset(p, 0, sizeof(*p));
    p->carrier.type = &type;
    p->peer = ends[1 - i];
    snprintf(p->carrier.peer, sizeof(p->carrier.peer), "pipe %d", i);
    buf_init(&p->wire, SIZE_MAX / 4);
  }
}

void pipe_free(struct pipe_end *end)
{
  buf_free(&end->wire);
}

void pipe_take(struct pipe_end *p, size_t n)
{
  if (!p->count || p->ended) return;
  struct iovec parts[CARRIER_MAX_PARTS];
  int count = p->count;
  size_t room = p->room, sends = p->sends;
  memcpy(parts, p->parts, sizeof(parts));
  p->count = 0;
  p->room = n;
  bool done = send_parts(&p->carrier, parts, count);
  p->room = room;
  p->sends = sends;
  if (!done) return;
  p->inside = true;
  p->carrier.events->on_sent(p->carrier.arg);
  p->inside = false;
}

/* The end of the stream reaches this end. */
static void deliver_end(struct pipe_end *p, const char *text)
{
  struct err e;
  if (p->ended || p->closed || !p->started) return;
  p->ended = true;
  p->count = 0;
  err_set(&e, "lost", "%s", text);
  p->carrier.events->on_end(p->carrier.arg, &e);
}

void pipe_feed(struct pipe_end *to, const void *data, size_t len)
{
  if (to->closed || to->ended || !len) return;
  uint8_t copy[4096];
  for (const uint8_t *from = data; len && !to->closed && !to->ended;) {
    size_t n = len < sizeof(copy) ? len : sizeof(copy);
    memcpy(copy, from, n);
    to->carrier.events->on_bytes(to->carrier.arg, copy, n);
    memset(copy, 0xee, n); /* valid during the call only */
    from += n;
    len -= n;
  }
}

bool pipe_deliver(struct pipe_end *from, size_t n)
{
  struct pipe_end *to = from->peer;
  if (to->closed || to->ended || to->paused || !to->started) return false;
  if (from->at == from->wire.len) {
    if (!from->closed && !from->ended) return false;
    deliver_end(to, "the peer closed the connection");
    return true;
  }
  if (n > from->wire.len - from->at) n = from->wire.len - from->at;
  if (!n) return false;
  uint8_t *bytes = malloc(n); /* of its own, for a sanitizer */
  if (!bytes) return false;
  memcpy(bytes, from->wire.data + from->at, n);
  from->at += n;
  if (from->at > from->wire.len / 2) {
    buf_consume(&from->wire, from->at);
    from->at = 0;
  }
  to->carrier.events->on_bytes(to->carrier.arg, bytes, n);
  free(bytes);
  return true;
}

void pipe_run(struct pipe_end *a, struct pipe_end *b)
{
  bool more = true;
  while (more) {
    more = a->count && !a->ended;
    more |= b->count && !b->ended;
    pipe_take(a, SIZE_MAX);
    pipe_take(b, SIZE_MAX);
    more |= pipe_deliver(a, SIZE_MAX);
    more |= pipe_deliver(b, SIZE_MAX);
  }
}

void pipe_break(struct pipe_end *end)
{
  buf_clear(&end->peer->wire);
  end->peer->at = 0;
  deliver_end(end, "the connection broke");
}
