/* SPDX-License-Identifier: MIT */
/* Certificates that only OpenSSL's own calls can make: a CA out of its time,
 * and names with bytes that hide something. The rest is in
 * spec/host/bindings/keys_spec.lua. */
#include "../test.h"
#include "wrap/authority.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

/* A CA whose certificate and key can be changed. */
struct fixture {
  X509 *cert;
  EVP_PKEY *key;
  struct buf pem, key_pem;
};

static void set_up(struct test_run *t, struct fixture *f)
{
  struct err e;
  struct authority *a = authority_new("search", 10, &e);
  memset(f, 0, sizeof(*f));
  buf_init(&f->pem, 1 << 20);
  buf_init(&f->key_pem, 1 << 20);
  if (!CHECK(t, a)) return;
  CHECK_INT(t, authority_write(a, &f->pem, &f->key_pem, &e), 0);
  authority_free(a);
  BIO *in = BIO_new_mem_buf(f->pem.data, (int)f->pem.len);
  f->cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
  BIO_free(in);
  in = BIO_new_mem_buf(f->key_pem.data, (int)f->key_pem.len);
  f->key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
  BIO_free(in);
  CHECK(t, f->cert && f->key);
}

static void tear_down(struct fixture *f)
{
  X509_free(f->cert);
  EVP_PKEY_free(f->key);
  buf_free(&f->pem);
  buf_free(&f->key_pem);
}

/* Signs what has changed, and opens the CA. */
static struct authority *reopen(struct fixture *f, struct err *e)
{
  X509_sign(f->cert, f->key, EVP_sha256());
  BIO *out = BIO_new(BIO_s_mem());
  char *data;
  PEM_write_bio_X509(out, f->cert);
  long len = BIO_get_mem_data(out, &data);
  struct authority *a = authority_open((const char *)f->key_pem.data,
                                       f->key_pem.len, data, (size_t)len, e);
  BIO_free(out);
  return a;
}

static void test_dates(struct test_run *t)
{
  struct fixture f;
  struct err e;
  struct authority *a;
  set_up(t, &f);
  ASN1_TIME *past = ASN1_TIME_new(), *future = ASN1_TIME_new();
  ASN1_TIME_set_string(past, "20200102030405Z");
  ASN1_TIME_set_string(future, "20990102030405Z");
  a = reopen(&f, &e);
  CHECK(t, a);
  authority_free(a);

  X509_set1_notBefore(f.cert, future);
  CHECK(t, !reopen(&f, &e));
  CHECK_STR(t, e.kind, "config");
  CHECK_STR(t, e.text,
            "ca.crt is valid from 2099-01-02 03:04 UTC on only; is the clock "
            "right?");

  X509_set1_notBefore(f.cert, past);
  X509_set1_notAfter(f.cert, past);
  CHECK(t, !reopen(&f, &e));
  CHECK_STR(t, e.text, "ca.crt expired on 2020-01-02 03:04 UTC; make a new CA");

  /* dates beyond 32 bits and beyond UTCTime */
  struct certificate facts;
  X509_set1_notAfter(f.cert, future);
  CHECK_INT(t, certificate_read(f.cert, &facts, &e), 0);
  CHECK_INT(t, facts.not_before, 1577934245);
  CHECK_INT(t, facts.not_after, 4071006245);
  ASN1_TIME_free(past);
  ASN1_TIME_free(future);
  tear_down(&f);
}

static void test_serials(struct test_run *t)
{
  struct fixture f;
  struct err e;
  struct certificate facts;
  set_up(t, &f);
  ASN1_INTEGER *serial = ASN1_INTEGER_new();
  static const struct {
    const char *hex, *want;
  } cases[] = {
      {"0", "00"},
      {"80", "80"},
      {"FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
       "ffffffffffffffffffffffffffffffffffffffff"},
      {"01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", NULL},
      {"-1", NULL},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    BIGNUM *number = NULL;
    BN_hex2bn(&number, cases[i].hex);
    BN_to_ASN1_INTEGER(number, serial);
    X509_set_serialNumber(f.cert, serial);
    int rc = certificate_read(f.cert, &facts, &e);
    CHECK_INT(t, rc, cases[i].want ? 0 : -1);
    if (cases[i].want)
      CHECK_STR(t, facts.serial, cases[i].want);
    else
      CHECK_STR(t, e.text, "its serial number is not one to 20 bytes");
    BN_free(number);
  }
  ASN1_INTEGER_free(serial);
  tear_down(&f);
}

/* The role of a certificate with this name for a driver. */
static enum certificate_role role_of(const char *dns, int len)
{
  struct certificate facts;
  struct err e;
  X509 *cert = X509_new();
  GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
  GENERAL_NAME *name = GENERAL_NAME_new();
  ASN1_IA5STRING *value = ASN1_IA5STRING_new();
  EXTENDED_KEY_USAGE *usage = sk_ASN1_OBJECT_new_null();
  ASN1_STRING_set(value, dns, len);
  GENERAL_NAME_set0_value(name, GEN_DNS, value);
  sk_GENERAL_NAME_push(names, name);
  sk_ASN1_OBJECT_push(usage, OBJ_nid2obj(NID_client_auth));
  X509_set_version(cert, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), 0);
  X509_gmtime_adj(X509_getm_notAfter(cert), 60);
  X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0);
  X509_add1_ext_i2d(cert, NID_ext_key_usage, usage, 0, 0);
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509_set_pubkey(cert, key);
  X509_sign(cert, key, EVP_sha256());
  int rc = certificate_read(cert, &facts, &e);
  EVP_PKEY_free(key);
  EXTENDED_KEY_USAGE_free(usage);
  GENERAL_NAMES_free(names);
  X509_free(cert);
  return rc < 0 ? CERTIFICATE_ROLES : facts.role;
}

#define ROLE_OF(dns) role_of(dns, sizeof(dns) - 1)

static void test_hidden_bytes(struct test_run *t)
{
  CHECK_INT(t, ROLE_OF("driver.search.moonfleet"), CERTIFICATE_DRIVER);
  CHECK_INT(t, ROLE_OF("driver.search\0.moonfleet"), CERTIFICATE_OTHER);
  CHECK_INT(t, ROLE_OF("driver.search.moonfleet\0"), CERTIFICATE_OTHER);
  CHECK_INT(t, ROLE_OF("driver.\0.moonfleet"), CERTIFICATE_OTHER);
  CHECK_INT(t, ROLE_OF("driver.s\0x.moonfleet"), CERTIFICATE_OTHER);
  CHECK_INT(t, ROLE_OF("driver.search.moonfleet\n"), CERTIFICATE_OTHER);
  CHECK_INT(t, ROLE_OF("driver.s\xc3\xa9.moonfleet"), CERTIFICATE_OTHER);
  CHECK_INT(t, ROLE_OF(""), CERTIFICATE_OTHER);
  CHECK_INT(t, ROLE_OF("."), CERTIFICATE_OTHER);
  CHECK_INT(t, ROLE_OF("driver..moonfleet"), CERTIFICATE_OTHER);
  CHECK_INT(t, ROLE_OF("driver.moonfleet"), CERTIFICATE_OTHER);
}

static void test_names(struct test_run *t)
{
  char dns[CERTIFICATE_DNS_SIZE];
  char longest[CERTIFICATE_FLEET_SIZE];
  memset(longest, 'a', sizeof(longest) - 1);
  longest[sizeof(longest) - 1] = '\0';
  for (int role = CERTIFICATE_CA; role < CERTIFICATE_ROLES; role++) {
    const char *name = certificate_role_name((enum certificate_role)role);
    CHECK_INT(t, certificate_role_of(name), role);
    certificate_dns_name((enum certificate_role)role, longest, dns);
    CHECK_STR(t, dns + strlen(dns) - 10, ".moonfleet");
  }
  certificate_dns_name(CERTIFICATE_NODE, "search", dns);
  CHECK_STR(t, dns, "node.search.moonfleet");
  CHECK_INT(t, certificate_role_of("other"), CERTIFICATE_OTHER);
  CHECK_INT(t, certificate_role_of(""), CERTIFICATE_OTHER);
}

static void test_no_memory(struct test_run *t)
{
  struct err e;
  struct authority *a = authority_new("search", 10, &e);
  struct buf small, key;
  buf_init(&small, 100);
  buf_init(&key, 100);
  if (CHECK(t, a)) {
    CHECK_INT(t, authority_write(a, &small, &key, &e), -1);
    CHECK_STR(t, e.kind, "memory");
    CHECK_INT(t, authority_issue(a, CERTIFICATE_NODE, "n", 1, &small, &key, &e),
              -1);
    CHECK_INT(t, authority_revoke(a, NULL, 0, "01", 1, &small, &e), -1);
  }
  buf_free(&small);
  buf_free(&key);
  authority_free(a);
}

const struct test authority_tests[] = {
    {"authority: the dates of a CA", test_dates},
    {"certificate: serial numbers", test_serials},
    {"certificate: names with hidden bytes", test_hidden_bytes},
    {"certificate: names of roles", test_names},
    {"authority: no memory", test_no_memory},
    {NULL, NULL},
};
