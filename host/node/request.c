/* SPDX-License-Identifier: MIT */
#include "node/request.h"

#include "wire/protocol.h"

#include <string.h>

static int read_bytes(struct mp_reader *r, struct request_bytes *b)
{
  return mp_read_bytes(r, &b->data, &b->len);
}

/* The head of an array of `n` elements. */
static int read_tuple(struct mp_reader *r, uint32_t n)
{
  uint32_t count;
  return mp_read_array(r, &count) < 0 || count != n ? -1 : 0;
}

/* Checks all elements; `to` is the last one afterwards. */
static int read_list(struct mp_reader *r, struct request_list *l,
                     request_read_element *read, void *to)
{
  if (mp_read_array(r, &l->left) < 0 || l->left > PROTOCOL_MAX_LIST) return -1;
  l->r = *r;
  l->read = read;
  for (uint32_t i = 0; i < l->left; i++)
    if (read(r, to) < 0) return -1;
  return 0;
}

bool request_next(struct request_list *l, void *element)
{
  if (!l->left) return false;
  l->left--;
  return l->read(&l->r, element) == 0;
}

/* ---- elements ---- */

static int read_key(struct mp_reader *r, void *to)
{
  struct request_bytes *key = to;
  return read_bytes(r, key) < 0 || key->len > PROTOCOL_MAX_KEY ? -1 : 0;
}

static int read_blob(struct mp_reader *r, void *to)
{
  struct request_blob *b = to;
  if (read_tuple(r, 2) < 0 || read_key(r, &b->key) < 0) return -1;
  return read_bytes(r, &b->content);
}

static int read_job(struct mp_reader *r, void *to)
{
  int64_t *job = to;
  return mp_read_int(r, job) < 0 || *job < 1 ? -1 : 0;
}

/* Positive ids whose sum does not overflow; 0 marks events. */
static int read_range(struct mp_reader *r, int64_t *first, int64_t *count)
{
  if (mp_read_int(r, first) < 0 || mp_read_int(r, count) < 0) return -1;
  return *first < 1 || *count < 1 || *first > INT64_MAX - *count ? -1 : 0;
}

static int read_batch(struct mp_reader *r, void *to)
{
  struct request_batch *b = to;
  if (read_tuple(r, 9) < 0 || mp_read_int(r, &b->worker) < 0 ||
      mp_read_int(r, &b->generation) < 0 || read_job(r, &b->job) < 0 ||
      read_list(r, &b->keys, read_key, &b->definition) < 0 || !b->keys.left ||
      b->keys.left > PROTOCOL_MAX_BLOBS ||
      read_range(r, &b->first, &b->count) < 0 ||
      mp_read_int(r, &b->attempt) < 0 || mp_read_seconds(r, &b->timeout) < 0 ||
      read_bytes(r, &b->items) < 0)
    return -1;
  return (uint64_t)b->count > b->items.len ? -1 : 0;
}

static int read_upcall_reply(struct mp_reader *r, void *to)
{
  struct request_upcall_reply *t = to;
  if (read_tuple(r, 4) < 0 || mp_read_int(r, &t->worker) < 0 ||
      mp_read_int(r, &t->generation) < 0 || mp_read_int(r, &t->number) < 0)
    return -1;
  return read_bytes(r, &t->bytes);
}

static int read_cancel(struct mp_reader *r, void *to)
{
  struct request_cancel *c = to;
  if (read_tuple(r, 5) < 0 || mp_read_int(r, &c->worker) < 0 ||
      mp_read_int(r, &c->generation) < 0 || read_job(r, &c->job) < 0)
    return -1;
  return read_range(r, &c->first, &c->count);
}

/* ---- messages ---- */

static int read_session(struct mp_reader *r, struct request *q)
{
  struct request_bytes key;
  if (read_bytes(r, &key) < 0 || key.len != PROTOCOL_SESSION_SIZE) return -1;
  q->session = key.data;
  return 0;
}

static int read_work(struct mp_reader *r, struct request *q)
{
  struct request_blob blob;
  struct request_bytes key;
  struct request_batch batch;
  struct request_upcall_reply reply;
  int64_t job;
  if (read_session(r, q) < 0 || mp_read_int(r, &q->seq) < 0 || q->seq < 1 ||
      mp_read_int(r, &q->ack) < 0 || q->ack < 0 ||
      read_list(r, &q->blobs, read_blob, &blob) < 0 ||
      read_list(r, &q->drops, read_key, &key) < 0 ||
      read_list(r, &q->closes, read_job, &job) < 0 ||
      read_list(r, &q->batches, read_batch, &batch) < 0)
    return -1;
  return read_list(r, &q->replies, read_upcall_reply, &reply);
}

static bool is(const struct request_bytes *name, const char *word)
{
  return name->len == strlen(word) && !memcmp(name->data, word, name->len);
}

/* Reads the `count` elements after name and version. Returns the name, or
 * REQUEST_MALFORMED. */
static enum request_name read_rest(struct mp_reader *r,
                                   const struct request_bytes *name,
                                   uint32_t count, struct request *q)
{
  struct request_cancel cancel;
  if (is(name, "status") && count <= 1 && (!count || read_session(r, q) == 0))
    return REQUEST_STATUS;
  if (is(name, "work") && count == 8 && read_work(r, q) == 0)
    return REQUEST_WORK;
  if (is(name, "cancel") && count == 2 && read_session(r, q) == 0 &&
      read_list(r, &q->cancels, read_cancel, &cancel) == 0)
    return REQUEST_CANCEL;
  if (is(name, "part") && count == 5 && read_session(r, q) == 0 &&
      mp_read_int(r, &q->id) == 0 && mp_read_int(r, &q->offset) == 0 &&
      mp_read_int(r, &q->total) == 0 && read_bytes(r, &q->part) == 0)
    return REQUEST_PART;
  if (is(name, "whole") && count == 2 && read_session(r, q) == 0 &&
      mp_read_int(r, &q->id) == 0)
    return REQUEST_WHOLE;
  if (is(name, "end") && count == 1 && read_session(r, q) == 0)
    return REQUEST_END;
  return REQUEST_MALFORMED;
}

struct request request_read(const uint8_t *data, size_t len)
{
  struct request q = {.name = REQUEST_MALFORMED};
  struct mp_reader r = {data, data + len};
  struct request_bytes name;
  uint32_t count;
  int64_t version;
  if (mp_read_array(&r, &count) < 0 || count < 2 || read_bytes(&r, &name) < 0 ||
      mp_read_int(&r, &version) < 0)
    return q;
  if (version != PROTOCOL_VERSION) {
    /* drivers of any version may ask for the status */
    q.name = is(&name, "status") ? REQUEST_STATUS : REQUEST_SKEW;
    return q;
  }
  q.name = read_rest(&r, &name, count - 2, &q);
  if (r.at != r.end) q.name = REQUEST_MALFORMED;
  return q;
}

void request_refuse(struct rpc_request *req, const char *kind, const char *text)
{
  struct buf b;
  buf_init(&b, 4096);
  mp_write_array(&b, 3);
  mp_write_cstr(&b, "error");
  mp_write_cstr(&b, kind);
  mp_write_cstr(&b, text);
  rpc_reply(req, b.data, b.len);
  buf_free(&b);
}
