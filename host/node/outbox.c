/* SPDX-License-Identifier: MIT */
#include "node/outbox.h"

#include "event/loop.h"
#include "wire/msgpack.h"
#include "wire/protocol.h"

#include <stdlib.h>
#include <string.h>

/* A chunk that is not acknowledged after this, and a second for each MiB, is
 * sent again: longer than a driver holds back a message it could say it with.
 */
#define OVERDUE (2 * PROTOCOL_HOLD * LOOP_S)

struct outbox_piece {
  struct outbox_piece *next;
  size_t len;
  uint8_t data[];
};

struct outbox_chunk {
  struct outbox_chunk *next;
  int64_t number;
  uint64_t sent;
  struct buf reply;
};

void outbox_init(struct outbox *o)
{
  memset(o, 0, sizeof(*o));
  o->last = &o->first;
  o->kept_last = &o->kept;
}

static void drop_piece(struct outbox *o)
{
  struct outbox_piece *p = o->first;
  o->first = p->next;
  if (!o->first) o->last = &o->first;
  o->bytes -= sizeof(*p) + p->len;
  free(p);
}

static void drop_chunk(struct outbox *o)
{
  struct outbox_chunk *c = o->kept;
  if (o->next == c) o->next = c->next;
  o->kept = c->next;
  if (!o->kept) o->kept_last = &o->kept;
  o->bytes -= sizeof(*c) + c->reply.len;
  buf_free(&c->reply);
  free(c);
}

void outbox_free(struct outbox *o)
{
  while (o->first) drop_piece(o);
  while (o->kept) drop_chunk(o);
}

int outbox_add(struct outbox *o, const void *data, size_t len)
{
  if (!len) return 0;
  struct outbox_piece *p = malloc(sizeof(*p) + len);
  if (!p) return -1;
  p->next = NULL;
  p->len = len;
  memcpy(p->data, data, len);
  *o->last = p;
  o->last = &p->next;
  o->bytes += sizeof(*p) + len;
  return 0;
}

bool outbox_waits(const struct outbox *o)
{
  return o->next || o->first;
}

/* Makes a chunk of the first records: at least one piece, and more while it
 * stays small. */
static struct outbox_chunk *gather(struct outbox *o)
{
  size_t take = 0;
  for (struct outbox_piece *p = o->first; p; p = p->next) {
    if (take && take + p->len > PROTOCOL_REPLY_SIZE) break;
    take += p->len;
  }
  struct outbox_chunk *c = calloc(1, sizeof(*c));
  if (!c) return NULL;
  struct buf *b = &c->reply;
  buf_init(b, take + 64);
  /* room for all of it now: growing would take more than is needed */
  buf_room(b, take + 64);
  mp_write_array(b, 3);
  mp_write_cstr(b, "records");
  mp_write_int(b, o->number + 1);
  mp_write_bin_head(b, take);
  if (b->failed) {
    buf_free(b);
    free(c);
    return NULL;
  }
  for (size_t len; take; take -= len) {
    len = o->first->len;
    buf_add(b, o->first->data, len);
    drop_piece(o);
  }
  c->number = ++o->number;
  *o->kept_last = c;
  o->kept_last = &c->next;
  o->bytes += sizeof(*c) + b->len;
  return c;
}

struct outbox_reply outbox_send(struct outbox *o, uint64_t now)
{
  if (!o->next && o->first) o->next = gather(o);
  struct outbox_chunk *c = o->next;
  if (!c) return (struct outbox_reply){NULL, 0};
  c->sent = now;
  o->next = c->next;
  return (struct outbox_reply){c->reply.data, c->reply.len};
}

int outbox_acked(struct outbox *o, int64_t number)
{
  if (number > o->number) return -1;
  while (o->kept && o->kept->number <= number) drop_chunk(o);
  return 0;
}

void outbox_rewind(struct outbox *o)
{
  o->next = o->kept;
}

bool outbox_overdue(const struct outbox *o, uint64_t now)
{
  const struct outbox_chunk *c = o->kept;
  if (!c || c == o->next) return false;
  uint64_t patience = OVERDUE + c->reply.len / (1024 * 1024) * LOOP_S;
  return now - c->sent > patience;
}
