/* SPDX-License-Identifier: MIT */
/* moonfleet-ctest [TEXT]...: runs the tests whose names contain one of the
 * texts, or all. Prints a line "FAILED ..." for each failed check, and last "N
 * passed, N failed"; exits with 1 when a test failed or none was run. */
#include "test.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

extern const struct test assembly_tests[];
extern const struct test authority_tests[];
extern const struct test blob_tests[];
extern const struct test carrier_tests[];
extern const struct test carrier_nng_tests[];
extern const struct test carrier_tls_tests[];
extern const struct test channel_walk_tests[];
extern const struct test channel_tests[];
extern const struct test resumable_tests[];
extern const struct test codec_tests[];
extern const struct test dns_answer_tests[];
extern const struct test edit_tests[];
extern const struct test frame_tests[];
extern const struct test http_decode_tests[];
extern const struct test http_filter_tests[];
extern const struct test http_server_tests[];
extern const struct test http_tests[];
extern const struct test json_tests[];
extern const struct test listener_tests[];
extern const struct test loop_tests[];
extern const struct test msgpack_tests[];
extern const struct test outcome_tests[];
extern const struct test session_tests[];
extern const struct test task_tests[];
extern const struct test task_page_tests[];
extern const struct test not_begun_tests[];
extern const struct test notify_tests[];
extern const struct test tls_identity_tests[];
extern const struct test tls_refusal_tests[];
extern const struct test tls_tests[];

static const struct test *const tables[] = {
    blob_tests,         resumable_tests,    channel_tests,
    channel_walk_tests, msgpack_tests,      codec_tests,
    json_tests,         dns_answer_tests,   edit_tests,
    frame_tests,        http_decode_tests,  http_tests,
    outcome_tests,      session_tests,      task_tests,
    task_page_tests,    not_begun_tests,    notify_tests,
    loop_tests,         carrier_tests,      carrier_nng_tests,
    listener_tests,     tls_identity_tests, tls_tests,
    tls_refusal_tests,  carrier_tls_tests,  http_filter_tests,
    authority_tests,    assembly_tests,     http_server_tests,
};

static bool fail(struct test_run *t, const char *file, int line)
{
  t->failures++;
  printf("FAILED %s:%d: %s: ", file, line, t->name);
  return false;
}

bool test_check(struct test_run *t, bool ok, const char *file, int line,
                const char *what)
{
  if (ok) return true;
  fail(t, file, line);
  printf("not true: %s\n", what);
  return false;
}

bool test_int(struct test_run *t, long long got, long long want,
              const char *file, int line, const char *what)
{
  if (got == want) return true;
  fail(t, file, line);
  printf("%s is %lld, not %lld\n", what, got, want);
  return false;
}

bool test_str(struct test_run *t, const char *got, const char *want,
              const char *file, int line, const char *what)
{
  if (got && want ? !strcmp(got, want) : got == want) return true;
  fail(t, file, line);
  printf("%s is \"%s\", not \"%s\"\n", what, got ? got : "(NULL)",
         want ? want : "(NULL)");
  return false;
}

static void print_bytes(const uint8_t *data, size_t len)
{
  for (size_t i = 0; i < len && i < 32; i++) printf(" %02x", data[i]);
  printf(len > 32 ? " ... (%zu bytes)" : " (%zu bytes)", len);
}

bool test_bytes(struct test_run *t, const void *got, size_t got_len,
                const void *want, size_t want_len, const char *file, int line,
                const char *what)
{
  if (got_len == want_len && (!got_len || !memcmp(got, want, got_len)))
    return true;
  fail(t, file, line);
  printf("%s is", what);
  print_bytes(got, got_len);
  printf(", not");
  print_bytes(want, want_len);
  printf("\n");
  return false;
}

uint64_t test_random(uint64_t *state)
{
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

static bool is_wanted(const char *name, int argc, char **argv)
{
  for (int i = 1; i < argc; i++)
    if (strstr(name, argv[i])) return true;
  return argc < 2;
}

int main(int argc, char **argv)
{
  int passed = 0, failed = 0;
  for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
    for (const struct test *test = tables[i]; test->name; test++) {
      if (!is_wanted(test->name, argc, argv)) continue;
      struct test_run t = {test->name, 0};
      test->run(&t);
      if (t.failures)
        failed++;
      else
        passed++;
      fflush(stdout);
    }
  }
  printf("%d passed, %d failed\n", passed, failed);
  return failed || !passed;
}
