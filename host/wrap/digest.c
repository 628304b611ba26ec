/* SPDX-License-Identifier: MIT */
#include "wrap/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

enum { HMAC_BLOCK = 64 };

/* struct digest is never defined. It is OpenSSL's context under another name,
 * for files that do not include its headers. */
static EVP_MD_CTX *context_of(const struct digest *d)
{
  return (EVP_MD_CTX *)(uintptr_t)d;
}

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
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  if (ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1)
    return (struct digest *)ctx;
  EVP_MD_CTX_free(ctx);
  refused(e);
  return NULL;
}

void digest_free(struct digest *d)
{
  EVP_MD_CTX_free(context_of(d));
}

int digest_update(struct digest *d, const void *data, size_t len, struct err *e)
{
  return EVP_DigestUpdate(context_of(d), data, len) == 1 ? 0 : refused(e);
}

int digest_value(const struct digest *d, uint8_t out[DIGEST_SIZE],
                 struct err *e)
{
  EVP_MD_CTX *copy = EVP_MD_CTX_new();
  int ok = copy && EVP_MD_CTX_copy_ex(copy, context_of(d)) &&
           EVP_DigestFinal_ex(copy, out, NULL);
  EVP_MD_CTX_free(copy);
  return ok ? 0 : refused(e);
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
  /* HMAC itself replaces a long key by its digest; done here, the length always
   * fits OpenSSL's int. */
  uint8_t short_key[DIGEST_SIZE];
  size_t n;
  if (key_len > HMAC_BLOCK) {
    if (digest_sha256(key, key_len, short_key, e) < 0) return -1;
    key = short_key;
    key_len = sizeof(short_key);
  }
  return EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, key_len, data, len,
                   out, DIGEST_SIZE, &n)
             ? 0
             : refused(e);
}

void digest_hex(const uint8_t digest[DIGEST_SIZE], char out[DIGEST_HEX_SIZE])
{
  static const char hex[] = "0123456789abcdef";
  for (int i = 0; i < DIGEST_SIZE; i++) {
    out[2 * i] = hex[digest[i] >> 4];
    out[2 * i + 1] = hex[digest[i] & 15];
  }
}
