/* SPDX-License-Identifier: MIT */
/* The frame of the C tests. A file defines tables of named tests, ended by
 * {NULL, NULL}, and main_test.c runs them. A test fails when a check in it
 * does; it goes on after a failed check, which returns false. */
#ifndef MF_TEST_H
#define MF_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct test_run {
  const char *name;
  int failures;
};

struct test {
  const char *name;
  void (*run)(struct test_run *t);
};

bool test_check(struct test_run *t, bool ok, const char *file, int line,
                const char *what);
bool test_int(struct test_run *t, long long got, long long want,
              const char *file, int line, const char *what);
/* NULL equals only NULL. */
bool test_str(struct test_run *t, const char *got, const char *want,
              const char *file, int line, const char *what);
bool test_bytes(struct test_run *t, const void *got, size_t got_len,
                const void *want, size_t want_len, const char *file, int line,
                const char *what);

#define CHECK(t, condition)                                                    \
  test_check((t), (condition), __FILE__, __LINE__, #condition)
#define CHECK_INT(t, got, want)                                                \
  test_int((t), (long long)(got), (long long)(want), __FILE__, __LINE__, #got)
#define CHECK_STR(t, got, want)                                                \
  test_str((t), (got), (want), __FILE__, __LINE__, #got)
#define CHECK_BYTES(t, got, got_len, want, want_len)                           \
  test_bytes((t), (got), (got_len), (want), (want_len), __FILE__, __LINE__,    \
             #got)

/* A sequence of 64-bit numbers that is the same on every run (splitmix64,
 * https://prng.di.unimi.it/splitmix64.c). */
uint64_t test_random(uint64_t *state);

#endif
