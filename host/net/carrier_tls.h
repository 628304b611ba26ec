/* SPDX-License-Identifier: MIT */
/* A carrier that wraps another one in TLS 1.3 (tls.h). What is sent before the
 * handshake has been done waits for it. Its on_end has the kinds of TLS as
 * well: "tls" and "skew".
 *
 * A node learns who the peer is by the end of the handshake, before the first
 * on_bytes. A driver whose certificate the node rejects learns that only after
 * its own end of the handshake: it is accepted once the first bytes have come.
 * Nothing limits the time of the handshake: the owner closes the carrier when
 * it takes too long. [loop] */
#ifndef MF_CARRIER_TLS_H
#define MF_CARRIER_TLS_H

#include "event/loop.h"
#include "net/carrier.h"
#include "net/tls_identity.h"

/* Takes over `inner`, which has not been started, also on failure. The identity
 * is used now and need not outlive the carrier. NULL and `e` (kind "memory").
 */
struct carrier *carrier_tls_new(struct loop *loop, struct carrier *inner,
                                const struct tls_identity *id, struct err *e);

/* For any carrier: whether it is one of these. */
bool carrier_is_tls(const struct carrier *c);

/* For any carrier: the verified certificate of the peer, as long as the carrier
 * lives; NULL before the handshake is done, and without TLS. */
const struct certificate *carrier_tls_peer(const struct carrier *c);

/* For any carrier: whether the keys have not changed since it was made; true
 * without TLS. */
bool carrier_tls_is_current(const struct carrier *c,
                            const struct tls_identity *id);

/* For any carrier, after tls_identity_reload has returned 1: verifies the peer
 * by the new authorities and revocation lists. 0 (also without TLS, and before
 * the handshake is done), or -1 and `e` (kind "tls"); the caller then closes
 * the connection. */
int carrier_tls_verify(const struct carrier *c, const struct tls_identity *id,
                       struct err *e);

#endif
