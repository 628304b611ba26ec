/* SPDX-License-Identifier: MIT */
/* A carrier over a stream of nng: tcp and ipc. The loop waits for its
 * descriptor where that can be told; nng's threads only post to the loop's
 * mailbox. [loop]
 */
#ifndef MF_CARRIER_NNG_H
#define MF_CARRIER_NNG_H

#include "event/loop.h"
#include "net/carrier.h"

struct nng_stream;

/* Takes over the stream, also on failure. Sets up TCP: no delay, keepalive. The
 * peer is named "HOST:PORT" or "ipc". NULL and `e` when memory is out (kind
 * "memory") or the connection has ended already (kind "lost"). */
struct carrier *carrier_nng_new(struct loop *loop, struct nng_stream *stream,
                                struct err *e);

/* The user at the other end. Returns false where the transport does not tell:
 * ipc and abstract do, tcp does not. */
bool carrier_nng_uid(struct carrier *c, uint64_t *uid);

/* [any] The version of the nng in use: "1.11.0". */
const char *carrier_nng_library_version(void);

/* [main] At exit, when every carrier, dialer and listener is closed and the
 * loop freed. */
void carrier_nng_global_free(void);

#endif
