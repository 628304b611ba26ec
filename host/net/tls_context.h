/* SPDX-License-Identifier: MIT */
/* The rules of a TLS connection as a context of OpenSSL: TLS 1.3 alone, both
 * sides present a certificate, ALPN names our protocol, and nothing of one
 * connection serves another: no session tickets, no resumption, no early data.
 * Used by tls_identity.c and tls.c. [loop] */
#ifndef MF_TLS_CONTEXT_H
#define MF_TLS_CONTEXT_H

#include "base/err.h"
#include "net/tls_trust.h"

#include <openssl/ssl.h>

/* What was found out about the peer of one connection; the connection sets it
 * as SSL_set_app_data. */
struct tls_verdict {
  const struct tls_trust *trust; /* borrowed */
  struct certificate peer;
  bool refused; /* by us; `why` says why */
  struct err why;
};

/* A context for nodes (servers) or drivers and observers (clients); its own
 * references to everything are counted. NULL and `e` (kind "usage" if OpenSSL
 * refuses the certificate or the key, "memory"). */
SSL_CTX *tls_context_new(const struct tls_trust *trust, X509 *cert,
                         STACK_OF(X509) * chain, EVP_PKEY *key, struct err *e);

/* Puts OpenSSL's first error into `to` as it is, and clears its queue. */
const char *tls_context_reason(char *to, size_t size);

#endif
