/* SPDX-License-Identifier: MIT */
/* struct tls_trust: which peers a node or a driver accepts: the certificate
 * authorities and revocation lists of its folder, its fleet, and the roles that
 * may face its own. A node accepts drivers and observers of its fleet, and
 * those accept nodes of it. Names are compared as a whole: no wildcards, no
 * common names. Used by tls_identity.c and tls.c. [loop] */
#ifndef MF_TLS_TRUST_H
#define MF_TLS_TRUST_H

#include "base/err.h"
#include "wrap/certificate.h"

#include <openssl/x509_vfy.h>

struct tls_trust {
  X509_STORE *store;
  const char *dir;                    /* borrowed: for messages */
  char fleet[CERTIFICATE_FLEET_SIZE]; /* of our certificate */
  enum certificate_role role;         /* the same */
  int64_t list_expires; /* the first revocation list; INT64_MAX: never */
  int revoked;          /* certificates in all lists */
};

/* Certificates in a chain, the authority included. */
enum { TLS_TRUST_MAX_CHAIN = 5 };

/* Sets `trust->store` to one that requires what is described above; authorities
 * and revocation lists are to be added. The other members are set. 0, or -1 and
 * `e` (kind "memory"). */
int tls_trust_init(struct tls_trust *trust, struct err *e);

/* From now on the store has revocation lists, and certificates are looked up
 * there. Those of an issuer that has published none are not revoked. 0, or -1
 * and `e` (kind "memory"). */
int tls_trust_check_revocation(struct tls_trust *trust, struct err *e);

/* Verifies the chain of a peer in a context that was made with the store, and
 * fills `peer`, with the first expiry in its chain. -1 and `e` (kind "tls"), a
 * sentence about "its certificate" for the caller to put behind the address;
 * the error in the context then tells OpenSSL which alert to send. */
int tls_trust_verify(const struct tls_trust *trust, X509_STORE_CTX *ctx,
                     struct certificate *peer, struct err *e);

/* The same for a certificate and the rest of its chain (NULL: none). */
int tls_trust_verify_chain(const struct tls_trust *trust, X509 *cert,
                           STACK_OF(X509) * chain, struct err *e);

/* Verifies our own certificate, as the peers will. -1 and `e` (kind "usage"),
 * which names the files. */
int tls_trust_verify_own(const struct tls_trust *trust, X509 *cert,
                         STACK_OF(X509) * chain, struct err *e);

/* "a node", "an observer", ... */
const char *tls_trust_role(enum certificate_role role);

/* Seconds since 1970. */
int64_t tls_trust_seconds(const ASN1_TIME *time);

#endif
