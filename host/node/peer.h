/* SPDX-License-Identifier: MIT */
/* struct peer: one channel to the node: of a driver, which has opened a session
 * on it, or of somebody who only asks for the status. A channel without a
 * session is closed when it has been silent for PEER_IDLE_TIMEOUT; when there
 * are too many of them, the one that has been silent for longest is closed. The
 * only channel of a private or launched node may be silent. [loop] */
#ifndef MF_PEER_H
#define MF_PEER_H

#include "node/state.h"

enum {
  /* Channels without a session; or a quarter of the descriptors, if that is
   * less. */
  PEER_MAX_IDLE = 256,
  /* Cancellations of one peer that wait for a message. */
  PEER_MAX_DEFERRED = 64,
};
#define PEER_IDLE_TIMEOUT (15 * LOOP_S)

/* A cancellation that waits for a message of the driver (see protocol.h). */
struct deferred_cancel {
  STAILQ_ENTRY(deferred_cancel) link;
  uint64_t after;
  uint32_t id; /* of the request */
  size_t len;
  uint8_t tasks[]; /* the encoded list */
};

struct peer {
  TAILQ_ENTRY(peer) link; /* of node->idle, unless it has a session */
  struct node *node;
  struct channel *channel;
  struct session *session; /* or NULL */
  uint64_t heard;          /* its last request, by the loop's clock */
  STAILQ_HEAD(deferred_cancels, deferred_cancel) cancels;
  int cancel_count;
};

/* What the certificate of the other end says. */
struct peer_identity {
  const char *name;   /* NULL: there is none */
  const char *role;   /* "driver" or "observer" */
  const char *serial; /* NULL: there is none */
  bool may_submit;    /* it may do more than ask for the status */
};

void peers_init(struct node *n);
/* Closes all that have no session. */
void peers_close(struct node *n);

/* A peer without a session, which owns the channel. NULL when memory is out. */
struct peer *peer_new(struct node *n, struct channel *c);
/* Closes the channel; its session goes on without it. A node that has only this
 * one ends (serve_options.h). */
void peer_close(struct peer *p);

/* Notes a sign of life. */
void peer_heard(struct peer *p);

/* The channel carries the session from now on; neither had another one. */
void peer_join(struct peer *p, struct session *s);
/* The session, if there is one, goes on without the channel. */
void peer_leave(struct peer *p);

/* Keeps a cancellation for later. Returns 0; -1 when there are too many or
 * memory is out. */
int peer_defer(struct peer *p, uint64_t after, uint32_t id,
               const uint8_t *tasks, size_t len);
/* Takes one that need not wait any longer, for the caller to free, or NULL. */
struct deferred_cancel *peer_take_deferred(struct peer *p);

/* Over a carrier without certificates everybody who can connect is a driver. */
struct peer_identity peer_identity(const struct peer *p);

#endif
