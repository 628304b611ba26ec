/* SPDX-License-Identifier: MIT */
/* struct carrier: a duplex byte stream between two processes, whatever carries
 * it: a stream of nng (carrier_nng.h), a pair of descriptors (carrier_fd.h), or
 * TLS over either (carrier_tls.h). Every function is [loop]; none calls back
 * before it returns.
 *
 * A new carrier delivers nothing until carrier_start. */
#ifndef MF_CARRIER_H
#define MF_CARRIER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct carrier;

struct carrier_events {
  /* Bytes have arrived; `data` is valid during the call. The callback may send
   * on, pause or close the carrier. */
  void (*on_bytes)(void *arg, const uint8_t *data, size_t len);
  /* All bytes of a carrier_send that returned false have been taken. */
  void (*on_sent)(void *arg);
  /* The stream has ended or broken (kinds: "lost"; "refused" and others of TLS,
   * see carrier_tls.h). The text does not name the peer. No more events follow.
   * The callback may close the carrier. */
  void (*on_end)(void *arg, const struct err *reason);
};

/* Most parts of one carrier_send. */
enum { CARRIER_MAX_PARTS = 8 };

struct carrier_type {
  void (*start)(struct carrier *c);
  bool (*send)(struct carrier *c, const struct iovec *parts, int count);
  void (*pause)(struct carrier *c, bool pause);
  void (*close)(struct carrier *c);
};

/* The first member of every carrier. */
struct carrier {
  const struct carrier_type *type;
  const struct carrier_events *events; /* set by carrier_start */
  void *arg;
  bool started;
  /* Of the other end, for logs and limits: "10.0.1.5:40312", "ipc", "ssh
   * alice@build1". */
  char peer[128];
};

/* Begins to deliver events to `events`, which must outlive the carrier; later,
 * hands the carrier over to another owner, also in a callback. */
static inline void carrier_start(struct carrier *c,
                                 const struct carrier_events *events, void *arg)
{
  c->events = events;
  c->arg = arg;
  if (c->started) return;
  c->started = true;
  c->type->start(c);
}

/* Sends the parts, in order. Returns true when all of their bytes have been
 * taken, so that their memory may be used again; otherwise the memory must stay
 * as it is until on_sent, and nothing else may be sent before. Errors are
 * reported by on_end alone. */
static inline bool carrier_send(struct carrier *c, const struct iovec *parts,
                                int count)
{
  return c->type->send(c, parts, count);
}

/* Stops or resumes reading, as backpressure on the peer. While paused, no bytes
 * are delivered, and the end of the stream may be noticed only afterwards. */
static inline void carrier_pause(struct carrier *c, bool pause)
{
  c->type->pause(c, pause);
}

/* Closes the stream and frees the carrier, at once or when its callback has
 * returned. Bytes that were taken still leave where the transport can send them
 * without us; memory of a send that is under way may be reused as soon as this
 * has returned. Accepts NULL. */
static inline void carrier_close(struct carrier *c)
{
  if (c) c->type->close(c);
}

/* ---- for carriers ---- */

/* The parts of a send that is under way. */
struct carrier_parts {
  struct iovec list[CARRIER_MAX_PARTS]; /* without empty ones */
  int count;
};

static inline void carrier_parts_set(struct carrier_parts *p,
                                     const struct iovec *parts, int count)
{
  p->count = 0;
  for (int i = 0; i < count; i++)
    if (parts[i].iov_len) p->list[p->count++] = parts[i];
}

/* Drops the first `n` bytes, which have been taken. */
static inline void carrier_parts_drop(struct carrier_parts *p, size_t n)
{
  int done = 0;
  while (done < p->count && n >= p->list[done].iov_len)
    n -= p->list[done++].iov_len;
  p->count -= done;
  for (int i = 0; i < p->count; i++) p->list[i] = p->list[i + done];
  if (p->count) {
    p->list[0].iov_base = (uint8_t *)p->list[0].iov_base + n;
    p->list[0].iov_len -= n;
  }
}

#endif
