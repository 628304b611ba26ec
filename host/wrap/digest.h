/* SPDX-License-Identifier: MIT */
/* SHA-256 and HMAC-SHA-256 by OpenSSL's EVP, one-shot and incremental. [any]
 * thread; an object belongs to one thread at a time. */
#ifndef MF_DIGEST_H
#define MF_DIGEST_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_SIZE = 32, DIGEST_HEX_SIZE = 64 };

struct digest;

/* The version of OpenSSL that is in use: "3.5.1". */
const char *digest_library_version(void);

/* NULL and `e` if OpenSSL refuses (out of memory, no SHA-256 provider). */
struct digest *digest_new(struct err *e);
void digest_free(struct digest *d); /* accepts NULL */

/* Adds bytes. 0, or -1 and `e`. */
int digest_update(struct digest *d, const void *data, size_t len,
                  struct err *e);
/* The digest of the bytes so far; more may follow. 0, or -1 and `e`. */
int digest_value(const struct digest *d, uint8_t out[DIGEST_SIZE],
                 struct err *e);

int digest_sha256(const void *data, size_t len, uint8_t out[DIGEST_SIZE],
                  struct err *e);
int digest_hmac_sha256(const void *key, size_t key_len, const void *data,
                       size_t len, uint8_t out[DIGEST_SIZE], struct err *e);

/* Lower-case hexadecimal, not NUL-terminated. */
void digest_hex(const uint8_t digest[DIGEST_SIZE], char out[DIGEST_HEX_SIZE]);

#endif
