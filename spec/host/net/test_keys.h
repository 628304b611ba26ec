/* SPDX-License-Identifier: MIT */
/* Folders of keys (tls_identity.h) for tests, good ones and every kind of bad
 * ones. They are in a temporary folder, which test_keys_remove removes. A
 * failure ends the program: there is nothing to test then. */
#ifndef MF_TEST_KEYS_H
#define MF_TEST_KEYS_H

#include <stdbool.h>
#include <stddef.h>

enum { TEST_DAY = 86400 };

/* A certificate and its key; an authority, or an end. Never freed before
 * test_keys_remove. */
struct test_key;

struct test_options {
  const char *name;        /* the common name */
  const char *dns, *dns2;  /* alternative names; NULL: none */
  const char *usage;       /* "serverAuth", "clientAuth", "both", NULL */
  struct test_key *issuer; /* NULL: self-signed */
  long begin, end;         /* seconds from now; both 0: an hour back, a year */
  bool authority;
};

struct test_key *test_key_new(const struct test_options *options);
/* An authority with a common name. */
struct test_key *test_authority(const char *name);
/* The certificate that keygen would make for that role: "node", ... */
struct test_key *test_member(struct test_key *authority, const char *role,
                             const char *fleet);

struct x509_st;
struct evp_pkey_st;
struct x509_st *test_key_certificate(const struct test_key *k);
struct evp_pkey_st *test_key_private(const struct test_key *k);

/* A new folder with ca.crt, cert.pem and key.pem (0600). Returns its path,
 * valid until test_keys_remove. */
const char *test_folder(struct test_key *authority, struct test_key *member);

/* Replaces ca.crt by one with these; `b` may be NULL. */
void test_folder_trust(const char *dir, struct test_key *a, struct test_key *b);
/* Replaces cert.pem by two certificates, or by one if `b` is NULL. */
void test_folder_certificate(const char *dir, struct test_key *a,
                             struct test_key *b);
/* Replaces key.pem. */
void test_folder_key(const char *dir, struct test_key *key);
/* Replaces crl.pem by a list of `authority` that revokes `revoked` (or nothing
 * if NULL), published at `begin`, to be renewed at `end` (seconds from now). */
void test_folder_revoke(const char *dir, struct test_key *authority,
                        struct test_key *revoked, long begin, long end);
/* Replaces any file, or removes it if `text` is NULL. */
void test_folder_write(const char *dir, const char *name, const char *text);

/* Removes all folders and frees all keys. */
void test_keys_remove(void);

#endif
