/* SPDX-License-Identifier: MIT */
#include "net/legacy.h"

#include "base/version.h"
#include "wire/msgpack.h"
#include "wire/protocol.h"

#include <stdio.h>
#include <string.h>

enum { GREETING_SIZE = 8, ID_SIZE = 4 };

/* Two zero bytes, "SP", a zero, the kind of socket and two more zeros. */
static const uint8_t req[GREETING_SIZE] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
static const uint8_t rep[GREETING_SIZE] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
/* In front of each message over ipc. */
static const uint8_t ipc_message = 1;

void legacy_init(struct legacy *l, bool ipc)
{
  *l = (struct legacy){.ipc = ipc};
  buf_init(&l->in, LEGACY_MAX_REQUEST);
}

void legacy_free(struct legacy *l)
{
  buf_free(&l->in);
}

bool legacy_is_first_byte(uint8_t byte)
{
  return byte == req[0];
}

static void put_u64(struct buf *b, uint64_t n)
{
  uint8_t bytes[8];
  for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(n >> (56 - 8 * i));
  buf_add(b, bytes, sizeof(bytes));
}

/* Answers the request of that id. */
static int reply(const struct legacy *l, const uint8_t *id, struct buf *out)
{
  char text[160];
  struct buf body;
  snprintf(text, sizeof(text),
           "the node has moonfleet %s, which speaks protocol %d, and the "
           "driver an older one; use the same release of both",
           MOONFLEET_VERSION, PROTOCOL_VERSION);
  buf_init(&body, 1024);
  mp_write_array(&body, 3);
  mp_write_cstr(&body, "error");
  mp_write_cstr(&body, "skew");
  mp_write_cstr(&body, text);
  if (l->ipc) buf_add(out, &ipc_message, 1);
  put_u64(out, ID_SIZE + body.len);
  buf_add(out, id, ID_SIZE);
  buf_add(out, body.data, body.len);
  bool failed = body.failed || out->failed;
  buf_free(&body);
  return failed ? -1 : 1;
}

int legacy_receive(struct legacy *l, const uint8_t *data, size_t len,
                   struct buf *out)
{
  struct buf *in = &l->in;
  if (buf_add(in, data, len) < 0) return -1;
  if (!l->greeted) {
    size_t n = in->len < GREETING_SIZE ? in->len : GREETING_SIZE;
    if (memcmp(in->data, req, n)) return -1;
    if (n < GREETING_SIZE) return 0;
    l->greeted = true;
    buf_consume(in, GREETING_SIZE);
    if (buf_add(out, rep, sizeof(rep)) < 0) return -1;
  }
  size_t head = l->ipc ? 1 : 0, start = head + 8;
  if (in->len < start) return 0;
  if (l->ipc && in->data[0] != ipc_message) return -1;
  uint64_t size = 0;
  for (size_t i = head; i < start; i++) size = size << 8 | in->data[i];
  if (size < ID_SIZE || size > LEGACY_MAX_REQUEST - start) return -1;
  return in->len < start + size ? 0 : reply(l, in->data + start, out);
}
