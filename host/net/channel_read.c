/* SPDX-License-Identifier: MIT */
#include "base/fault.h"
#include "net/channel_internal.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

static uint32_t read_u32(const uint8_t *p)
{
  uint32_t v;
  memcpy(&v, p, sizeof(v));
  return le32toh(v);
}

/* A request, reply or acknowledgement has arrived. */
static int take_frame(struct channel *c, const uint8_t *data, size_t len,
                      struct err *e)
{
  if (c->kind == PROTOCOL_ACK) {
    uint64_t numbers[3];
    memcpy(numbers, data, ACK_SIZE);
    struct resumable_ack ack = {le64toh(numbers[0]), le64toh(numbers[1]),
                                le64toh(numbers[2])};
    return c->resumable ? resumable_acknowledge(c->resumable, &ack, e) : 0;
  }
  uint32_t id = read_u32(data);
  data += ID_SIZE;
  len -= ID_SIZE;
  if (c->kind == PROTOCOL_REQUEST) {
    if (channel_has_asked(c, id))
      return err_set(e, "protocol", "it repeats request %u before the reply",
                     id);
    if (c->asked.len == c->asked.max)
      return err_set(e, "protocol",
                     "it sent more than %d requests without a reply",
                     CHANNEL_MAX_REQUESTS);
    if (buf_add(&c->asked, &id, ID_SIZE) < 0)
      return err_set(e, "memory", "out of memory for a request");
    c->events->on_request(c->arg, id, data, len);
    return 0;
  }
  struct channel_call *q = channel_find_call(c, id);
  if (!q)
    return err_set(e, "protocol", "it replied to request %u, which is not open",
                   id);
  LIST_REMOVE(q, link);
  c->call_count--;
  if (q->on_reply) q->on_reply(q->arg, data, len, NULL);
  free(q);
  return 0;
}

/* A numbered message has arrived in `assembly`. */
static int take_assembly(struct channel *c, struct err *e)
{
  struct buf whole;
  assembly_take(&c->assembly, &whole);
  int result = resumable_receive(c->resumable, whole.data, whole.len, e);
  buf_free(&whole);
  return result;
}

/* The next n bytes of a frame, which may be all or some. */
static int take_bytes(struct channel *c, const uint8_t *data, size_t n,
                      struct err *e)
{
  bool numbered = c->kind == PROTOCOL_PART || c->kind == PROTOCOL_LAST;
  struct buf *b = numbered ? &c->assembly.bytes : &c->frame;
  bool whole = n == c->left, in_place = whole && !b->len;
  c->left -= n;
  if (c->dropping) return 0;
  if (in_place && c->kind == PROTOCOL_LAST)
    return resumable_receive(c->resumable, data, n, e);
  if (in_place && !numbered) return take_frame(c, data, n, e);
  int rc = numbered ? assembly_add(&c->assembly, data, n) : buf_add(b, data, n);
  if (rc < 0) return err_set(e, "memory", "out of memory for a frame");
  if (!whole || c->kind == PROTOCOL_PART) return 0;
  if (numbered) return take_assembly(c, e);
  int result = take_frame(c, b->data, b->len, e);
  buf_reset(b);
  return result;
}

static int begin_frame(struct channel *c, const uint8_t *head, struct err *e)
{
  size_t len = read_u32(head) & 0xffffff;
  unsigned kind = read_u32(head) >> 24;
  c->head_len = 0;
  c->left = len;
  c->dropping = false;
  if (kind < PROTOCOL_REQUEST || kind > PROTOCOL_LAST)
    return err_set(e, "protocol", "it sent a frame of unknown kind %u", kind);
  c->kind = (enum protocol_frame)kind;
  if (len > CHANNEL_MAX_FRAME)
    return err_set(e, "protocol",
                   "it sent a frame of %zu bytes, over the limit of %d", len,
                   CHANNEL_MAX_FRAME);
  if (kind < PROTOCOL_ACK && len < ID_SIZE)
    return err_set(e, "protocol", "it sent a request or reply without an id");
  if (kind == PROTOCOL_ACK && len != ACK_SIZE)
    return err_set(e, "protocol",
                   "it sent an acknowledgement of %zu bytes, not %d", len,
                   ACK_SIZE);
  if (kind <= PROTOCOL_ACK) return 0;
  if (!len)
    return err_set(e, "protocol", "it sent an empty piece of a message");
  c->dropping = !c->resumable;
  if (c->dropping) return 0;
  if (c->assembly.bytes.len + len > c->assembly.bytes.max)
    return err_set(e, "protocol",
                   "it sent a message over the limit of %d bytes",
                   PROTOCOL_MAX_MESSAGE);
  return c->assembly.bytes.len ? 0 : resumable_admit(c->resumable, e);
}

/* Reads frames until the bytes, the channel or the room for replies ends.
 * Returns how many bytes were read, or -1 and `e`. */
static int64_t read_frames(struct channel *c, const uint8_t *data, size_t len,
                           struct err *e)
{
  const uint8_t *at = data, *stop = data + len;
  while (at < stop && !c->ended && !c->paused) {
    if (c->left) {
      size_t left = (size_t)(stop - at), n = c->left < left ? c->left : left;
      if (take_bytes(c, at, n, e) < 0) return -1;
      at += n;
    } else if (!c->head_len && stop - at >= HEAD_SIZE) {
      if (begin_frame(c, at, e) < 0) return -1;
      at += HEAD_SIZE;
    } else {
      c->head[c->head_len++] = *at++;
      if (c->head_len == HEAD_SIZE && begin_frame(c, c->head, e) < 0) return -1;
    }
  }
  return at - data;
}

static int read_preface(struct channel *c, const uint8_t **data, size_t *len,
                        struct err *e)
{
  int64_t n = preface_read(&c->preface, *data, *len, e);
  if (n < 0) return -1;
  *data += n;
  *len -= (size_t)n;
  if (!c->preface.done) return 0;
  c->waits = false;
  c->events->on_ready(c->arg);
  return 0;
}

/* Reads the bytes; keeps those that the room for replies ends before. */
static void take_in(struct channel *c, const uint8_t *data, size_t len)
{
  struct err e;
  if (!c->preface.done && read_preface(c, &data, &len, &e) < 0) {
    channel_fail(c, &e);
    return;
  }
  if (!c->preface.done) return;
  int64_t n = read_frames(c, data, len, &e);
  if (n < 0)
    channel_fail(c, &e);
  else if (c->paused && !c->ended &&
           buf_add(&c->unread, data + n, len - (size_t)n) < 0)
    channel_fail_memory(c);
}

void channel_on_bytes(void *arg, const uint8_t *data, size_t len)
{
  struct channel *c = arg;
  if (c->ended) return;
  channel_enter(c);
  if (fault_at("receive").what == FAULT_BREAK)
    channel_fail_fault(c);
  else
    take_in(c, data, len);
  channel_leave(c);
}

void channel_read_on(struct channel *c)
{
  struct buf unread;
  buf_init(&unread, c->unread.max);
  buf_swap(&unread, &c->unread);
  c->paused = false;
  if (unread.len) take_in(c, unread.data, unread.len);
  buf_free(&unread);
  if (!c->paused && !c->ended) carrier_pause(c->carrier, false);
}
