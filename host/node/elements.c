/* SPDX-License-Identifier: MIT */
#include "node/elements.h"

#include "node/audit.h"
#include "node/cancel.h"
#include "node/dispatch.h"
#include "node/notices.h"
#include "wire/msgpack.h"

#include <string.h>

struct bytes {
  const uint8_t *data;
  size_t len;
};

static int read_bytes(struct mp_reader *r, struct bytes *b)
{
  return mp_read_bytes(r, &b->data, &b->len);
}

static int read_key(struct mp_reader *r, struct bytes *key)
{
  return read_bytes(r, key) < 0 || key->len > PROTOCOL_MAX_KEY ? -1 : 0;
}

/* ---- each acts on an element, whose name has been read, and returns what is
 * wrong with it, or NULL ---- */

static const char malformed[] = "malformed";

static size_t blob_bytes(const struct node *n)
{
  size_t bytes = 0;
  for (const struct session *s = n->sessions.first; s; s = s->next)
    bytes += s->blobs.bytes;
  return bytes;
}

/* ["blob", key, bytes]: what there is no room for is missed by the batches. */
static const char *on_blob(struct node *n, struct session *s,
                           struct mp_reader *r)
{
  struct bytes key, content;
  if (read_key(r, &key) < 0 || read_bytes(r, &content) < 0) return malformed;
  if (content.len > PROTOCOL_MAX_VALUE) return "it is over 64 MiB";
  if (blob_find(&s->blobs, key.data, key.len)) return NULL;
  if (s->blobs.count >= PROTOCOL_MAX_BLOBS)
    return "over 1,024 blobs in one session";
  size_t size = blob_size(&s->blobs, key.len, content.len);
  s->blobs_too_large = s->blobs.bytes + size > PROTOCOL_MAX_BLOB_BYTES;
  if (blob_bytes(n) + size <= PROTOCOL_MAX_BLOB_BYTES)
    blob_add(&s->blobs, key.data, key.len, content.data, content.len);
  return NULL;
}

/* ["drop", key] */
static const char *on_drop(struct node *n, struct session *s,
                           struct mp_reader *r)
{
  struct bytes key;
  if (read_key(r, &key) < 0) return malformed;
  struct blob *blob = blob_find(&s->blobs, key.data, key.len);
  if (!blob) return NULL;
  WORKERS_FOREACH (w, n->workers) {
    if (!w->alive || blob->given[w->index - 1] != w->generation) continue;
    struct buf *b = dispatch_begin(w, "drop", s, 3);
    if (!b) continue;
    mp_write_bin(b, key.data, key.len);
    dispatch_end(w);
  }
  blob_drop(&s->blobs, blob);
  return NULL;
}

/* ["close", job] */
static const char *on_close(struct node *n, struct session *s,
                            struct mp_reader *r)
{
  int64_t job;
  if (mp_read_int(r, &job) < 0 || job < 1) return malformed;
  session_drop_job(s, job);
  cancel_job(n, s, job);
  return NULL;
}

static int send_blob(const struct session *s, struct worker_process *w,
                     struct blob *blob)
{
  int64_t *given = &blob->given[w->index - 1];
  if (*given == w->generation) return 0;
  struct buf *b = dispatch_begin(w, "blob", s, 4);
  if (!b) return -1;
  mp_write_bin(b, blob->key, blob->key_len);
  mp_write_bin_head(b, blob->len);
  struct iovec content = {(void *)(uintptr_t)blob->content, blob->len};
  if (workers_end(w, &content, 1) < 0) return -1;
  *given = w->generation;
  return 0;
}

/* Reads the keys of a batch, and sends those blobs to `w`, if it is not NULL,
 * that it lacks. Sets `definition` to the last. Returns 0, or -1 when they are
 * malformed; `*why` is set when one is missing or cannot be sent. */
static int take_keys(struct session *s, struct worker_process *w,
                     struct mp_reader *r, struct blob **definition,
                     const char **why)
{
  uint32_t count;
  struct bytes key;
  if (mp_read_array(r, &count) < 0 || !count || count > PROTOCOL_MAX_BLOBS)
    return -1;
  while (count--) {
    if (read_key(r, &key) < 0) return -1;
    *definition = blob_find(&s->blobs, key.data, key.len);
    if (!*definition)
      *why = s->blobs_too_large ? "too_large" : "room";
    else if (w && !*why && send_blob(s, w, *definition) < 0)
      *why = "gone";
  }
  return 0;
}

/* Positive ids whose sum does not overflow; 0 marks events. An item takes a
 * byte at least. */
static bool is_range(int64_t first, int64_t count, size_t bytes)
{
  return first >= 1 && count >= 1 && first <= INT64_MAX - count &&
         (uint64_t)count <= bytes;
}

static int send_work(struct session *s, struct worker_process *w,
                     const struct blob *definition, struct iovec rest,
                     struct not_begun_range range)
{
  struct buf *b = dispatch_begin(w, "work", s, 9);
  if (!b) return -1;
  mp_write_bin(b, definition->key, definition->key_len);
  if (workers_end(w, &rest, 1) < 0) return -1;
  not_begun_add(&w->not_begun, range, workers_is_queued, w);
  w->outstanding += range.count;
  s->workers[w->index - 1].outstanding += range.count;
  return 0;
}

/* ["batch", worker, generation, keys, job, first, count, attempt, timeout,
 * items]: what follows the keys goes to the worker as it is. */
static const char *on_batch(struct node *n, struct session *s,
                            struct mp_reader *r)
{
  struct not_begun_range batch = {.session = s->number};
  int64_t index, generation;
  struct blob *definition = NULL;
  struct bytes items;
  double timeout;
  const char *why = n->draining ? "draining" : NULL;
  if (mp_read_int(r, &index) < 0 || mp_read_int(r, &generation) < 0)
    return malformed;
  struct worker_process *w = workers_get(n->workers, index);
  if (!why && (!w || !w->alive || w->generation != generation)) why = "gone";
  if (!why) s->workers[w->index - 1].generation = generation;
  if (take_keys(s, w, r, &definition, &why) < 0) return malformed;
  const uint8_t *rest = r->at;
  if (mp_read_int(r, &batch.job) < 0 || batch.job < 1 ||
      mp_read_int(r, &batch.first) < 0 || mp_read_int(r, &batch.count) < 0 ||
      mp_read_int(r, &batch.attempt) < 0 || mp_read_seconds(r, &timeout) < 0 ||
      read_bytes(r, &items) < 0 ||
      !is_range(batch.first, batch.count, items.len))
    return malformed;
  if (items.len > PROTOCOL_MAX_VALUE) return "its items are over 64 MiB";
  s->tasks += (uint64_t)batch.count;
  if (s->tasks - s->finished > PROTOCOL_MAX_TASKS)
    return "more tasks than were granted";
  if (s->job_count > PROTOCOL_MAX_TASKS) return "over 1,048,576 open jobs";
  if (!why) {
    struct iovec as_it_is = {(void *)(uintptr_t)rest, (size_t)(r->at - rest)};
    if (session_add_job(s, batch.job)) audit_job(n, s, batch.job, definition);
    if (send_work(s, w, definition, as_it_is, batch) < 0) why = "gone";
  }
  if (why) {
    notices_refused(s, &batch, index, w, why);
    session_tasks_finished(s, batch.count);
  }
  return NULL;
}

/* ["answer", worker, generation, number, bytes] */
static const char *on_answer(struct node *n, struct session *s,
                             struct mp_reader *r)
{
  int64_t index, generation, number;
  struct bytes answer;
  if (mp_read_int(r, &index) < 0 || mp_read_int(r, &generation) < 0 ||
      mp_read_int(r, &number) < 0 || read_bytes(r, &answer) < 0)
    return malformed;
  if (answer.len > PROTOCOL_MAX_VALUE) return "it is over 64 MiB";
  struct worker_process *w = workers_get(n->workers, index);
  if (!w || w->generation != generation || !dispatch_knows(s, w)) return NULL;
  struct buf *b = dispatch_begin(w, "reply", s, 4);
  if (!b) return NULL;
  mp_write_int(b, number);
  mp_write_bin_head(b, answer.len);
  struct iovec bytes = {(void *)(uintptr_t)answer.data, answer.len};
  /* a task would wait for ever without it */
  if (workers_end(w, &bytes, 1) < 0) workers_kill(w);
  return NULL;
}

/* ---- messages ---- */

static const struct element {
  const char *name;
  uint32_t count;
  const char *(*act)(struct node *n, struct session *s, struct mp_reader *r);
} elements[] = {
    {"batch", 10, on_batch}, {"blob", 3, on_blob},     {"drop", 2, on_drop},
    {"close", 2, on_close},  {"answer", 5, on_answer},
};
enum { ELEMENTS = sizeof(elements) / sizeof(elements[0]) };

static int act(struct node *n, struct session *s, struct mp_reader *r,
               struct err *e)
{
  uint32_t count;
  struct bytes name;
  if (mp_read_array(r, &count) < 0 || read_bytes(r, &name) < 0)
    return err_set(e, "protocol", "no element of a message");
  for (int i = 0; i < ELEMENTS; i++) {
    const struct element *element = &elements[i];
    if (count != element->count || name.len != strlen(element->name) ||
        memcmp(name.data, element->name, name.len))
      continue;
    const char *wrong = element->act(n, s, r);
    if (!wrong) return 0;
    return err_set(e, "protocol", "%s: %s", element->name, wrong);
  }
  return err_set(e, "protocol", "an unknown element of a message");
}

int elements_act(struct node *n, struct session *s, const uint8_t *data,
                 size_t len, struct err *e)
{
  struct mp_reader r = {data, data + len};
  int rc = 0;
  while (rc == 0 && r.at < r.end) rc = act(n, s, &r, e);
  cancel_sync(n);
  session_flush(s);
  dispatch_update_credit(n, s);
  return rc;
}
