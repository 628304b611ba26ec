/* SPDX-License-Identifier: MIT */
/* struct tls_identity: the folder of --tls DIR, which makes a process a node, a
 * driver or an observer of a fleet:
 *
 *   ca.crt     the certificate authorities that it trusts, one or more
 *   cert.pem   its certificate, and perhaps intermediate ones after it
 *   key.pem    the private key, which only its owner may read
 *   crl.pem    revocation lists of the authorities; optional
 *
 * All are PEM. `moonfleet keygen` writes such folders (wrap/certificate.h
 * describes the certificates). The private key stays in the memory of this
 * process; no program that it starts inherits a descriptor of it. [loop] */
#ifndef MF_TLS_IDENTITY_H
#define MF_TLS_IDENTITY_H

#include "base/err.h"
#include "wrap/certificate.h"

#include <stdbool.h>
#include <stdint.h>

struct tls_identity;
struct tls_keys; /* tls_keys.h, which needs OpenSSL's headers */

/* Reads the folder and verifies that peers will accept it: its files, dates,
 * role and chain. `role` is CERTIFICATE_NODE, or CERTIFICATE_DRIVER, in whose
 * place an observer may be. `command` (borrowed for ever) is what needs it, for
 * messages: "serve". NULL and `e`: kind "usage" (a sentence with the file), or
 * "memory". */
struct tls_identity *tls_identity_load(const char *dir,
                                       enum certificate_role role,
                                       const char *command, struct err *e);
/* The same for files that come as one text (tls_folder.h), from a store that
 * knows them by `name`; messages name "NAME/cert.pem". Copies of it in this
 * process are overwritten when they are not needed any more; `text` is the
 * caller's. */
struct tls_identity *tls_identity_load_text(const char *name, const char *text,
                                            size_t len,
                                            enum certificate_role role,
                                            const char *command, struct err *e);
/* Connections that were made with it go on. Accepts NULL. */
void tls_identity_free(struct tls_identity *id);

/* Checks whether the files have changed, which costs four stat(2) if they have
 * not, and then takes all of them or none. To be called every 10 s and at
 * SIGHUP. Returns 1 when there are new ones: new connections use them, and the
 * caller verifies the others again (carrier_tls_verify); 0 when there is
 * nothing new; -1 and `e` when they cannot be used and the old ones stay, once
 * for each different reason. */
int tls_identity_reload(struct tls_identity *id, struct err *e);

/* Takes the text that the store has now, all of it or nothing. For an identity
 * of a text, tls_identity_reload does nothing. Returns the same. */
int tls_identity_take_text(struct tls_identity *id, const char *text,
                           size_t len, struct err *e);
/* Whether what was read last could not be used: by time alone it may become
 * valid. */
bool tls_identity_failed(const struct tls_identity *id);

/* The facts of our own certificate, valid until the next reload. */
const struct certificate *
tls_identity_certificate(const struct tls_identity *id);
/* The folder, or the name of the text. */
const char *tls_identity_dir(const struct tls_identity *id);
/* The number of certificates that its revocation lists have. */
int tls_identity_revoked(const struct tls_identity *id);

/* What will soon end all connections: certificates that expire within 30 days,
 * revocation lists within 7, seen from `now` (seconds since 1970). Writes whole
 * sentences for a log or doctor and returns their number. */
enum {
  TLS_IDENTITY_WARNINGS = 3, /* at most */
  TLS_IDENTITY_CERTIFICATE_DAYS = 30,
  TLS_IDENTITY_LIST_DAYS = 7,
};
int tls_identity_warnings(const struct tls_identity *id, int64_t now,
                          struct err warnings[TLS_IDENTITY_WARNINGS]);

/* The keys in use now, for tls.c. */
struct tls_keys *tls_identity_keys(const struct tls_identity *id);

#endif
