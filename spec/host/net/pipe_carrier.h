/* SPDX-License-Identifier: MIT */
/* A carrier in memory, of which a test moves every byte: what an end sends
 * stays with the sender until pipe_take, and is under way until pipe_deliver.
 * Its memory is read as late as the contract of a carrier permits, so that a
 * sender that reuses it is found out. */
#ifndef MF_PIPE_CARRIER_H
#define MF_PIPE_CARRIER_H

#include "base/buf.h"
#include "net/carrier.h"

struct pipe_end {
  struct carrier carrier; /* first */
  struct pipe_end *peer;
  struct iovec parts[CARRIER_MAX_PARTS]; /* not taken yet */
  int count;
  struct buf wire; /* taken; delivered up to `at` */
  size_t at;
  size_t room;    /* bytes that carrier_send takes at once */
  size_t largest; /* bytes of the largest send */
  size_t sends;
  bool started, paused, closed, ended;
  bool inside; /* a callback of this end is under way */
  bool wrong;  /* the contract of carrier.h was violated */
};

/* Connects two ends, which stay valid until pipe_free, closed or not. */
void pipe_init(struct pipe_end *a, struct pipe_end *b);
void pipe_free(struct pipe_end *end);

/* Takes up to n bytes of a send that is under way. */
void pipe_take(struct pipe_end *from, size_t n);
/* Delivers up to n bytes that `from` has sent; if `from` has closed or ended
 * and there are none, delivers the end. Returns whether anything happened. */
bool pipe_deliver(struct pipe_end *from, size_t n);
/* Takes and delivers everything both ways, until nothing happens. */
void pipe_run(struct pipe_end *a, struct pipe_end *b);
/* Delivers bytes as if the peer had sent them. */
void pipe_feed(struct pipe_end *to, const void *data, size_t len);
/* The connection breaks, at this end: what is under way to it is lost. */
void pipe_break(struct pipe_end *end);

#endif
