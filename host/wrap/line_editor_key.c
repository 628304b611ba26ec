/* SPDX-License-Identifier: MIT */
/* Splits the bytes of a terminal into keys and pasted texts (line_editor.h). */
#include "wrap/line_editor.h"

#include <string.h>

#define ESC '\033'
#define PASTE_BEGIN "\033[200~"
#define PASTE_END "\033[201~"

/* No keyboard sends longer sequences. */
enum { SEQUENCE_MAX = 32 };

/* ESC [ parameters final, ESC O final, ESC character. */
static size_t sequence(const char *bytes, size_t n)
{
  if (n < 2) return 0;
  if (bytes[1] == 'O') return n < 3 ? 0 : 3;
  if (bytes[1] != '[') return 2;
  for (size_t i = 2; i < n; i++)
    if ((bytes[i] >= 0x40 && bytes[i] <= 0x7e) || i == SEQUENCE_MAX)
      return i + 1;
  return 0;
}

/* By the first byte. Invalid bytes after it do no harm. */
static size_t length_by_first(unsigned char first)
{
  if (first >= 0xf0 && first < 0xf8) return 4;
  if (first >= 0xe0 && first < 0xf0) return 3;
  if (first >= 0xc0 && first < 0xe0) return 2;
  return 1;
}

static size_t paste(const char *bytes, size_t n, size_t *from, size_t *len)
{
  *from = strlen(PASTE_BEGIN);
  const char *end =
      memmem(bytes + *from, n - *from, PASTE_END, strlen(PASTE_END));
  if (!end) return 0;
  *len = (size_t)(end - bytes) - *from;
  return *from + *len + strlen(PASTE_END);
}

size_t line_editor_key(const char *bytes, size_t n, bool complete,
                       enum line_editor_kind *kind, size_t *from, size_t *len)
{
  size_t key;
  *kind = LINE_EDITOR_KEY;
  *from = 0;
  if (n == 0) return 0;
  if (n >= strlen(PASTE_BEGIN) &&
      !memcmp(bytes, PASTE_BEGIN, strlen(PASTE_BEGIN))) {
    *kind = LINE_EDITOR_PASTE;
    return paste(bytes, n, from, len); /* even if it takes long */
  }
  if (bytes[0] == ESC) {
    key = sequence(bytes, n);
  } else {
    key = length_by_first((unsigned char)bytes[0]);
    if (key > n) key = 0;
  }
  if (!key && complete) key = bytes[0] == ESC && n > 1 ? n : 1;
  *len = key;
  return key;
}
