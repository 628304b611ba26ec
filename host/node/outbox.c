/* SPDX-License-Identifier: MIT */
#include "node/outbox.h"

#include "event/loop.h"
#include "wire/protocol.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

/* A chunk that is not acknowledged after this, plus a second for each MiB, is
 * sent again: longer than a driver delays the message that acknowledges it. */
#define OVERDUE (2 * PROTOCOL_POLL_TIMEOUT * LOOP_S)

/* ["events", number, bytes] up to the bytes, in a form of one size. */
struct __attribute__((packed)) head {
  uint8_t name[8]; /* of an array of three */
  uint8_t uint64;
  uint64_t number;
  uint8_t bin32;
  uint32_t len;
};

struct outbox_chunk {
  TAILQ_ENTRY(outbox_chunk) link;
  int64_t number; /* 0: never sent, so more events may be added */
  uint64_t sent;
  struct buf reply; /* begins with a head, which is filled when it is sent */
};

void outbox_init(struct outbox *o)
{
  *o = (struct outbox){0};
  TAILQ_INIT(&o->chunks);
}

static void drop_first(struct outbox *o)
{
  struct outbox_chunk *c = TAILQ_FIRST(&o->chunks);
  if (o->next == c) o->next = TAILQ_NEXT(c, link);
  TAILQ_REMOVE(&o->chunks, c, link);
  o->bytes -= sizeof(*c) + c->reply.len;
  buf_free(&c->reply);
  free(c);
}

void outbox_free(struct outbox *o)
{
  while (!TAILQ_EMPTY(&o->chunks)) drop_first(o);
}

/* Appends a chunk with room for `len` bytes of events. */
static struct outbox_chunk *add_chunk(struct outbox *o, size_t len)
{
  struct outbox_chunk *c = calloc(1, sizeof(*c));
  if (!c) return NULL;
  buf_init(&c->reply, SIZE_MAX);
  if (!buf_room(&c->reply, sizeof(struct head) + len)) {
    free(c);
    return NULL;
  }
  c->reply.len = sizeof(struct head);
  TAILQ_INSERT_TAIL(&o->chunks, c, link);
  if (!o->next) o->next = c;
  o->bytes += sizeof(*c) + c->reply.len;
  return c;
}

int outbox_add(struct outbox *o, const void *data, size_t len)
{
  struct outbox_chunk *c = TAILQ_LAST(&o->chunks, outbox_chunks);
  if (!len) return 0;
  if (!c || c->number || c->reply.len + len > PROTOCOL_REPLY_SIZE)
    c = add_chunk(o, len);
  if (!c || buf_add(&c->reply, data, len) < 0) return -1;
  o->bytes += len;
  return 0;
}

bool outbox_waits(const struct outbox *o)
{
  return o->next != NULL;
}

const struct buf *outbox_send(struct outbox *o, uint64_t now)
{
  struct outbox_chunk *c = o->next;
  if (!c) return NULL;
  if (!c->number) {
    c->number = ++o->number;
    struct head head = {.name = {0x93, 0xa6, 'e', 'v', 'e', 'n', 't', 's'},
                        .uint64 = 0xcf,
                        .number = htobe64((uint64_t)c->number),
                        .bin32 = 0xc6,
                        .len =
                            htobe32((uint32_t)(c->reply.len - sizeof(head)))};
    memcpy(c->reply.data, &head, sizeof(head));
  }
  c->sent = now;
  o->next = TAILQ_NEXT(c, link);
  return &c->reply;
}

void outbox_acked(struct outbox *o, int64_t number)
{
  const struct outbox_chunk *c;
  while ((c = TAILQ_FIRST(&o->chunks)) && c->number && c->number <= number)
    drop_first(o);
}

void outbox_rewind(struct outbox *o)
{
  o->next = TAILQ_FIRST(&o->chunks);
}

bool outbox_overdue(const struct outbox *o, uint64_t now)
{
  const struct outbox_chunk *c = TAILQ_FIRST(&o->chunks);
  if (!c || c == o->next) return false;
  return now - c->sent > OVERDUE + c->reply.len / (1024 * 1024) * LOOP_S;
}
