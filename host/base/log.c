/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include "base/utf8.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)

/* Set once by log_init, before threads start. */
static struct {
  const char *role;
  enum log_level level;
  bool journal;
  bool terminal;
} config = {"host", LOG_INFO, false, false};

static struct log_sink *_Atomic sink;

static const char *const names[] = {"error", "warn", "info", "debug"};
/* syslog priorities, which sd-daemon(3) prefixes use */
static const int priorities[] = {3, 4, 6, 7};

void log_init(const char *role, enum log_level level)
{
  config.role = role;
  config.level = level;
  config.terminal = isatty(STDERR_FILENO);
  config.journal = getenv("JOURNAL_STREAM") && !config.terminal;
}

const char *log_start(void)
{
  return config.terminal ? "\r\033[K" : "";
}

int log_parse_level(const char *name, enum log_level *level)
{
  for (int i = 0; i < 4; i++) {
    if (strcmp(name, names[i])) continue;
    *level = (enum log_level)i;
    return 0;
  }
  return -1;
}

const char *log_level_name(enum log_level level)
{
  return names[level];
}

enum log_level log_level(void)
{
  return config.level;
}

bool log_enabled(enum log_level level)
{
  return level <= config.level;
}

/* A line under construction; what does not fit is dropped. */
struct line {
  char text[2048];
  size_t len;
};

static void put(struct line *l, char c)
{
  if (l->len < sizeof(l->text) - 1) l->text[l->len++] = c;
}

static void put_format(struct line *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put_format(struct line *l, const char *format, ...)
{
  va_list ap;
  va_start(ap, format);
  size_t room = sizeof(l->text) - l->len;
  int n = vsnprintf(l->text + l->len, room, format, ap);
  va_end(ap);
  if (n > 0) l->len += (size_t)n < room ? (size_t)n : room - 1;
}

static bool is_plain_char(unsigned char c)
{
  return c > ' ' && c != '"' && c != '=' && c != '\\' && c != 127;
}

/* The length of the character at `s` if it can be written as it is; 0 for
 * control characters, U+0080 to U+009F included, and invalid UTF-8. */
static size_t printable(const char *s)
{
  const uint8_t *c = (const uint8_t *)s;
  size_t n = utf8_length(c, strnlen(s, 4));
  return n && !utf8_is_control(c) ? n : 0;
}

static bool is_plain(const char *s)
{
  if (!*s) return false;
  for (size_t n; *s; s += n) {
    n = printable(s);
    if (!n || !is_plain_char((unsigned char)*s)) return false;
  }
  return true;
}

static void put_key(struct line *l, const char *s)
{
  put(l, ' ');
  for (; *s; s++) put(l, is_plain_char((unsigned char)*s) ? *s : '_');
  put(l, '=');
}

static void put_value(struct line *l, const char *s)
{
  if (is_plain(s)) {
    for (; *s; s++) put(l, *s);
    return;
  }
  put(l, '"');
  while (*s) {
    size_t n = printable(s);
    if (*s == '"' || *s == '\\') put(l, '\\');
    if (*s == '\n')
      put_format(l, "\\n");
    else if (!n)
      put_format(l, "\\x%02x", (unsigned char)*s);
    for (size_t i = 0; i < n; i++) put(l, s[i]);
    s += n ? n : 1;
  }
  put(l, '"');
}

void log_set_sink(struct log_sink *to)
{
  if (to) to->thread = pthread_self();
  atomic_store(&sink, to);
}

void log_raw(const char *lines, size_t n)
{
  struct log_sink *to = atomic_load(&sink);
  if (to && pthread_equal(to->thread, pthread_self())) {
    to->write(to, lines, n);
    return;
  }
  const char *start = log_start();
  struct iovec parts[] = {
      {.iov_base = (char *)(uintptr_t)start, .iov_len = strlen(start)},
      {.iov_base = (char *)(uintptr_t)lines, .iov_len = n}};
  /* a full or closed stderr must not stop the program */
  if (writev(STDERR_FILENO, parts, 2) < 0) return;
}

size_t log_event(enum log_level level, const char *msg,
                 const struct log_field *fields)
{
  if (!log_enabled(level)) return 0;
  struct line l = {.len = 0};
  if (config.journal) {
    put_format(&l, "<%d>", priorities[level]);
  } else {
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    put_format(&l, "time=");
    l.len += strftime(l.text + l.len, sizeof(l.text) - l.len,
                      "%Y-%m-%dT%H:%M:%S", &utc);
    put_format(&l, ".%03ldZ ", now.tv_nsec / 1000000);
  }
  put_format(&l, "level=%s role=%s pid=%d msg=", names[level], config.role,
             (int)getpid());
  put_value(&l, msg);
  for (; fields->key; fields++) {
    put_key(&l, fields->key);
    if (fields->text)
      put_value(&l, fields->text);
    else
      put_format(&l, "%lld", fields->number);
  }
  l.text[l.len++] = '\n';
  log_raw(l.text, l.len);
  return l.len;
}

/* ---- limits ---- */

static uint64_t clock_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

void log_limited(struct log_limit *limit, enum log_level level, const char *msg,
                 const struct log_field *fields)
{
  if (!limit) {
    log_event(level, msg, fields);
    return;
  }
  if (!log_enabled(level)) return;
  const uint64_t now = clock_ns();
  /* once over the limit, drop lines until half of it is available */
  const uint64_t max = SECOND * LOG_BURST / LOG_RATE / (limit->dropped ? 2 : 1);
  if (limit->until > now + max) {
    if (!limit->dropped++) log_warn("jobs log too much, dropping lines");
    return;
  }
  if (limit->dropped)
    log_warn("dropped lines of jobs", LOG_INT("lines", limit->dropped));
  limit->dropped = 0;
  if (limit->until < now) limit->until = now;
  limit->until += log_event(level, msg, fields) * SECOND / LOG_RATE;
}
