/* SPDX-License-Identifier: MIT */
#include "wrap/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <stdlib.h>

enum { HMAC_BLOCK = 64 };

struct digest {
  EVP_MD_CTX *ctx;
  EVP_MD *md; /* fetched once: the implicit fetch costs a lock per digest */
};

static int refused(struct err *e)
{
  return err_set(e, "memory",
                 "OpenSSL cannot compute SHA-256 (out of memory, or no "
                 "provider that has it is active)");
}

const char *digest_library_version(void)
{
  return OpenSSL_version(OPENSSL_VERSION_STRING);
}

struct digest *digest_new(struct err *e)
{
  struct digest *d = calloc(1, sizeof(*d));
  if (!d) goto fail;
  d->md = EVP_MD_fetch(NULL, "SHA256", NULL);
  d->ctx = EVP_MD_CTX_new();
  if (!d->md || !d->ctx || EVP_DigestInit_ex(d->ctx, d->md, NULL) != 1)
    goto fail;
  return d;
fail:
  digest_free(d);
  refused(e);
  return NULL;
}

void digest_free(struct digest *d)
{
  if (!d) return;
  EVP_MD_CTX_free(d->ctx);
  EVP_MD_free(d->md);
  free(d);
}

int digest_update(struct digest *d, const void *data, size_t len)
{
  return EVP_DigestUpdate(d->ctx, data, len) == 1 ? 0 : -1;
}

int digest_value(const struct digest *d, uint8_t out[DIGEST_SIZE])
{
  EVP_MD_CTX *copy = EVP_MD_CTX_new();
  int ok = copy && EVP_MD_CTX_copy_ex(copy, d->ctx) &&
           EVP_DigestFinal_ex(copy, out, NULL);
  EVP_MD_CTX_free(copy);
  return ok ? 0 : -1;
}

int digest_sha256(const void *data, size_t len, uint8_t out[DIGEST_SIZE],
                  struct err *e)
{
  int ok = EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL);
  return ok == 1 ? 0 : refused(e);
}

int digest_hmac_sha256(const void *key, size_t key_len, const void *data,
                       size_t len, uint8_t out[DIGEST_SIZE], struct err *e)
{
  /* HMAC replaces a long key by its digest. Done here, the length always fits
   * OpenSSL's int. */
  uint8_t short_key[DIGEST_SIZE];
  if (key_len > HMAC_BLOCK) {
    if (digest_sha256(key, key_len, short_key, e) < 0) return -1;
    key = short_key;
    key_len = sizeof(short_key);
  }
  if (HMAC(EVP_sha256(), key, (int)key_len, data, len, out, NULL)) return 0;
  return refused(e);
}

void digest_hex(const uint8_t digest[DIGEST_SIZE], char out[DIGEST_HEX_SIZE])
{
  static const char hex[] = "0123456789abcdef";
  for (int i = 0; i < DIGEST_SIZE; i++) {
    out[2 * i] = hex[digest[i] >> 4];
    out[2 * i + 1] = hex[digest[i] & 15];
  }
}
