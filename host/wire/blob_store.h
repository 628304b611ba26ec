/* SPDX-License-Identifier: MIT */
/* This unit provides the blobs of a session, content by key, and which worker
 * has which of them. There are a thousand at most, but a message may name them
 * a million times: hence the chains. [loop] */
#ifndef MF_BLOB_H
#define MF_BLOB_H

#include <stddef.h>
#include <stdint.h>

enum { BLOB_CHAINS = 256 };

struct blob {
  struct blob *next; /* in its chain */
  int64_t *given;    /* per worker: the generation that has it */
  const uint8_t *key, *content;
  size_t key_len, len;
};

struct blob_store {
  struct blob *chains[BLOB_CHAINS];
  int workers;
  int count;
  size_t bytes; /* memory of them all */
};

/* What keeping a blob takes. */
size_t blob_size(const struct blob_store *store, size_t key_len, size_t len);

/* NULL without one. */
struct blob *blob_find(const struct blob_store *store, const uint8_t *key,
                       size_t key_len);

/* Copies; a key that is there keeps what it has. 0, or -1 (memory). */
int blob_add(struct blob_store *store, const uint8_t *key, size_t key_len,
             const uint8_t *content, size_t len);

void blob_drop(struct blob_store *store, struct blob *blob);
void blob_drop_all(struct blob_store *store);

#endif
