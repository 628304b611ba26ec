/* SPDX-License-Identifier: MIT */
#include "session.h"

#include "log.h"
#include "msgpack.h"

#include <stdlib.h>
#include <string.h>

struct chunk {
  struct chunk *next;
  size_t len;
  uint8_t data[];
};

struct held {
  struct held *next;
  struct rpc_request *req;
};

struct session *session_find(struct session_list *l, const uint8_t *key)
{
  for (struct session *s = l->first; s; s = s->next)
    if (!memcmp(s->key, key, PROTOCOL_SESSION_SIZE)) return s;
  return NULL;
}

struct session *session_numbered(struct session_list *l, int64_t number)
{
  for (struct session *s = l->first; s; s = s->next)
    if (s->number == number) return s;
  return NULL;
}

struct session *session_new(struct session_list *l, const uint8_t *key,
                            uint32_t pipe)
{
  struct session *s = calloc(1, sizeof(*s));
  if (!s) return NULL;
  s->outstanding = calloc((size_t)l->workers, sizeof(*s->outstanding));
  if (!s->outstanding) {
    free(s);
    return NULL;
  }
  memcpy(s->key, key, PROTOCOL_SESSION_SIZE);
  s->pipe = pipe;
  s->number = ++l->last_number;
  s->last = &s->first;
  s->held_last = &s->held_first;
  s->next = l->first;
  l->first = s;
  l->count++;
  return s;
}

static void job_free(struct session_job *j)
{
  free(j->key);
  free(j->definition);
  free(j->sent);
  free(j);
}

void session_free(struct session_list *l, struct session *s)
{
  struct session **at = &l->first;
  while (*at != s) at = &(*at)->next;
  *at = s->next;
  l->count--;
  for (struct chunk *c = s->first, *next; c; c = next) {
    next = c->next;
    free(c);
  }
  for (struct held *h = s->held_first, *next; h; h = next) {
    next = h->next;
    rpc_drop(h->req);
    free(h);
  }
  for (struct session_job *j = s->jobs, *next; j; j = next) {
    next = j->next;
    job_free(j);
  }
  free(s->outstanding);
  free(s);
}

struct session_job *session_job(struct session *s, const uint8_t *key,
                                size_t key_len)
{
  for (struct session_job *j = s->jobs; j; j = j->next)
    if (j->key_len == key_len && !memcmp(j->key, key, key_len)) return j;
  return NULL;
}

int session_add_job(struct session_list *l, struct session *s,
                    const uint8_t *key, size_t key_len,
                    const uint8_t *definition, size_t definition_len)
{
  if (session_job(s, key, key_len)) return 0;
  struct session_job *j = calloc(1, sizeof(*j));
  if (!j) return -1;
  j->key_len = key_len;
  j->definition_len = definition_len;
  j->key = malloc(key_len + 1);
  j->definition = malloc(definition_len + 1);
  j->sent = calloc((size_t)l->workers, sizeof(*j->sent));
  if (!j->key || !j->definition || !j->sent) {
    job_free(j);
    return -1;
  }
  memcpy(j->key, key, key_len);
  memcpy(j->definition, definition, definition_len);
  j->next = s->jobs;
  s->jobs = j;
  return 0;
}

/* Answers the oldest held request with the queued records: at least one
 * chunk if there is any, and more while the reply stays small. */
static void answer(struct session *s)
{
  struct buf out;
  size_t take = 0;
  for (struct chunk *c = s->first; c; c = c->next) {
    if (take && take + c->len > PROTOCOL_REPLY_SIZE) break;
    take += c->len;
  }
  buf_init(&out, take + 64);
  mp_write_array(&out, 2);
  mp_write_cstr(&out, "records");
  mp_write_bin_head(&out, take);
  uint8_t *to = buf_room(&out, take);
  if (!to) { /* keep the records, and the request, for a better moment */
    buf_free(&out);
    log_error("out of memory for a reply", LOG_INT("bytes", take));
    return;
  }
  s->bytes -= take;
  for (out.len += take; take;) {
    struct chunk *c = s->first;
    memcpy(to, c->data, c->len);
    to += c->len;
    take -= c->len;
    s->first = c->next;
    if (!s->first) s->last = &s->first;
    free(c);
  }
  struct held *h = s->held_first;
  s->held--;
  s->held_first = h->next;
  if (!s->held_first) s->held_last = &s->held_first;
  rpc_reply(h->req, out.data, out.len);
  free(h);
  buf_free(&out);
}

int session_push(struct session *s, const void *data, size_t len)
{
  struct chunk *c = malloc(sizeof(*c) + len);
  if (!c) return -1;
  c->next = NULL;
  c->len = len;
  memcpy(c->data, data, len);
  *s->last = c;
  s->last = &c->next;
  s->bytes += len;
  if (s->held_first) answer(s);
  return 0;
}

void session_hold(struct session *s, struct rpc_request *req)
{
  struct held *h = malloc(sizeof(*h));
  if (!h) {
    rpc_drop(req);
    return;
  }
  h->req = req;
  h->next = NULL;
  *s->held_last = h;
  s->held_last = &h->next;
  s->held++;
  if (s->first || s->held > SESSION_MAX_HELD) answer(s);
}
