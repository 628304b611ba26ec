/* SPDX-License-Identifier: MIT */
#include "wire/blob_store.h"

#include <stdlib.h>
#include <string.h>

size_t blob_size(const struct blob_store *store, size_t key_len, size_t len)
{
  return sizeof(struct blob) + (size_t)store->workers * sizeof(int64_t) +
         key_len + len;
}

/* FNV-1a. */
static size_t chain_of(const uint8_t *key, size_t key_len)
{
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < key_len; i++) hash = (hash ^ key[i]) * 16777619u;
  return (hash ^ hash >> 16) % BLOB_CHAINS;
}

struct blob *blob_find(const struct blob_store *store, const uint8_t *key,
                       size_t key_len)
{
  struct blob *b;
  LIST_FOREACH (b, &store->chains[chain_of(key, key_len)], link)
    if (b->key_len == key_len && !memcmp(b->key, key, key_len)) break;
  return b;
}

int blob_add(struct blob_store *store, const uint8_t *key, size_t key_len,
             const uint8_t *content, size_t len)
{
  if (blob_find(store, key, key_len)) return 0;
  struct blob *b = calloc(1, blob_size(store, key_len, len));
  if (!b) return -1;
  b->given = (int64_t *)(b + 1);
  uint8_t *bytes = (uint8_t *)(b->given + store->workers);
  memcpy(bytes, key, key_len);
  memcpy(bytes + key_len, content, len);
  b->key = bytes;
  b->key_len = key_len;
  b->content = bytes + key_len;
  b->len = len;
  LIST_INSERT_HEAD(&store->chains[chain_of(key, key_len)], b, link);
  store->count++;
  store->bytes += blob_size(store, key_len, len);
  return 0;
}

void blob_drop(struct blob_store *store, struct blob *blob)
{
  LIST_REMOVE(blob, link);
  store->count--;
  store->bytes -= blob_size(store, blob->key_len, blob->len);
  free(blob);
}

void blob_drop_all(struct blob_store *store)
{
  for (size_t i = 0; i < BLOB_CHAINS; i++)
    while (!LIST_EMPTY(&store->chains[i]))
      blob_drop(store, LIST_FIRST(&store->chains[i]));
}
