/* SPDX-License-Identifier: MIT */
/* struct tls: one end of a TLS 1.3 connection as a state machine over memory.
 * Bytes of the peer go in by tls_receive, bytes for it come out of tls_output;
 * carrier_tls.h moves them. The identity says which end it is: nodes are
 * servers, drivers and observers clients.
 *
 * Errors are what the caller puts behind the address of the peer: "rejected our
 * certificate (expired)". Kinds: "tls" (one side rejected the other, or the
 * peer breaks the rules of TLS), "skew" (it speaks another version of our
 * protocol), "memory". After an error the connection has failed; what
 * tls_output has then, an alert, is still to be sent, since the peer learns the
 * reason from it. [loop] */
#ifndef MF_TLS_H
#define MF_TLS_H

#include "base/buf.h"
#include "base/err.h"
#include "net/carrier.h"
#include "net/tls_identity.h"

#include <stdbool.h>

struct tls;

enum tls_state {
  TLS_HANDSHAKE,
  TLS_OPEN,   /* the peer is verified; a client may still be rejected by it */
  TLS_CLOSED, /* the peer has closed its direction */
  TLS_FAILED,
};

/* Begins a connection; a client's tls_output has its first bytes. A server
 * takes next to no memory until the peer has sent some. NULL and `e` (kind
 * "memory"). */
struct tls *tls_new(const struct tls_identity *id, struct err *e);
void tls_free(struct tls *t); /* accepts NULL */

enum tls_state tls_state(const struct tls *t);

/* Takes bytes that the peer has sent and appends what they contain to `plain`,
 * at most TLS_RECORD bytes more than `len`. 0, or -1 and `e`; what was appended
 * before the error is valid. */
int tls_receive(struct tls *t, const void *data, size_t len, struct buf *plain,
                struct err *e);
enum { TLS_RECORD = 16 * 1024 }; /* bytes in a record, at most (RFC 8446) */

/* Encrypts the next bytes of `from`, at most `max`, into tls_output, and drops
 * them there. Small parts share a record. Only when TLS_OPEN. 0, or -1 and `e`.
 */
int tls_send(struct tls *t, struct carrier_parts *from, size_t max,
             struct err *e);

/* Tells the peer that nothing more follows. */
void tls_finish(struct tls *t);

/* The bytes for the peer, which the caller takes out. */
struct buf *tls_output(struct tls *t);

/* The transport has ended. Returns -1 and `e` if that has to do with TLS, 0 if
 * the connection was in use. */
int tls_end(const struct tls *t, struct err *e);

/* The facts of the peer's certificate; NULL before it is verified. They stay
 * when the connection fails: bytes that came before that belong to this peer.
 * `not_after` is the first expiry in its chain. */
const struct certificate *tls_peer(const struct tls *t);

/* Whether it was made with the keys that the identity has now. */
bool tls_is_current(const struct tls *t, const struct tls_identity *id);

/* Verifies the peer again, by the keys that the identity has now. 0, or -1 and
 * `e`. Does nothing before TLS_OPEN. */
int tls_verify(const struct tls *t, const struct tls_identity *id,
               struct err *e);

/* The texts for what a caller finds out by itself; both return -1.
 * The peer has not done the handshake within its time (kind "timeout"). */
int tls_set_no_answer(int seconds, struct err *e);
/* A peer that was called without TLS has closed the connection before it has
 * sent anything (kind "lost"). */
int tls_set_closed_at_once(struct err *e);

#endif
