/* SPDX-License-Identifier: MIT */
/* What a terminal sends, cut into keys. */
#include "../test.h"
#include "wrap/line_editor.h"

#include <stdio.h>
#include <string.h>

/* "abc|def|" where each key ends; a paste as [text]. */
static const char *cut(const char *bytes, size_t n, bool over)
{
  static char out[256];
  size_t at = 0, used = 0;
  while (at < n) {
    enum line_editor_kind kind;
    size_t from, len;
    size_t key = line_editor_key(bytes + at, n - at, over, &kind, &from, &len);
    if (!key || used + key + 4 > sizeof(out)) break;
    if (kind == LINE_EDITOR_PASTE) out[used++] = '[';
    memcpy(out + used, bytes + at + from, len);
    used += len;
    out[used++] = kind == LINE_EDITOR_PASTE ? ']' : '|';
    at += key;
  }
  snprintf(out + used, 4, "%s", at < n ? "..." : "");
  return out;
}

#define CUT(bytes) cut(bytes, sizeof(bytes) - 1, false)
#define CUT_OVER(bytes) cut(bytes, sizeof(bytes) - 1, true)

static void test_characters(struct test_run *t)
{
  CHECK_STR(t, CUT("ab\r"), "a|b|\r|");
  CHECK_STR(t, CUT("\x03\x1a"), "\x03|\x1a|");
  CHECK_STR(t, CUT("ü世🙂"), "ü|世|🙂|");
  CHECK_STR(t, CUT("a\xe4\xb8"), "a|...");
  CHECK_STR(t, CUT_OVER("\xe4\xb8"), "\xe4|\xb8|");
  CHECK_STR(t, CUT("\xff\x80z"), "\xff|\x80|z|");
  CHECK_STR(t, CUT(""), "");
}

static void test_sequences(struct test_run *t)
{
  CHECK_STR(t, CUT("\033[A\033OB\033[1;5Cx"), "\033[A|\033OB|\033[1;5C|x|");
  CHECK_STR(t, CUT("\033fx"), "\033f|x|");
  CHECK_STR(t, CUT("\033[3~"), "\033[3~|");
  CHECK_STR(t, CUT("\033\033[A"), "\033\033|[|A|");
}

static void test_incomplete(struct test_run *t)
{
  CHECK_STR(t, CUT("\033"), "...");
  CHECK_STR(t, CUT("\033["), "...");
  CHECK_STR(t, CUT("\033O"), "...");
  CHECK_STR(t, CUT("\033[1;"), "...");
  CHECK_STR(t, CUT_OVER("\033"), "\033|");
  CHECK_STR(t, CUT_OVER("\033["), "\033[|");
}

static void test_endless(struct test_run *t)
{
  char bytes[200] = "\033[";
  enum line_editor_kind kind;
  size_t from, len;
  memset(bytes + 2, '1', sizeof(bytes) - 2);
  size_t n = line_editor_key(bytes, sizeof(bytes), false, &kind, &from, &len);
  CHECK(t, n > 0 && n < 100);
}

static void test_paste(struct test_run *t)
{
  CHECK_STR(t, CUT("\033[200~a\rb\033[201~c"), "[a\rb]c|");
  CHECK_STR(t, CUT("\033[200~\033[201~"), "[]");
  CHECK_STR(t, CUT("\033[200~abc"), "...");
  CHECK_STR(t, CUT("\033[200~\033[A\033[201~"), "[\033[A]");
  CHECK_STR(t, CUT_OVER("\033[200~abc\033[201"), "...");
}

const struct test edit_tests[] = {
    {"edit: characters", test_characters},
    {"edit: escape sequences", test_sequences},
    {"edit: sequences that are not complete", test_incomplete},
    {"edit: a sequence without an end", test_endless},
    {"edit: pasted text", test_paste},
    {NULL, NULL},
};
