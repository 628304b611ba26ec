/* SPDX-License-Identifier: MIT */
/* struct tls_keys: the content of a folder of keys, understood and found valid,
 * with the context of OpenSSL that its connections use. It is counted: a
 * connection keeps the keys with which it began. Used by tls_identity.c and
 * tls.c. [loop] */
#ifndef MF_TLS_KEYS_H
#define MF_TLS_KEYS_H

#include "net/tls_folder.h"
#include "net/tls_trust.h"

#include <openssl/ssl.h>

enum { TLS_KEYS_MAX_CERTIFICATES = 16 }; /* of ca.crt, and of cert.pem */

struct tls_keys {
  unsigned refs;
  char *dir;
  SSL_CTX *context;
  X509 *certificate;
  STACK_OF(X509) * chain;       /* what cert.pem has after it */
  STACK_OF(X509) * authorities; /* of ca.crt */
  EVP_PKEY *key;
  struct certificate facts;  /* of the certificate */
  struct tls_trust trust;    /* in the peers */
  int64_t authority_expires; /* the first one of ca.crt */
};

/* `role` and `command` as for tls_identity_load. NULL and `e`: kind "usage" (a
 * sentence with the file), "memory". */
struct tls_keys *tls_keys_new(const struct tls_folder *f,
                              enum certificate_role role, const char *command,
                              struct err *e);
struct tls_keys *tls_keys_ref(struct tls_keys *k);
/* Frees them with the last reference. Accepts NULL. */
void tls_keys_unref(struct tls_keys *k);

#endif
