/* SPDX-License-Identifier: MIT */
#include "../test.h"
#include "wire/blob_store.h"

#include <stdio.h>
#include <string.h>

extern const struct test blob_tests[];

enum { COUNT = 1000 };

static size_t key_of(char *key, size_t size, int i)
{
  return (size_t)snprintf(key, size, "key %d", i);
}

static struct blob *find(const struct blob_store *store, int i)
{
  char key[32];
  size_t len = key_of(key, sizeof(key), i);
  return blob_find(store, (const uint8_t *)key, len);
}

static void test_store(struct test_run *t)
{
  struct blob_store store = {.workers = 2};
  int found = 0, wrong = 0;
  char key[32];
  size_t len;
  for (int i = 0; i < COUNT; i++) {
    len = key_of(key, sizeof(key), i);
    blob_add(&store, (const uint8_t *)key, len, (const uint8_t *)&i, sizeof(i));
  }
  CHECK_INT(t, store.count, COUNT);
  /* the first of a key stays */
  blob_add(&store, (const uint8_t *)"key 7", 5, (const uint8_t *)"", 0);
  blob_add(&store, (const uint8_t *)"", 0, (const uint8_t *)"none", 4);
  CHECK_INT(t, store.count, COUNT + 1);
  for (int i = 0; i < COUNT; i++) {
    const struct blob *b = find(&store, i);
    wrong += !b || b->len != sizeof(i) || memcmp(b->content, &i, sizeof(i));
  }
  CHECK_INT(t, wrong, 0);
  for (int i = 0; i < COUNT; i += 2) blob_drop(&store, find(&store, i));
  for (int i = 0; i < COUNT; i++) found += (find(&store, i) != NULL) == i % 2;
  CHECK_INT(t, found, COUNT);
  blob_drop_all(&store);
  CHECK_INT(t, store.count, 0);
  CHECK_INT(t, store.bytes, 0);
}

/* No chain is much longer than another: keys are digests, or like these. */
static void test_chains(struct test_run *t)
{
  struct blob_store store = {0};
  int longest = 0;
  char key[32];
  for (int i = 0; i < COUNT; i++) {
    size_t len = key_of(key, sizeof(key), i);
    blob_add(&store, (const uint8_t *)key, len, (const uint8_t *)"", 0);
  }
  for (int i = 0; i < BLOB_CHAINS; i++) {
    const struct blob *b;
    int length = 0;
    LIST_FOREACH (b, &store.chains[i], link) length++;
    if (length > longest) longest = length;
  }
  CHECK(t, longest < 20);
  blob_drop_all(&store);
}

const struct test blob_tests[] = {
    {"blob: found by key until it is dropped", test_store},
    {"blob: chains are short", test_chains},
    {NULL, NULL},
};
