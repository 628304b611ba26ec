/* SPDX-License-Identifier: MIT */
/* struct listener: a node's addresses. It accepts connections, holds strangers
 * within limits until they have proved what they are (TLS handshake and
 * preface), and hands out channels. [loop] */
#ifndef MF_LISTENER_H
#define MF_LISTENER_H

#include "net/channel.h"

enum {
  /* Connections that are not channels yet, or a quarter of the descriptors
   * (`ulimit -n`), if that is less. Above it the oldest one of the address with
   * most of them is closed. */
  LISTENER_MAX_PENDING = 256,
  LISTENER_MAX_PER_ADDRESS = 16, /* of these, from one IP address */
};
/* Of the whole handshake and preface, not of each byte. */
#define LISTENER_HANDSHAKE_TIMEOUT (5 * LOOP_S)

struct assembly_set;
struct tls_identity;
struct listener;

struct listener_options {
  struct loop *loop;
  const char *const *urls; /* ends with NULL */
  /* Sockets of ipc addresses get this mode, whatever the umask, before anybody
   * can connect. Without bits for others in it, only connections of this
   * process's user and of root are accepted. */
  int ipc_mode;
  struct tls_identity *tls;        /* of tcp addresses; NULL: none */
  struct assembly_set *unfinished; /* of the channels; outlives them */
};

/* A peer has connected: the callee is the owner of the channel, whose events go
 * to `events` with what the callee returns as `arg`; NULL refuses it (the
 * channel is closed then). */
typedef void *listener_on_channel(void *arg, struct channel *c);

/* Listens on every URL; NULL and `e` (kind "usage": in use, malformed, not
 * permitted) when one fails. */
struct listener *listener_new(const struct listener_options *options,
                              const struct channel_events *events,
                              listener_on_channel *on_channel, void *arg,
                              struct err *e);
/* Closes the sockets and what is pending; channels stay. Accepts NULL. */
void listener_free(struct listener *l);

#endif
