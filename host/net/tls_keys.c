/* SPDX-License-Identifier: MIT */
#include "net/tls_keys.h"

#include "net/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int no_memory(struct err *e)
{
  return err_set(e, "memory", "out of memory for the keys of a fleet");
}

/* ---- PEM ---- */

static int set_malformed(const struct tls_folder *f, enum tls_file file,
                         const char *what, int number, struct err *e)
{
  char reason[128];
  tls_context_reason(reason, sizeof(reason));
  return err_set(e, "usage", "%s/%s: %s %d cannot be read (%s)", f->dir,
                 tls_file_name(file), what, number, reason);
}

/* Whether reading PEM has failed because there was no more of it. */
static bool is_end(void)
{
  unsigned long code = ERR_peek_last_error();
  bool end = ERR_GET_LIB(code) == ERR_LIB_PEM &&
             ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  if (end) ERR_clear_error();
  return end;
}

static BIO *open_content(const struct tls_folder *f, enum tls_file file)
{
  const struct buf *b = &f->content[file];
  return BIO_new_mem_buf(b->len ? (const void *)b->data : "", (int)b->len);
}

/* Reads all certificates of a file, at least one. */
static STACK_OF(X509) * read_certificates(const struct tls_folder *f,
                                          enum tls_file file, struct err *e)
{
  STACK_OF(X509) *list = sk_X509_new_null();
  BIO *in = open_content(f, file);
  int n = 0, rc = list && in ? 0 : no_memory(e);
  X509 *cert;
  while (rc == 0 && (cert = PEM_read_bio_X509(in, NULL, NULL, NULL))) {
    if (++n > TLS_KEYS_MAX_CERTIFICATES)
      rc = err_set(e, "usage", "%s/%s has more than %d certificates", f->dir,
                   tls_file_name(file), TLS_KEYS_MAX_CERTIFICATES);
    else if (!sk_X509_push(list, cert))
      rc = no_memory(e);
    else
      continue;
    X509_free(cert);
  }
  if (rc == 0 && !is_end())
    rc = set_malformed(f, file, "certificate", n + 1, e);
  if (rc == 0 && n == 0)
    rc = err_set(e, "usage", "%s/%s has no certificate in PEM format", f->dir,
                 tls_file_name(file));
  BIO_free(in);
  if (rc == 0) return list;
  sk_X509_pop_free(list, X509_free);
  return NULL;
}

/* ---- our own certificate and key ---- */

static int on_passphrase(char *to, int size, int writing, void *encrypted)
{
  (void)to, (void)size, (void)writing;
  *(bool *)encrypted = true;
  return -1;
}

static int read_key(const struct tls_folder *f, struct tls_keys *k,
                    struct err *e)
{
  bool encrypted = false;
  BIO *in = open_content(f, TLS_KEY);
  if (!in) return no_memory(e);
  k->key = PEM_read_bio_PrivateKey(in, NULL, on_passphrase, &encrypted);
  BIO_free(in);
  bool match = k->key && X509_check_private_key(k->certificate, k->key) == 1;
  ERR_clear_error();
  if (match) return 0;
  if (k->key)
    return err_set(e, "usage", "%s/key.pem does not match %s/cert.pem", f->dir,
                   f->dir);
  if (encrypted)
    return err_set(e, "usage",
                   "%s/key.pem needs a passphrase, which nobody is asked for: "
                   "remove it with openssl pkey",
                   f->dir);
  return err_set(e, "usage", "%s/key.pem has no private key in PEM format",
                 f->dir);
}

static int read_facts(const struct tls_folder *f, enum certificate_role wanted,
                      const char *command, struct tls_keys *k, struct err *e)
{
  struct err why;
  if (certificate_read(k->certificate, &k->facts, &why) < 0)
    return err_set(e, "usage", "%s/cert.pem: %s", f->dir, why.text);
  enum certificate_role role = k->facts.role;
  if (role == wanted ||
      (wanted == CERTIFICATE_DRIVER && role == CERTIFICATE_OBSERVER))
    return 0;
  if (role != CERTIFICATE_OTHER)
    return err_set(
        e, "usage", "%s/cert.pem is %s certificate; %s needs %s certificate",
        f->dir, tls_trust_role(role), command, tls_trust_role(wanted));
  return err_set(e, "usage",
                 "%s/cert.pem is not the certificate of a node, driver or "
                 "observer; `moonfleet keygen` makes such",
                 f->dir);
}

/* ---- authorities and revocation lists ---- */

static int add_authorities(const struct tls_folder *f, struct tls_keys *k,
                           struct err *e)
{
  k->authorities = read_certificates(f, TLS_CA, e);
  if (!k->authorities) return -1;
  k->authority_expires = INT64_MAX;
  for (int i = 0; i < sk_X509_num(k->authorities); i++) {
    X509 *ca = sk_X509_value(k->authorities, i);
    if (X509_check_ca(ca) != 1)
      return err_set(e, "usage",
                     "%s/ca.crt: certificate %d is not that of an authority",
                     f->dir, i + 1);
    if (!X509_STORE_add_cert(k->trust.store, ca)) return no_memory(e);
    int64_t end = tls_trust_seconds(X509_get0_notAfter(ca));
    if (end < k->authority_expires) k->authority_expires = end;
  }
  return 0;
}

static bool is_signed_by(X509_CRL *list, STACK_OF(X509) * issuers)
{
  bool found = false;
  for (int i = 0; i < sk_X509_num(issuers) && !found; i++)
    found =
        X509_CRL_verify(list, X509_get0_pubkey(sk_X509_value(issuers, i))) > 0;
  ERR_clear_error();
  return found;
}

/* A list with wrong dates would refuse everybody. */
static int check_dates(const struct tls_folder *f, const X509_CRL *list,
                       struct tls_keys *k, struct err *e)
{
  char date[CERTIFICATE_DATE_SIZE];
  int64_t now = time(NULL);
  int64_t begin = tls_trust_seconds(X509_CRL_get0_lastUpdate(list));
  const ASN1_TIME *next = X509_CRL_get0_nextUpdate(list);
  int64_t end = next ? tls_trust_seconds(next) : INT64_MAX;
  if (end < k->trust.list_expires) k->trust.list_expires = end;
  if (begin <= now && now <= end) return 0;
  certificate_date(begin > now ? begin : end, date);
  return begin > now
             ? err_set(e, "usage", "%s/crl.pem is not valid before %s", f->dir,
                       date)
             : err_set(e, "usage",
                       "%s/crl.pem expired on %s; `moonfleet keygen DIR "
                       "--crl` renews it",
                       f->dir, date);
}

static int add_list(const struct tls_folder *f, X509_CRL *list, int number,
                    struct tls_keys *k, struct err *e)
{
  if (!is_signed_by(list, k->authorities) && !is_signed_by(list, k->chain))
    return err_set(e, "usage",
                   "%s/crl.pem: list %d is not signed by an authority of "
                   "%s/ca.crt",
                   f->dir, number, f->dir);
  if (!X509_STORE_add_crl(k->trust.store, list)) return no_memory(e);
  STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED(list);
  if (revoked) k->trust.revoked += sk_X509_REVOKED_num(revoked);
  return check_dates(f, list, k, e);
}

static int add_lists(const struct tls_folder *f, struct tls_keys *k,
                     struct err *e)
{
  k->trust.list_expires = INT64_MAX;
  if (!f->content[TLS_CRL].data) return 0;
  BIO *in = open_content(f, TLS_CRL);
  int n = 0, rc = in ? 0 : no_memory(e);
  X509_CRL *list;
  while (rc == 0 && (list = PEM_read_bio_X509_CRL(in, NULL, NULL, NULL))) {
    rc = add_list(f, list, ++n, k, e);
    X509_CRL_free(list);
  }
  BIO_free(in);
  if (rc == 0 && !is_end()) rc = set_malformed(f, TLS_CRL, "list", n + 1, e);
  if (rc == 0 && n == 0)
    rc = err_set(e, "usage", "%s/crl.pem has no revocation list in PEM format",
                 f->dir);
  return rc == 0 ? tls_trust_check_revocation(&k->trust, e) : -1;
}

/* ---- all of it ---- */

static int fill(const struct tls_folder *f, enum certificate_role role,
                const char *command, struct tls_keys *k, struct err *e)
{
  k->refs = 1;
  k->dir = strdup(f->dir);
  if (!k->dir) return no_memory(e);
  k->chain = read_certificates(f, TLS_CERT, e);
  if (!k->chain) return -1;
  k->certificate = sk_X509_shift(k->chain);
  if (read_facts(f, role, command, k, e) < 0 || read_key(f, k, e) < 0)
    return -1;
  k->trust.dir = k->dir;
  k->trust.role = k->facts.role;
  memcpy(k->trust.fleet, k->facts.fleet, sizeof(k->trust.fleet));
  if (tls_trust_init(&k->trust, e) < 0 || add_authorities(f, k, e) < 0 ||
      add_lists(f, k, e) < 0 ||
      tls_trust_verify_own(&k->trust, k->certificate, k->chain, e) < 0)
    return -1;
  k->context = tls_context_new(&k->trust, k->certificate, k->chain, k->key, e);
  return k->context ? 0 : -1;
}

struct tls_keys *tls_keys_new(const struct tls_folder *f,
                              enum certificate_role role, const char *command,
                              struct err *e)
{
  struct tls_keys *k = err_calloc(sizeof(*k), "the keys of a fleet", e);
  if (!k || fill(f, role, command, k, e) == 0) return k;
  tls_keys_unref(k);
  return NULL;
}

struct tls_keys *tls_keys_ref(struct tls_keys *k)
{
  k->refs++;
  return k;
}

void tls_keys_unref(struct tls_keys *k)
{
  if (!k || --k->refs > 0) return;
  SSL_CTX_free(k->context);
  X509_STORE_free(k->trust.store);
  sk_X509_pop_free(k->chain, X509_free);
  sk_X509_pop_free(k->authorities, X509_free);
  X509_free(k->certificate);
  EVP_PKEY_free(k->key);
  free(k->dir);
  free(k);
}
