/* SPDX-License-Identifier: MIT */
/* dialer_dial, the driver's way to a node: connects a carrier, with TLS where
 * the address asks for it, and makes a channel of it. [loop] */
#ifndef MF_DIALER_H
#define MF_DIALER_H

#include "net/channel.h"

struct tls_identity;
struct dialer;

struct dialer_options {
  struct loop *loop;
  const char *url;  /* tcp://HOST:PORT, ipc://PATH, abstract://NAME; or NULL */
  int in, out;      /* without a URL: descriptors, which are taken over */
  const char *name; /* with descriptors: of the peer, for messages */
  /* For tcp; must outlive the dialer. NULL: without TLS. */
  struct tls_identity *tls;
  bool insecure;    /* without TLS also to other machines */
  uint64_t timeout; /* nanoseconds until the peer's preface */
};

/* Called once: with a channel that is ready, of which the caller is the owner
 * now (its events are `events`), or NULL and `e`: kind "connect" (refused, no
 * route, no such host, something else answers there), "timeout", "skew"
 * (another protocol), "lost" (closed before the preface), "memory", "tls" (see
 * tls.h). The text begins with the URL or the name. */
typedef void dialer_on_done(void *arg, struct channel *channel,
                            const struct err *e);

/* Whether the URL may be used: over TCP only this machine is reached without
 * keys, unless that is wanted. 0, or -1 and `e` (kind "usage"). */
int dialer_check(const char *url, bool has_keys, bool insecure, struct err *e);

/* Starts to connect. Descriptors are taken over, also on failure. NULL and `e`
 * when the URL is malformed or may not be used (kind "usage"), a
 * descriptor is no stream ("file") or memory is out. */
struct dialer *dialer_dial(const struct dialer_options *options,
                           const struct channel_events *events,
                           void *events_arg, dialer_on_done *on_done, void *arg,
                           struct err *e);
/* Before on_done: it is never called. */
void dialer_cancel(struct dialer *d);

#endif
