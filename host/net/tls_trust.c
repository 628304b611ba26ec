/* SPDX-License-Identifier: MIT */
#include "net/tls_trust.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The words for a certificate, its authority, and the kind of an error. */
struct words {
  const char *kind;
  char certificate[160];
  char authority[160];
};

static const struct words of_peer = {"tls", "its certificate", "our CA"};

static int no_memory(struct err *e)
{
  return err_set(e, "memory", "out of memory for the certificates of a fleet");
}

const char *tls_trust_role(enum certificate_role role)
{
  static const char *const names[CERTIFICATE_ROLES] = {
      [CERTIFICATE_OTHER] = "another",        [CERTIFICATE_CA] = "a CA",
      [CERTIFICATE_NODE] = "a node",          [CERTIFICATE_DRIVER] = "a driver",
      [CERTIFICATE_OBSERVER] = "an observer",
  };
  return names[role];
}

int64_t tls_trust_seconds(const ASN1_TIME *at)
{
  int64_t seconds;
  return certificate_seconds(at, &seconds) < 0 ? 0 : seconds;
}

/* The common name in `name`, printable and cut; "" if there is none. */
static void common_name(const X509_NAME *name, char to[CERTIFICATE_NAME_SIZE])
{
  int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  const ASN1_STRING *text =
      at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
  size_t len = text ? (size_t)ASN1_STRING_length(text) : 0;
  if (len >= CERTIFICATE_NAME_SIZE) len = CERTIFICATE_NAME_SIZE - 1;
  for (size_t i = 0; i < len; i++) {
    char c = (char)ASN1_STRING_get0_data(text)[i];
    to[i] = c >= ' ' && c <= '~' ? c : '?';
  }
  to[len] = '\0';
}

static bool may_face(const struct tls_trust *trust, enum certificate_role role)
{
  if (trust->role != CERTIFICATE_NODE) return role == CERTIFICATE_NODE;
  return role == CERTIFICATE_DRIVER || role == CERTIFICATE_OBSERVER;
}

/* ---- what is required ---- */

static int set_name(X509_VERIFY_PARAM *param, const struct tls_trust *trust,
                    enum certificate_role role)
{
  char name[CERTIFICATE_DNS_SIZE];
  certificate_dns_name(role, trust->fleet, name);
  return X509_VERIFY_PARAM_add1_host(param, name, 0);
}

/* Whether the issuer of the certificate at `depth` has signed one of the
 * revocation lists that have its name. */
static bool has_revocation_list(X509_STORE_CTX *ctx, int depth)
{
  STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
  int last = sk_X509_num(chain) - 1;
  X509 *cert = sk_X509_value(chain, depth);
  X509 *issuer = sk_X509_value(chain, depth < last ? depth + 1 : last);
  STACK_OF(X509_CRL) *lists =
      X509_STORE_CTX_get1_crls(ctx, X509_get_issuer_name(cert));
  bool has = false;
  for (int i = 0; i < sk_X509_CRL_num(lists) && !has; i++)
    has = X509_CRL_verify(sk_X509_CRL_value(lists, i),
                          X509_get0_pubkey(issuer)) > 0;
  sk_X509_CRL_pop_free(lists, X509_CRL_free);
  ERR_clear_error();
  return has;
}

static int on_problem(int ok, X509_STORE_CTX *ctx)
{
  if (ok || X509_STORE_CTX_get_error(ctx) != X509_V_ERR_UNABLE_TO_GET_CRL)
    return ok;
  if (has_revocation_list(ctx, X509_STORE_CTX_get_error_depth(ctx))) return 0;
  X509_STORE_CTX_set_error(ctx, X509_V_OK);
  return 1;
}

int tls_trust_init(struct tls_trust *trust, struct err *e)
{
  trust->store = X509_STORE_new();
  if (!trust->store) return no_memory(e);
  X509_VERIFY_PARAM *param = X509_STORE_get0_param(trust->store);
  bool node = trust->role == CERTIFICATE_NODE;
  /* OpenSSL counts the certificates between the first and the authority. */
  X509_VERIFY_PARAM_set_depth(param, TLS_TRUST_MAX_CHAIN - 2);
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                             X509_CHECK_FLAG_NO_WILDCARDS);
  /* PARTIAL_CHAIN: an authority in our folder is one, whoever signed it. */
  if (X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT |
                                             X509_V_FLAG_PARTIAL_CHAIN) &&
      X509_VERIFY_PARAM_set_purpose(param, node ? X509_PURPOSE_SSL_CLIENT
                                                : X509_PURPOSE_SSL_SERVER) &&
      set_name(param, trust, node ? CERTIFICATE_DRIVER : CERTIFICATE_NODE) &&
      (!node || set_name(param, trust, CERTIFICATE_OBSERVER)))
    return 0;
  return no_memory(e);
}

int tls_trust_check_revocation(struct tls_trust *trust, struct err *e)
{
  const unsigned long flags = X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
  X509_STORE_set_verify_cb(trust->store, on_problem);
  return X509_STORE_set_flags(trust->store, flags) ? 0 : no_memory(e);
}

/* ---- what is wrong ---- */

static int set_untrusted(const struct words *w, int code, const X509 *cert,
                         struct err *e)
{
  char issuer[CERTIFICATE_NAME_SIZE] = "";
  if (cert) common_name(X509_get_issuer_name(cert), issuer);
  if (code == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT)
    return err_set(e, w->kind, "%s is not signed by %s (self-signed)",
                   w->certificate, w->authority);
  if (code == X509_V_ERR_CERT_SIGNATURE_FAILURE)
    return err_set(e, w->kind, "%s is not signed by %s (wrong signature)",
                   w->certificate, w->authority);
  return err_set(e, w->kind, "%s is not signed by %s (issuer: %s)",
                 w->certificate, w->authority, *issuer ? issuer : "no name");
}

/* The certificate, or another one of its chain, is too old or too new. */
static int set_date(const struct words *w, X509_STORE_CTX *ctx, bool too_new,
                    struct err *e)
{
  char date[CERTIFICATE_DATE_SIZE], name[CERTIFICATE_NAME_SIZE];
  const X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
  if (!cert) cert = X509_STORE_CTX_get0_cert(ctx);
  certificate_date(tls_trust_seconds(too_new ? X509_get0_notBefore(cert)
                                             : X509_get0_notAfter(cert)),
                   date);
  const char *what = too_new ? "is not valid before" : "expired on";
  if (X509_STORE_CTX_get_error_depth(ctx) == 0)
    return err_set(e, w->kind, "%s %s %s", w->certificate, what, date);
  common_name(X509_get_subject_name(cert), name);
  return err_set(e, w->kind, "the authority of %s (%s) %s %s", w->certificate,
                 name, what, date);
}

/* Our revocation list is too old or too new to tell anything. */
static int set_list_date(const struct tls_trust *trust, const struct words *w,
                         bool too_new, struct err *e)
{
  char date[CERTIFICATE_DATE_SIZE];
  certificate_date(trust->list_expires, date);
  if (too_new)
    return err_set(e, w->kind,
                   "%s cannot be checked: our %s/crl.pem is not valid yet",
                   w->certificate, trust->dir);
  return err_set(e, w->kind,
                 "%s cannot be checked: our %s/crl.pem expired on %s",
                 w->certificate, trust->dir, date);
}

/* The name or the purpose is not that of a peer of ours. */
static int set_name_mismatch(const struct tls_trust *trust,
                             const struct words *w,
                             const struct certificate *peer, struct err *e)
{
  const char *wanted = trust->role == CERTIFICATE_NODE ? "driver" : "node";
  char found[CERTIFICATE_DNS_SIZE], expected[CERTIFICATE_DNS_SIZE];
  if (peer->role == CERTIFICATE_OTHER)
    return err_set(e, w->kind,
                   "%s is not one of a %s (its only name must be "
                   "%s.%s.moonfleet, and its usage that of a %s)",
                   w->certificate, wanted, wanted, trust->fleet, wanted);
  if (!may_face(trust, peer->role))
    return err_set(e, w->kind, "%s is %s certificate, not %s certificate",
                   w->certificate, tls_trust_role(peer->role),
                   tls_trust_role(trust->role == CERTIFICATE_NODE
                                      ? CERTIFICATE_DRIVER
                                      : CERTIFICATE_NODE));
  certificate_dns_name(peer->role, peer->fleet, found);
  certificate_dns_name(peer->role, trust->fleet, expected);
  return err_set(e, w->kind,
                 "belongs to another fleet (its name is %s, expected %s)",
                 found, expected);
}

static int set_problem(const struct tls_trust *trust, const struct words *w,
                       X509_STORE_CTX *ctx, const struct certificate *facts,
                       struct err *e)
{
  int code = X509_STORE_CTX_get_error(ctx);
  switch (code) {
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
  case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
  case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
  case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
  case X509_V_ERR_CERT_SIGNATURE_FAILURE:
  case X509_V_ERR_CERT_UNTRUSTED:
    return set_untrusted(w, code, X509_STORE_CTX_get_current_cert(ctx), e);
  case X509_V_ERR_CERT_HAS_EXPIRED: return set_date(w, ctx, false, e);
  case X509_V_ERR_CERT_NOT_YET_VALID: return set_date(w, ctx, true, e);
  case X509_V_ERR_CRL_HAS_EXPIRED: return set_list_date(trust, w, false, e);
  case X509_V_ERR_CRL_NOT_YET_VALID: return set_list_date(trust, w, true, e);
  case X509_V_ERR_CERT_REVOKED:
    return err_set(e, w->kind, "%s is revoked (serial number %s)",
                   w->certificate, facts->serial);
  case X509_V_ERR_HOSTNAME_MISMATCH:
  case X509_V_ERR_INVALID_PURPOSE:
    if (X509_STORE_CTX_get_error_depth(ctx) == 0)
      return set_name_mismatch(trust, w, facts, e);
  }
  return err_set(e, w->kind, "%s cannot be accepted (%s)", w->certificate,
                 X509_verify_cert_error_string(code));
}

/* ---- verifying ---- */

/* An error of our own revocation list is no fault of the peer: OpenSSL sends
 * certificate_unknown for it instead of certificate_expired and unknown_ca. */
static void choose_alert(X509_STORE_CTX *ctx)
{
  switch (X509_STORE_CTX_get_error(ctx)) {
  case X509_V_ERR_CRL_HAS_EXPIRED:
  case X509_V_ERR_CRL_NOT_YET_VALID:
  case X509_V_ERR_UNABLE_TO_GET_CRL:
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_DIFFERENT_CRL_SCOPE);
  }
}

/* A chain is worth nothing once one of its certificates has expired. */
static void set_first_expiry(X509_STORE_CTX *ctx, struct certificate *peer)
{
  const STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
  for (int i = 0; i < sk_X509_num(chain); i++) {
    int64_t end =
        tls_trust_seconds(X509_get0_notAfter(sk_X509_value(chain, i)));
    if (end < peer->not_after) peer->not_after = end;
  }
}

int tls_trust_verify(const struct tls_trust *trust, X509_STORE_CTX *ctx,
                     struct certificate *peer, struct err *e)
{
  if (certificate_read(X509_STORE_CTX_get0_cert(ctx), peer, e) < 0) {
    struct err why = *e;
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
    return err_set(e, "tls", "its certificate: %s", why.text);
  }
  bool ok = X509_verify_cert(ctx) > 0;
  /* OpenSSL's rules for names and usages are weaker than ours. */
  if (ok && (!may_face(trust, peer->role) ||
             strcmp(peer->fleet, trust->fleet) != 0)) {
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_INVALID_PURPOSE);
    X509_STORE_CTX_set_error_depth(ctx, 0);
    ok = false;
  }
  if (ok) {
    set_first_expiry(ctx, peer);
    return 0;
  }
  set_problem(trust, &of_peer, ctx, peer, e);
  choose_alert(ctx);
  ERR_clear_error();
  return -1;
}

int tls_trust_verify_chain(const struct tls_trust *trust, X509 *cert,
                           STACK_OF(X509) * chain, struct err *e)
{
  struct certificate peer;
  X509_STORE_CTX *ctx = X509_STORE_CTX_new();
  int rc = ctx && X509_STORE_CTX_init(ctx, trust->store, cert, chain)
               ? tls_trust_verify(trust, ctx, &peer, e)
               : no_memory(e);
  X509_STORE_CTX_free(ctx);
  return rc;
}

int tls_trust_verify_own(const struct tls_trust *trust, X509 *cert,
                         STACK_OF(X509) * chain, struct err *e)
{
  struct words own = {.kind = "usage"};
  struct certificate facts;
  char name[CERTIFICATE_DNS_SIZE];
  if (certificate_read(cert, &facts, e) < 0) return -1;
  snprintf(own.certificate, sizeof(own.certificate), "%s/cert.pem", trust->dir);
  snprintf(own.authority, sizeof(own.authority), "%s/ca.crt", trust->dir);
  certificate_dns_name(trust->role, trust->fleet, name);
  X509_STORE_CTX *ctx = X509_STORE_CTX_new();
  int rc = ctx && X509_STORE_CTX_init(ctx, trust->store, cert, chain)
               ? 0
               : no_memory(e);
  if (rc == 0) {
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    bool node = trust->role == CERTIFICATE_NODE;
    rc = X509_VERIFY_PARAM_set1_host(param, name, 0) &&
                 X509_VERIFY_PARAM_set_purpose(param,
                                               node ? X509_PURPOSE_SSL_SERVER
                                                    : X509_PURPOSE_SSL_CLIENT)
             ? 0
             : no_memory(e);
  }
  if (rc == 0 && X509_verify_cert(ctx) <= 0)
    rc = set_problem(trust, &own, ctx, &facts, e);
  X509_STORE_CTX_free(ctx);
  ERR_clear_error();
  return rc;
}
