/* SPDX-License-Identifier: MIT */
/* libFuzzer: any bytes as a certificate, in DER as peers send it and in PEM as
 * files have it, and as a crl.pem. What is read must be what the header
 * promises; the next CRL must be readable. */
#include "wrap/authority.h"

#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
  if (!ok) abort();
}

static void check_facts(const struct certificate *facts)
{
  check(facts->role < CERTIFICATE_ROLES);
  check(facts->role == CERTIFICATE_OTHER ? !*facts->fleet
                                         : certificate_is_fleet(facts->fleet));
  check(memchr(facts->name, 0, sizeof(facts->name)));
  for (const char *c = facts->name; *c; c++) check(*c >= ' ' && *c <= '~');
  check(certificate_is_serial(facts->serial));
}

static void read_certificate(const uint8_t *data, size_t size)
{
  struct certificate facts;
  struct err e;
  const unsigned char *at = data;
  X509 *cert = d2i_X509(NULL, &at, (long)size);
  if (cert && certificate_read(cert, &facts, &e) == 0) check_facts(&facts);
  X509_free(cert);
  if (certificate_read_pem((const char *)data, size, &facts, &e) == 0)
    check_facts(&facts);
}

static void read_crl(const struct authority *a, const char *data, size_t size)
{
  struct err e;
  struct buf first, second;
  buf_init(&first, AUTHORITY_MAX_PEM);
  buf_init(&second, AUTHORITY_MAX_PEM);
  if (authority_revoke(a, data, size, "4b", 1, &first, &e) == 0) {
    const char *text = (const char *)first.data;
    check(authority_revoke(a, text, first.len, NULL, 1, &second, &e) == 0);
    check(authority_revoke(a, text, first.len, "4b", 1, &second, &e) < 0);
  }
  buf_free(&first);
  buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct authority *a;
  struct err e;
  struct certificate facts;
  const char *text = (const char *)data;
  if (!a) a = authority_new("search", 10, &e);
  check(a != NULL);
  read_certificate(data, size);
  read_crl(a, text, size);
  check(authority_verify(a, text, size, &facts, &e) < 0);
  check(!authority_is_in(a, text, size));
  /* OpenSSL takes long to find that there is no key. */
  if (memmem(text, size, "PRIVATE", 7))
    check(!authority_open(text, size, text, size, &e));
  return 0;
}
