/* SPDX-License-Identifier: MIT */
#include "test_keys.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct test_key {
  X509 *cert;
  EVP_PKEY *key;
};

enum { MAX = 256 };
static struct test_key *keys[MAX];
static char *folders[MAX];
static int key_count, folder_count;

static void need(bool ok, const char *what)
{
  if (ok) return;
  fprintf(stderr, "test_keys: %s failed\n", what);
  exit(2);
}

/* ---- certificates ---- */

static void add(X509 *cert, X509 *issuer, int nid, const char *value)
{
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
  need(extension && X509_add_ext(cert, extension, -1), value);
  X509_EXTENSION_free(extension);
}

static void add_extensions(X509 *cert, X509 *issuer,
                           const struct test_options *o)
{
  char names[256];
  add(cert, issuer, NID_basic_constraints,
      o->authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
  add(cert, issuer, NID_key_usage,
      o->authority ? "critical,keyCertSign,cRLSign"
                   : "critical,digitalSignature");
  add(cert, issuer, NID_subject_key_identifier, "hash");
  if (o->issuer)
    add(cert, issuer, NID_authority_key_identifier, "keyid:always");
  snprintf(names, sizeof(names), "DNS:%s%s%s", o->dns ? o->dns : "",
           o->dns2 ? ",DNS:" : "", o->dns2 ? o->dns2 : "");
  if (o->dns) add(cert, issuer, NID_subject_alt_name, names);
  if (o->usage)
    add(cert, issuer, NID_ext_key_usage,
        strcmp(o->usage, "both") ? o->usage : "serverAuth,clientAuth");
}

struct test_key *test_key_new(const struct test_options *o)
{
  static long serial = 1000;
  struct test_key *k = calloc(1, sizeof(*k));
  need(k && key_count < MAX, "memory");
  keys[key_count++] = k;
  k->key = EVP_EC_gen("P-256");
  k->cert = X509_new();
  need(k->key && k->cert, "a key");
  struct test_key *issuer = o->issuer ? o->issuer : k;
  bool usual = !o->begin && !o->end;
  X509_set_version(k->cert, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(k->cert), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(k->cert), usual ? -3600 : o->begin);
  X509_gmtime_adj(X509_getm_notAfter(k->cert),
                  usual ? 365L * TEST_DAY : o->end);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(k->cert), "CN",
                             MBSTRING_UTF8, (const unsigned char *)o->name, -1,
                             -1, 0);
  X509_set_issuer_name(k->cert, X509_get_subject_name(issuer->cert));
  X509_set_pubkey(k->cert, k->key);
  add_extensions(k->cert, issuer->cert, o);
  need(X509_sign(k->cert, issuer->key, EVP_sha256()) > 0, "signing");
  return k;
}

struct test_key *test_authority(const char *name)
{
  return test_key_new(&(struct test_options){.name = name, .authority = true});
}

struct test_key *test_member(struct test_key *authority, const char *role,
                             const char *fleet)
{
  char dns[128];
  snprintf(dns, sizeof(dns), "%s.%s.moonfleet", role, fleet);
  return test_key_new(&(struct test_options){
      .name = strcmp(role, "driver") ? role : "alice",
      .dns = dns,
      .usage = strcmp(role, "node") ? "clientAuth" : "serverAuth",
      .issuer = authority});
}

X509 *test_key_certificate(const struct test_key *k)
{
  return k->cert;
}

EVP_PKEY *test_key_private(const struct test_key *k)
{
  return k->key;
}

/* ---- folders ---- */

static FILE *create(const char *dir, const char *name)
{
  char path[512], temporary[512];
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  snprintf(temporary, sizeof(temporary), "%s/new", dir);
  FILE *file = fopen(temporary, "w");
  need(file && chmod(temporary, 0600) == 0 && rename(temporary, path) == 0,
       path);
  return file;
}

void test_folder_trust(const char *dir, struct test_key *a, struct test_key *b)
{
  FILE *file = create(dir, "ca.crt");
  need(PEM_write_X509(file, a->cert) && (!b || PEM_write_X509(file, b->cert)),
       "ca.crt");
  fclose(file);
}

void test_folder_certificate(const char *dir, struct test_key *a,
                             struct test_key *b)
{
  FILE *file = create(dir, "cert.pem");
  need(PEM_write_X509(file, a->cert) && (!b || PEM_write_X509(file, b->cert)),
       "cert.pem");
  fclose(file);
}

void test_folder_key(const char *dir, struct test_key *key)
{
  FILE *file = create(dir, "key.pem");
  need(PEM_write_PrivateKey(file, key->key, NULL, NULL, 0, NULL, NULL),
       "key.pem");
  fclose(file);
}

void test_folder_revoke(const char *dir, struct test_key *authority,
                        struct test_key *revoked, long begin, long end)
{
  X509_CRL *list = X509_CRL_new();
  ASN1_TIME *first = X509_gmtime_adj(NULL, begin);
  ASN1_TIME *next = X509_gmtime_adj(NULL, end);
  X509V3_CTX ctx;
  need(list && first && next, "memory");
  X509_CRL_set_version(list, X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(list, X509_get_subject_name(authority->cert));
  X509_CRL_set1_lastUpdate(list, first);
  X509_CRL_set1_nextUpdate(list, next);
  X509V3_set_ctx(&ctx, authority->cert, NULL, NULL, list, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(
      NULL, &ctx, NID_authority_key_identifier, "keyid:always");
  need(extension && X509_CRL_add_ext(list, extension, -1), "the issuer");
  X509_EXTENSION_free(extension);
  if (revoked) {
    X509_REVOKED *entry = X509_REVOKED_new();
    need(entry != NULL, "memory");
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->cert));
    X509_REVOKED_set_revocationDate(entry, first);
    X509_CRL_add0_revoked(list, entry);
  }
  need(X509_CRL_sign(list, authority->key, EVP_sha256()) > 0, "signing");
  FILE *file = create(dir, "crl.pem");
  need(PEM_write_X509_CRL(file, list), "crl.pem");
  fclose(file);
  X509_CRL_free(list);
  ASN1_TIME_free(first);
  ASN1_TIME_free(next);
}

void test_folder_write(const char *dir, const char *name, const char *text)
{
  char path[512];
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  if (!text) {
    need(unlink(path) == 0, path);
    return;
  }
  FILE *file = create(dir, name);
  fputs(text, file);
  fclose(file);
}

const char *test_folder(struct test_key *authority, struct test_key *member)
{
  const char *parent = getenv("TMPDIR");
  char path[256];
  snprintf(path, sizeof(path), "%s/moonfleet-keys-XXXXXX",
           parent ? parent : "/tmp");
  need(folder_count < MAX && mkdtemp(path) != NULL, path);
  char *dir = strdup(path);
  need(dir != NULL, "memory");
  folders[folder_count++] = dir;
  test_folder_trust(dir, authority, NULL);
  test_folder_certificate(dir, member, NULL);
  test_folder_key(dir, member);
  return dir;
}

static void remove_folder(const char *path)
{
  DIR *dir = opendir(path);
  for (struct dirent *d; dir && (d = readdir(dir));) {
    char file[512];
    snprintf(file, sizeof(file), "%s/%s", path, d->d_name);
    if (d->d_name[0] != '.' && unlink(file) < 0) remove_folder(file);
  }
  if (dir) closedir(dir);
  rmdir(path);
}

void test_keys_remove(void)
{
  while (folder_count > 0) {
    remove_folder(folders[--folder_count]);
    free(folders[folder_count]);
  }
  while (key_count > 0) {
    struct test_key *k = keys[--key_count];
    X509_free(k->cert);
    EVP_PKEY_free(k->key);
    free(k);
  }
}
