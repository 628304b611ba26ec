/* SPDX-License-Identifier: MIT */
/* struct blob_store: the blobs of a session, content by key, and which worker
 * has which of them. There are a thousand at most, but a message may name them
 * a million times: hence a hash table. [loop] */
#ifndef MF_BLOB_STORE_H
#define MF_BLOB_STORE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum { BLOB_CHAINS = 256 };

struct blob {
  LIST_ENTRY(blob) link;
  int64_t *given; /* per worker: the generation that has it */
  const uint8_t *key, *content;
  size_t key_len, len;
};

/* All zero but for `workers`: empty. */
struct blob_store {
  LIST_HEAD(, blob) chains[BLOB_CHAINS];
  int workers; /* so many `given` has each */
  int count;
  size_t bytes; /* of memory, all together */
};

/* The bytes of memory that a blob takes. */
size_t blob_size(const struct blob_store *store, size_t key_len, size_t len);

/* NULL when there is none. */
struct blob *blob_find(const struct blob_store *store, const uint8_t *key,
                       size_t key_len);

/* Adds a copy, unless the key has a blob already. Returns 0, or -1 when memory
 * is out. */
int blob_add(struct blob_store *store, const uint8_t *key, size_t key_len,
             const uint8_t *content, size_t len);

void blob_drop(struct blob_store *store, struct blob *blob);
void blob_drop_all(struct blob_store *store);

#endif
