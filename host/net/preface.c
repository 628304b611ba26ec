/* SPDX-License-Identifier: MIT */
#include "net/preface.h"

#include "wire/protocol.h"

#include <stdio.h>
#include <string.h>

#define NAME "moonfleet/"

enum { NAME_SIZE = sizeof(NAME) - 1, MAX_DIGITS = 9 };

const char preface_text[sizeof(NAME) + 2] = NAME "5\n";
_Static_assert(PROTOCOL_VERSION == 5, "preface_text has the version");

/* What nng's sockets send first; earlier versions were built on them. */
static const uint8_t nng_start[] = {0, 'S', 'P', 0};

enum match { NO_MATCH, PARTIAL, MATCH };

void preface_init(struct preface *p, bool skip_noise)
{
  memset(p, 0, sizeof(*p));
  p->skip_noise = skip_noise;
  buf_init(&p->text, PREFACE_MAX_NOISE);
}

void preface_free(struct preface *p)
{
  buf_free(&p->text);
}

/* Whether a preface begins at `s`; `end` is set to the place behind it. */
static enum match match_preface(const uint8_t *s, size_t len, size_t *end)
{
  size_t at = NAME_SIZE;
  if (memcmp(s, NAME, len < at ? len : at)) return NO_MATCH;
  while (at < len && s[at] >= '0' && s[at] <= '9') at++;
  if (at > NAME_SIZE + MAX_DIGITS) return NO_MATCH;
  if (at >= len) return PARTIAL;
  *end = at + 1;
  return s[at] == '\n' && at > NAME_SIZE ? MATCH : NO_MATCH;
}

static enum match find_preface(struct preface *p, size_t *end)
{
  for (; p->at < p->text.len; p->at++) {
    enum match m =
        match_preface(p->text.data + p->at, p->text.len - p->at, end);
    if (m != NO_MATCH || !p->skip_noise) return m;
    const uint8_t *next =
        memchr(p->text.data + p->at + 1, NAME[0], p->text.len - p->at - 1);
    p->at = next ? (size_t)(next - p->text.data) - 1 : p->text.len - 1;
  }
  return PARTIAL;
}

void preface_show(const struct preface *p, char *to, size_t size)
{
  struct buf shown;
  buf_init(&shown, size - 1);
  for (size_t i = 0; i < p->text.len && i < PREFACE_SHOWN; i++) {
    uint8_t c = p->text.data[i];
    char piece[8];
    if (c == '\n')
      snprintf(piece, sizeof(piece), "\\n");
    else if (c < ' ' || c > '~' || c == '\\' || c == '"')
      snprintf(piece, sizeof(piece), "\\x%02x", c);
    else
      snprintf(piece, sizeof(piece), "%c", c);
    buf_add(&shown, piece, strlen(piece)); /* or is full, and stays so */
  }
  snprintf(to, size, "%.*s", (int)shown.len, (const char *)shown.data);
  buf_free(&shown);
}

static int refuse(const struct preface *p, struct err *e)
{
  const uint8_t *s = p->text.data;
  char shown[PREFACE_SHOWN * 4 + 1];
  if (p->text.len >= sizeof(nng_start) &&
      !memcmp(s, nng_start, sizeof(nng_start)))
    return err_set(e, "skew", "it speaks protocol 4 or older, this is %d",
                   PROTOCOL_VERSION);
  /* records of TLS: an alert or a handshake, version 3.x */
  if (p->text.len >= 2 && (s[0] == 0x15 || s[0] == 0x16) && s[1] == 3)
    return err_set(e, "protocol",
                   "it speaks TLS, this side does not; is "
                   "--tls missing?");
  preface_show(p, shown, sizeof(shown));
  if (p->skip_noise)
    return err_set(e, "protocol",
                   "it is not moonfleet: there is no preface in its first %d "
                   "KiB, which begin with \"%s\"",
                   PREFACE_MAX_NOISE / 1024, shown);
  return err_set(e, "protocol", "it is not moonfleet: it begins with \"%s\"",
                 shown);
}

/* What has come so far may be the beginning of what `refuse` knows by name. */
static bool may_be_known(const struct preface *p)
{
  return p->text.len < sizeof(nng_start) &&
         !memcmp(p->text.data, nng_start, p->text.len);
}

int64_t preface_read(struct preface *p, const uint8_t *data, size_t len,
                     struct err *e)
{
  size_t before = p->text.len, room = p->text.max - before, end;
  size_t n = len < room ? len : room;
  if (!len) return 0;
  if (buf_add(&p->text, data, n) < 0)
    return err_set(e, "memory", "out of memory for a preface");
  switch (find_preface(p, &end)) {
  case NO_MATCH: return may_be_known(p) ? (int64_t)n : refuse(p, e);
  case PARTIAL: return p->text.len < p->text.max ? (int64_t)n : refuse(p, e);
  case MATCH: break;
  }
  const char *version = (const char *)p->text.data + p->at + NAME_SIZE;
  size_t digits = end - NAME_SIZE - 1;
  if (digits + NAME_SIZE + 1 != sizeof(preface_text) - 1 ||
      memcmp(version, preface_text + NAME_SIZE, digits))
    return err_set(e, "skew", "it speaks protocol %.*s, this is %d",
                   (int)digits, version, PROTOCOL_VERSION);
  p->done = true;
  n = p->at + end - before;
  buf_free(&p->text);
  return (int64_t)n;
}
