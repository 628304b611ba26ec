/* SPDX-License-Identifier: MIT */
/* struct certificate: what moonfleet reads in a certificate of a fleet.
 *
 * A certificate that `moonfleet keygen` makes carries its role and its fleet in
 * one DNS name (subjectAltName):
 *
 *   role                   name                       extended key usage
 *   CERTIFICATE_NODE       node.FLEET.moonfleet       serverAuth
 *   CERTIFICATE_DRIVER     driver.FLEET.moonfleet     clientAuth
 *   CERTIFICATE_OBSERVER   observer.FLEET.moonfleet   clientAuth
 *   CERTIFICATE_CA         ca.FLEET.moonfleet         none; basicConstraints CA
 *
 * The facts are worth what the signature is worth: trust the role of a peer
 * only after its chain has been verified. [any] thread. */
#ifndef MF_CERTIFICATE_H
#define MF_CERTIFICATE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* OpenSSL's X509 and ASN1_TIME, for files that do not see its headers */
struct x509_st;
struct asn1_string_st;

enum certificate_role {
  CERTIFICATE_OTHER, /* not made by keygen: it must get no rights */
  CERTIFICATE_CA,
  CERTIFICATE_NODE,
  CERTIFICATE_DRIVER,
  CERTIFICATE_OBSERVER,
  CERTIFICATE_ROLES,
};

enum {
  CERTIFICATE_FLEET_SIZE = 64,  /* a DNS label, and a NUL */
  CERTIFICATE_NAME_SIZE = 65,   /* the longest common name (RFC 5280), a NUL */
  CERTIFICATE_SERIAL_SIZE = 41, /* 20 bytes as hexadecimal, and a NUL */
  CERTIFICATE_DNS_SIZE = 96,    /* ROLE.FLEET.moonfleet, and a NUL */
  CERTIFICATE_DATE_SIZE = 24,   /* "2027-11-29 14:05 UTC", and a NUL */
};

struct certificate {
  enum certificate_role role;
  char fleet[CERTIFICATE_FLEET_SIZE]; /* "" for CERTIFICATE_OTHER */
  /* The common name, for logs and never for a decision: what is not printable
   * ASCII is replaced by '?'; "" when there is none. */
  char name[CERTIFICATE_NAME_SIZE];
  char
      serial[CERTIFICATE_SERIAL_SIZE]; /* lower-case hexadecimal, even length */
  int64_t not_before, not_after;       /* seconds since 1970, both inclusive */
};

/* "node", ...; "other" for CERTIFICATE_OTHER. */
const char *certificate_role_name(enum certificate_role role);

/* The role with that name, CERTIFICATE_OTHER if there is none. */
enum certificate_role certificate_role_of(const char *name);

/* Whether `fleet` may name a fleet: a DNS label of 1 to 63 lower-case letters,
 * digits and hyphens that begins and ends with a letter or digit. */
bool certificate_is_fleet(const char *fleet);

/* Whether `name` may be a common name of keygen: 1 to 64 letters, digits, '.',
 * '_', '-', '@' that begin with a letter or digit. */
bool certificate_is_name(const char *name);

/* Whether `serial` is a serial number: 1 to 20 bytes as hexadecimal digits. */
bool certificate_is_serial(const char *serial);

/* Writes "node.search.moonfleet", the one DNS name of such a certificate, which
 * a driver expects from its nodes. `fleet` satisfies certificate_is_fleet. */
void certificate_dns_name(enum certificate_role role, const char *fleet,
                          char to[CERTIFICATE_DNS_SIZE]);

/* Writes "2027-11-29 14:05 UTC". */
void certificate_date(int64_t seconds, char to[CERTIFICATE_DATE_SIZE]);

/* The seconds since 1970 of such a date. Returns -1 if it is malformed. */
int certificate_seconds(const struct asn1_string_st *date, int64_t *seconds);

/* Reads the facts of any certificate. The role is other than CERTIFICATE_OTHER
 * only if DNS name, extended key usage and basicConstraints agree with the
 * table above. Does not check dates and signature. 0, or -1 and `e` with kind
 * "config" (dates or serial number that cannot be read) or "memory". */
int certificate_read(struct x509_st *cert, struct certificate *to,
                     struct err *e);

/* The same for the first certificate in a PEM file's content. */
int certificate_read_pem(const char *pem, size_t len, struct certificate *to,
                         struct err *e);

#endif
