/* SPDX-License-Identifier: MIT */
#include "wrap/authority.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Seconds: a certificate is valid this long before it is made. */
enum { BACKDATE = 3600 };

struct authority {
  EVP_PKEY *key;
  X509 *cert;
  struct certificate facts;
};

/* ---- errors ---- */

/* `what` and OpenSSL's reason, which the queue has. */
static int failed(struct err *e, const char *what)
{
  const char *reason = ERR_reason_error_string(ERR_peek_last_error());
  err_set(e, "system", "OpenSSL cannot %s: %s", what,
          reason ? reason : "no reason given");
  ERR_clear_error();
  return -1;
}

static int out_of_memory(struct err *e)
{
  ERR_clear_error();
  return err_set(e, "memory", "out of memory for a certificate");
}

/* ---- PEM ---- */

/* Without this, OpenSSL asks for the password on the terminal. */
static int no_password(char *to, int size, int writing, void *arg)
{
  (void)to;
  (void)size;
  (void)writing;
  (void)arg;
  return -1;
}

static BIO *open_pem(const char *pem, size_t len, struct err *e)
{
  BIO *in = len <= AUTHORITY_MAX_PEM ? BIO_new_mem_buf(pem, (int)len) : NULL;
  if (!in) err_set(e, "config", "the file is too large");
  return in;
}

/* Appends what `out` has to `to`. */
static int flush(BIO *out, struct buf *to, struct err *e)
{
  char *data;
  long len = BIO_get_mem_data(out, &data);
  if (buf_add(to, data, (size_t)len) < 0) return out_of_memory(e);
  return 0;
}

static int write_certificate(X509 *cert, struct buf *to, struct err *e)
{
  BIO *out = BIO_new(BIO_s_mem());
  int rc = out && PEM_write_bio_X509(out, cert) ? flush(out, to, e)
                                                : out_of_memory(e);
  BIO_free(out);
  return rc;
}

static int write_key(EVP_PKEY *key, struct buf *to, struct err *e)
{
  BIO *out = BIO_new(BIO_s_secmem()); /* which is overwritten when freed */
  int rc =
      out && PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL)
          ? flush(out, to, e)
          : failed(e, "write a key");
  BIO_free(out);
  return rc;
}

/* ---- making certificates ---- */

/* 16 random bytes, positive (RFC 5280, 4.1.2.2), always of the same length. */
static ASN1_INTEGER *new_serial(void)
{
  unsigned char bytes[16];
  if (RAND_bytes(bytes, sizeof(bytes)) != 1) return NULL;
  bytes[0] = (bytes[0] & 0x7f) | 0x40;
  BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
  ASN1_INTEGER *serial = number ? BN_to_ASN1_INTEGER(number, NULL) : NULL;
  BN_free(number);
  return serial;
}

static int set_serial(X509 *cert)
{
  ASN1_INTEGER *serial = new_serial();
  int ok = serial && X509_set_serialNumber(cert, serial);
  ASN1_INTEGER_free(serial);
  return ok;
}

/* From an hour ago until `days` from now, or until `latest` unless that is NULL
 * or later. */
static int set_dates(X509 *cert, int days, const ASN1_TIME *latest)
{
  time_t now = time(NULL);
  ASN1_TIME *from = ASN1_TIME_adj(NULL, now, 0, -BACKDATE);
  ASN1_TIME *until = ASN1_TIME_adj(NULL, now, days, 0);
  if (from && until && latest && ASN1_TIME_compare(latest, until) < 0) {
    ASN1_TIME_free(until);
    until = ASN1_STRING_dup(latest);
  }
  int ok = from && until && X509_set1_notBefore(cert, from) &&
           X509_set1_notAfter(cert, until);
  ASN1_TIME_free(from);
  ASN1_TIME_free(until);
  return ok;
}

static int set_subject(X509 *cert, const char *fleet, const char *name)
{
  X509_NAME *subject = X509_NAME_new();
  int ok =
      subject &&
      X509_NAME_add_entry_by_NID(subject, NID_organizationName, MBSTRING_ASC,
                                 (const uint8_t *)fleet, -1, -1, 0) &&
      X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_ASC,
                                 (const uint8_t *)name, -1, -1, 0) &&
      X509_set_subject_name(cert, subject);
  X509_NAME_free(subject);
  return ok;
}

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
  X509V3_set_ctx_nodb(&ctx);
  X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
  int ok = extension && X509_add_ext(cert, extension, -1);
  X509_EXTENSION_free(extension);
  return ok;
}

/* Those of a CA or, with a `usage`, of a certificate that it issues. */
static int add_extensions(X509 *cert, X509 *issuer, const char *usage,
                          enum certificate_role role, const char *fleet)
{
  char dns[CERTIFICATE_DNS_SIZE + 4] = "DNS:";
  char permitted[CERTIFICATE_DNS_SIZE + 32];
  certificate_dns_name(role, fleet, dns + 4);
  /* Whoever trusts this CA, even in a browser, trusts it for its fleet alone.
   */
  snprintf(permitted, sizeof(permitted), "critical,permitted;DNS:%s.moonfleet",
           fleet);
  return add_extension(cert, issuer, NID_basic_constraints,
                       usage ? "critical,CA:FALSE"
                             : "critical,CA:TRUE,pathlen:0") &&
         add_extension(cert, issuer, NID_key_usage,
                       usage ? "critical,digitalSignature"
                             : "critical,keyCertSign,cRLSign") &&
         (!usage || add_extension(cert, issuer, NID_ext_key_usage, usage)) &&
         (usage ||
          add_extension(cert, issuer, NID_name_constraints, permitted)) &&
         add_extension(cert, issuer, NID_subject_alt_name, dns) &&
         add_extension(cert, issuer, NID_subject_key_identifier, "hash") &&
         add_extension(cert, issuer, NID_authority_key_identifier,
                       "keyid:always");
}

/* The start of the serial number keeps the CAs of one fleet apart. */
static int set_ca_subject(X509 *cert, const char *fleet)
{
  char name[CERTIFICATE_NAME_SIZE];
  const uint8_t *serial = ASN1_STRING_get0_data(X509_get0_serialNumber(cert));
  snprintf(name, sizeof(name), "moonfleet CA %02x%02x%02x%02x", serial[0],
           serial[1], serial[2], serial[3]);
  return set_subject(cert, fleet, name) &&
         X509_set_issuer_name(cert, X509_get_subject_name(cert));
}

struct authority *authority_new(const char *fleet, int days, struct err *e)
{
  struct authority *a = err_calloc(sizeof(*a), "a CA", e);
  if (!a) return NULL;
  a->key = EVP_EC_gen("P-256");
  a->cert = X509_new();
  if (a->key && a->cert && X509_set_version(a->cert, X509_VERSION_3) &&
      set_serial(a->cert) && set_dates(a->cert, days, NULL) &&
      set_ca_subject(a->cert, fleet) && X509_set_pubkey(a->cert, a->key) &&
      add_extensions(a->cert, a->cert, NULL, CERTIFICATE_CA, fleet) &&
      X509_sign(a->cert, a->key, EVP_sha256()) &&
      certificate_read(a->cert, &a->facts, e) == 0)
    return a;
  failed(e, "make a CA");
  authority_free(a);
  return NULL;
}

int authority_write(const struct authority *a, struct buf *certificate,
                    struct buf *key, struct err *e)
{
  if (write_certificate(a->cert, certificate, e) < 0) return -1;
  return write_key(a->key, key, e);
}

int authority_issue(const struct authority *a, enum certificate_role role,
                    const char *name, int days, struct buf *certificate,
                    struct buf *key, struct err *e)
{
  const char *usage = role == CERTIFICATE_NODE ? "serverAuth" : "clientAuth";
  EVP_PKEY *own = EVP_EC_gen("P-256");
  X509 *cert = X509_new();
  int rc;
  if (own && cert && X509_set_version(cert, X509_VERSION_3) &&
      set_serial(cert) && set_dates(cert, days, X509_get0_notAfter(a->cert)) &&
      set_subject(cert, a->facts.fleet, name) &&
      X509_set_issuer_name(cert, X509_get_subject_name(a->cert)) &&
      X509_set_pubkey(cert, own) &&
      add_extensions(cert, a->cert, usage, role, a->facts.fleet) &&
      X509_sign(cert, a->key, EVP_sha256())) {
    rc = write_certificate(cert, certificate, e);
    if (rc == 0) rc = write_key(own, key, e);
  } else {
    rc = failed(e, "make a certificate");
  }
  X509_free(cert);
  EVP_PKEY_free(own);
  return rc;
}

/* ---- opening a CA ---- */

static EVP_PKEY *read_key(const char *pem, size_t len, struct err *e)
{
  BIO *in = open_pem(pem, len, e);
  if (!in) return NULL;
  EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, no_password, NULL);
  if (!key)
    err_set(e, "config", "ca.key has no unencrypted private key in PEM format");
  ERR_clear_error();
  BIO_free(in);
  return key;
}

/* The certificate of `key` among those in a PEM text. */
static X509 *find_certificate(EVP_PKEY *key, const char *pem, size_t len,
                              struct err *e)
{
  BIO *in = open_pem(pem, len, e);
  if (!in) return NULL;
  int seen = 0;
  X509 *cert;
  while ((cert = PEM_read_bio_X509(in, NULL, NULL, NULL)) &&
         !X509_check_private_key(cert, key)) {
    X509_free(cert);
    seen++;
  }
  if (!cert)
    err_set(e, "config", "%s",
            seen ? "ca.key is not the key of ca.crt"
                 : "ca.crt has no certificate in PEM format");
  ERR_clear_error();
  BIO_free(in);
  return cert;
}

/* Whether the CA can issue certificates now. */
static int check_authority(const struct authority *a, struct err *e)
{
  char date[CERTIFICATE_DATE_SIZE];
  if (a->facts.role != CERTIFICATE_CA)
    return err_set(e, "config",
                   "ca.crt is not a CA of a fleet, as keygen --fleet makes it");
  if (X509_cmp_current_time(X509_get0_notAfter(a->cert)) < 0) {
    certificate_date(a->facts.not_after, date);
    return err_set(e, "config", "ca.crt expired on %s; make a new CA", date);
  }
  if (X509_cmp_current_time(X509_get0_notBefore(a->cert)) > 0) {
    certificate_date(a->facts.not_before, date);
    return err_set(e, "config",
                   "ca.crt is valid from %s on only; is the clock right?",
                   date);
  }
  return 0;
}

struct authority *authority_open(const char *key, size_t key_len,
                                 const char *certificates, size_t len,
                                 struct err *e)
{
  struct authority *a = err_calloc(sizeof(*a), "a CA", e);
  if (!a) return NULL;
  a->key = read_key(key, key_len, e);
  a->cert = a->key ? find_certificate(a->key, certificates, len, e) : NULL;
  if (a->cert && certificate_read(a->cert, &a->facts, e) == 0 &&
      check_authority(a, e) == 0)
    return a;
  authority_free(a);
  return NULL;
}

void authority_free(struct authority *a)
{
  if (!a) return;
  X509_free(a->cert);
  EVP_PKEY_free(a->key);
  free(a);
}

const struct certificate *authority_facts(const struct authority *a)
{
  return &a->facts;
}

int authority_verify(const struct authority *a, const char *pem, size_t len,
                     struct certificate *to, struct err *e)
{
  BIO *in = open_pem(pem, len, e);
  if (!in) return -1;
  X509 *cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
  int rc = -1;
  if (!cert)
    err_set(e, "config", "it has no certificate in PEM format");
  else if (X509_cmp(cert, a->cert) == 0)
    err_set(e, "config", "it is the certificate of the CA itself");
  else if (X509_verify(cert, a->key) != 1)
    err_set(e, "config", "the CA of fleet %s has not issued it",
            a->facts.fleet);
  else
    rc = certificate_read(cert, to, e);
  ERR_clear_error();
  X509_free(cert);
  BIO_free(in);
  return rc;
}

bool authority_is_in(const struct authority *a, const char *pem, size_t len)
{
  struct err e;
  X509 *cert = find_certificate(a->key, pem, len, &e);
  bool found = cert != NULL;
  X509_free(cert);
  return found;
}

/* ---- revocation ---- */

/* Reads the CRLs of a PEM text: that of this CA into `own`, which stays NULL if
 * there is none; the others are written to `others`. */
static int read_crls(const struct authority *a, const char *pem, size_t len,
                     X509_CRL **own, BIO *others, struct err *e)
{
  const X509_NAME *name = X509_get_subject_name(a->cert);
  BIO *in = open_pem(pem, len, e);
  if (!in) return -1;
  int rc = 0, n = 0;
  X509_CRL *crl;
  while (rc == 0 && (crl = PEM_read_bio_X509_CRL(in, NULL, NULL, NULL))) {
    bool is_own = X509_NAME_cmp(X509_CRL_get_issuer(crl), name) == 0;
    n++;
    if (is_own && !*own && X509_CRL_verify(crl, a->key) == 1) {
      *own = crl;
      continue;
    }
    if (is_own)
      rc =
          err_set(e, "config", "crl.pem has a CRL that this CA has not signed");
    else if (!PEM_write_bio_X509_CRL(others, crl))
      rc = out_of_memory(e);
    X509_CRL_free(crl);
  }
  /* What a damaged CRL revokes must not be forgotten. */
  if (rc == 0 &&
      (n == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE))
    rc = err_set(e, "config", "crl.pem is damaged");
  ERR_clear_error();
  BIO_free(in);
  return rc;
}

static ASN1_INTEGER *serial_of(const char *hex)
{
  BIGNUM *number = NULL;
  ASN1_INTEGER *serial = NULL;
  if (BN_hex2bn(&number, hex)) serial = BN_to_ASN1_INTEGER(number, NULL);
  BN_free(number);
  return serial;
}

static int add_revoked(X509_CRL *crl, const char *hex, struct err *e)
{
  ASN1_INTEGER *serial = serial_of(hex);
  ASN1_TIME *now = ASN1_TIME_adj(NULL, time(NULL), 0, 0);
  X509_REVOKED *entry = X509_REVOKED_new();
  X509_REVOKED *known;
  int rc = -1;
  if (!serial || !now || !entry)
    out_of_memory(e);
  else if (X509_CRL_get0_by_serial(crl, &known, serial))
    err_set(e, "config", "the certificate is revoked already");
  else if (X509_REVOKED_set_serialNumber(entry, serial) &&
           X509_REVOKED_set_revocationDate(entry, now) &&
           X509_CRL_add0_revoked(crl, entry))
    rc = 0;
  else
    failed(e, "revoke a certificate");
  if (rc < 0) X509_REVOKED_free(entry); /* otherwise it is the CRL's */
  ASN1_TIME_free(now);
  ASN1_INTEGER_free(serial);
  return rc;
}

/* Adds one to the number of a CRL (RFC 5280, 5.2.3), which begins at 1. */
static int count_up(X509_CRL *crl)
{
  ASN1_INTEGER *last = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
  BIGNUM *number = last ? ASN1_INTEGER_to_BN(last, NULL) : BN_new();
  ASN1_INTEGER *next = number && BN_add_word(number, 1)
                           ? BN_to_ASN1_INTEGER(number, NULL)
                           : NULL;
  int ok = next && X509_CRL_add1_ext_i2d(crl, NID_crl_number, next, 0,
                                         X509V3_ADD_REPLACE) == 1;
  ASN1_INTEGER_free(last);
  BN_free(number);
  ASN1_INTEGER_free(next);
  return ok;
}

/* An empty CRL of this CA, not yet signed. */
static X509_CRL *new_crl(const struct authority *a)
{
  X509_CRL *crl = X509_CRL_new();
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, a->cert, NULL, NULL, crl, 0);
  X509V3_set_ctx_nodb(&ctx);
  X509_EXTENSION *key_id = X509V3_EXT_nconf_nid(
      NULL, &ctx, NID_authority_key_identifier, "keyid:always");
  int ok = crl && key_id && X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
           X509_CRL_set_issuer_name(crl, X509_get_subject_name(a->cert)) &&
           X509_CRL_add_ext(crl, key_id, -1);
  X509_EXTENSION_free(key_id);
  if (ok) return crl;
  X509_CRL_free(crl);
  return NULL;
}

static int sign_crl(const struct authority *a, X509_CRL *crl, int days)
{
  time_t now = time(NULL);
  ASN1_TIME *from = ASN1_TIME_adj(NULL, now, 0, -BACKDATE);
  ASN1_TIME *until = ASN1_TIME_adj(NULL, now, days, 0);
  int ok = from && until && X509_CRL_set1_lastUpdate(crl, from) &&
           X509_CRL_set1_nextUpdate(crl, until) && count_up(crl) &&
           X509_CRL_sort(crl) && X509_CRL_sign(crl, a->key, EVP_sha256());
  ASN1_TIME_free(from);
  ASN1_TIME_free(until);
  return ok;
}

int authority_revoke(const struct authority *a, const char *last, size_t len,
                     const char *serial, int days, struct buf *crl,
                     struct err *e)
{
  X509_CRL *own = NULL;
  BIO *out = BIO_new(BIO_s_mem());
  int rc = out ? 0 : out_of_memory(e);
  if (rc == 0 && last) rc = read_crls(a, last, len, &own, out, e);
  if (rc == 0 && !own && !(own = new_crl(a))) rc = failed(e, "make a CRL");
  if (rc == 0 && serial) rc = add_revoked(own, serial, e);
  if (rc == 0)
    rc = sign_crl(a, own, days) && PEM_write_bio_X509_CRL(out, own)
             ? flush(out, crl, e)
             : failed(e, "sign a CRL");
  X509_CRL_free(own);
  BIO_free(out);
  return rc;
}
