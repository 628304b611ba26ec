/* SPDX-License-Identifier: MIT */
/* struct authority: the certificate authority (CA) of a fleet. It issues the
 * certificates that certificate.h describes, with new P-256 keys, and
 * certificate revocation lists (CRL). Everything is text in PEM format; files
 * are the caller's. Dates begin an hour back, for peers whose clocks are slow.
 * Errors have kind "config" for bad input, "system" when OpenSSL fails,
 * "memory". [any] thread; an object belongs to one thread at a time. */
#ifndef MF_AUTHORITY_H
#define MF_AUTHORITY_H

#include "base/buf.h"
#include "base/err.h"
#include "wrap/certificate.h"

#include <stdbool.h>
#include <stddef.h>

enum {
  AUTHORITY_MAX_DAYS = 3650,    /* of validity, of anything */
  AUTHORITY_MAX_PEM = 16 << 20, /* bytes, of any text */
};

struct authority;

/* Makes a CA with a new key, valid for `days`; `fleet` satisfies
 * certificate_is_fleet. NULL and `e` on failure. */
struct authority *authority_new(const char *fleet, int days, struct err *e);

/* Opens a CA: an unencrypted private key, and one or more certificates, among
 * them that of the key. NULL and `e` when one cannot be read, when they do not
 * match, or when the certificate is not that of a CA or is not valid now. */
struct authority *authority_open(const char *key, size_t key_len,
                                 const char *certificates, size_t len,
                                 struct err *e);
void authority_free(struct authority *a); /* accepts NULL */

const struct certificate *authority_facts(const struct authority *a);

/* Append the certificate and the key (PKCS#8, unencrypted) of the CA. */
int authority_write(const struct authority *a, struct buf *certificate,
                    struct buf *key, struct err *e);

/* Issues a certificate with a new key, valid for `days` but not longer than the
 * CA, and appends both. The role is node, driver or observer; `name` satisfies
 * certificate_is_name. */
int authority_issue(const struct authority *a, enum certificate_role role,
                    const char *name, int days, struct buf *certificate,
                    struct buf *key, struct err *e);

/* Reads the facts of the first certificate in a PEM text. An error if this CA
 * has not issued it. */
int authority_verify(const struct authority *a, const char *pem, size_t len,
                     struct certificate *to, struct err *e);

/* Whether the certificate of this CA is among those of a PEM text. */
bool authority_is_in(const struct authority *a, const char *pem, size_t len);

/* Appends a CRL that is valid for `days`: what the last one revokes, and the
 * serial number `serial` (satisfies certificate_is_serial) unless it is NULL.
 * `last` is the content of crl.pem, or NULL when there has been none. CRLs of
 * other CAs in it are appended unchanged. An error if the serial is revoked
 * already. */
int authority_revoke(const struct authority *a, const char *last, size_t len,
                     const char *serial, int days, struct buf *crl,
                     struct err *e);

#endif
