/* SPDX-License-Identifier: MIT */
#include "node/audit.h"

#include "base/log.h"
#include "base/utf8.h"
#include "net/channel.h"
#include "wire/msgpack.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct audit {
  int fd;
  bool failed; /* a write has, and that was logged */
  char path[];
};

/* Bytes of a text of a driver that are shown. */
enum { MAX_TEXT = 256 };

static int open_file(const char *path)
{
  return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

struct audit *audit_open(const char *path, struct err *e)
{
  struct audit *a = err_calloc(sizeof(*a) + strlen(path) + 1, "the audit", e);
  if (!a) return NULL;
  memcpy(a->path, path, strlen(path));
  a->fd = open_file(path);
  if (a->fd >= 0) return a;
  err_errno(e, "usage", errno, "--audit: cannot open %s", path);
  free(a);
  return NULL;
}

void audit_reopen(struct audit *a)
{
  struct err e;
  int fd = open_file(a->path);
  if (fd < 0) {
    err_errno(&e, "system", errno, "--audit: cannot open %s again", a->path);
    log_error(e.text);
    return;
  }
  close(a->fd);
  a->fd = fd;
  a->failed = false;
}

void audit_close(struct audit *a)
{
  if (!a) return;
  close(a->fd);
  free(a);
}

/* Writes the fields as an object, with one write(2) so that lines of several
 * nodes do not mix. */
static void write_line(struct audit *a, const char *event,
                       const struct log_field *fields)
{
  char now[32], at[48];
  struct timespec clock;
  struct tm utc;
  clock_gettime(CLOCK_REALTIME, &clock);
  gmtime_r(&clock.tv_sec, &utc);
  strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%S", &utc);
  snprintf(at, sizeof(at), "%s.%03ldZ", now, clock.tv_nsec / 1000000);
  json_t *line = json_pack("{s:s, s:s}", "time", at, "event", event);
  for (; fields->key; fields++) {
    if (!fields->text)
      json_object_set_new(line, fields->key, json_integer(fields->number));
    else if (*fields->text)
      json_object_set_new(line, fields->key, json_string(fields->text));
  }
  char *text = json_dumps(line, JSON_COMPACT);
  size_t len = text ? strlen(text) : 0;
  json_decref(line);
  if (text) text[len] = '\n'; /* in place of its end */
  errno = text ? 0 : ENOMEM;
  if (text && write(a->fd, text, len + 1) == (ssize_t)len + 1) {
    a->failed = false;
  } else if (!a->failed) {
    struct err e;
    a->failed = true;
    err_errno(&e, "system", errno ? errno : ENOSPC,
              "--audit: cannot write to %s", a->path);
    log_error(e.text);
  }
  free(text);
}

static void note(struct node *n, const char *event, const char *message,
                 const struct log_field *fields)
{
  log_event(LOG_INFO, message, fields);
  if (n->audit) write_line(n->audit, event, fields);
}

/* A text of a driver, of which control characters and what is not UTF-8 become
 * '?', in a buffer of MAX_TEXT bytes. */
static const char *copy_text(char *to, const void *from, size_t len)
{
  const uint8_t *c = from;
  size_t at = 0;
  while (len) {
    size_t n = utf8_length(c, len), step = n ? n : 1;
    if (at + step >= MAX_TEXT) break;
    if (n && !utf8_is_control(c))
      memcpy(to + at, c, n);
    else
      memset(to + at, '?', step);
    at += step;
    c += step;
    len -= step;
  }
  to[at] = 0;
  return to;
}

static void set_peer(struct log_field *fields, const struct peer *p)
{
  struct peer_identity identity = peer_identity(p);
  fields[0] = LOG_STR("peer", channel_peer(p->channel));
  fields[1] = LOG_STR("cn", identity.name);
  fields[2] = LOG_STR("role", identity.role);
  fields[3] = LOG_STR("serial", identity.serial);
}

void audit_session(struct node *n, const struct session *s,
                   const struct peer *p, const char *release, size_t len)
{
  char text[MAX_TEXT];
  struct log_field fields[] = {
      LOG_INT("session", s->number),
      {0},
      {0},
      {0},
      {0},
      LOG_STR("release", copy_text(text, release, len)),
      {0}};
  set_peer(fields + 1, p);
  note(n, "session", "session opened", fields);
}

/* The name in a definition (lua/fleet/worker/runner.lua): its field `name`, or
 * that of its chunk without the mark in front. Points into it. */
static size_t find_name(const struct blob *definition, const uint8_t **name)
{
  struct mp_reader r = {definition->content,
                        definition->content + definition->len};
  struct mp_token map, key;
  const uint8_t *value;
  size_t len = 0, n;
  *name = NULL;
  if (mp_read(&r, &map) != 0 || map.type != MP_MAP) return 0;
  for (uint32_t i = 0; i < map.u.count && mp_read(&r, &key) == 0; i++) {
    struct mp_reader at = r;
    bool is_text = key.type == MP_STR && mp_read_bytes(&at, &value, &n) == 0;
    if (is_text && n && key.u.bytes.len == 9 &&
        !memcmp(key.u.bytes.data, "chunkname", 9) && !len) {
      *name = value + 1;
      len = n - 1;
    } else if (is_text && key.u.bytes.len == 4 &&
               !memcmp(key.u.bytes.data, "name", 4)) {
      *name = value;
      len = n;
      break;
    }
    if (mp_skip(&r) < 0) break;
  }
  return len;
}

void audit_job(struct node *n, const struct session *s, int64_t job,
               const struct blob *definition)
{
  char key[MAX_TEXT], text[MAX_TEXT];
  const uint8_t *name;
  size_t len = find_name(definition, &name);
  struct log_field fields[] = {
      LOG_INT("session", s->number),
      {0},
      {0},
      {0},
      {0},
      LOG_INT("job", job),
      LOG_STR("definition",
              copy_text(key, definition->key, definition->key_len)),
      LOG_STR("name", copy_text(text, name, len)),
      {0}};
  if (s->peer) set_peer(fields + 1, s->peer);
  note(n, "job", "job submitted", fields);
}
