/* SPDX-License-Identifier: MIT */
/* libFuzzer: any bytes as the first of a driver of protocol 4 or older. The
 * input is a byte with the kind of address, then the bytes. They arrive at
 * once, and cut at places that depend on their values: the answers are the
 * same, and nothing, the greeting, or the greeting and one whole reply. */
#include "net/legacy.h"
#include "wire/msgpack.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { GREETING = 8, ID = 4 };

static void check(bool ok)
{
  if (!ok) abort();
}

/* Returns what legacy_receive does for the last of the pieces. */
static int receive(bool ipc, const uint8_t *data, size_t size, bool cut,
                   struct buf *out)
{
  struct legacy l;
  int rv = 0;
  legacy_init(&l, ipc);
  for (size_t at = 0, n; at < size && rv == 0; at += n) {
    n = cut ? 1 + data[at] % 7u : size;
    if (n > size - at) n = size - at;
    rv = legacy_receive(&l, data + at, n, out);
  }
  legacy_free(&l);
  return rv;
}

/* Checks the reply to a request, which is behind the peer's greeting. */
static void check_reply(bool ipc, const uint8_t *reply, size_t len,
                        const uint8_t *request)
{
  size_t head = ipc ? 1 : 0, start = head + 8;
  uint64_t size = 0;
  check(len > start + ID);
  if (ipc) check(reply[0] == 1);
  for (size_t i = head; i < start; i++) size = size << 8 | reply[i];
  check(size == len - start);
  check(!memcmp(reply + start, request + start, ID));
  struct mp_reader r = {reply + start + ID, reply + len};
  uint32_t count;
  check(mp_read_array(&r, &count) == 0 && count == 3);
  while (count--) check(mp_skip(&r) == 0);
  check(r.at == r.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct buf once, pieces;
  if (size < 2 || size > LEGACY_MAX_REQUEST) return 0;
  bool ipc = *data++ & 1;
  size--;
  buf_init(&once, 64 * 1024);
  buf_init(&pieces, 64 * 1024);
  int rv = receive(ipc, data, size, false, &once);
  check(receive(ipc, data, size, true, &pieces) == rv);
  check(pieces.len == once.len);
  check(!once.len || !memcmp(pieces.data, once.data, once.len));
  if (rv > 0)
    check_reply(ipc, once.data + GREETING, once.len - GREETING,
                data + GREETING);
  else
    check(once.len == 0 || once.len == GREETING);
  buf_free(&once);
  buf_free(&pieces);
  return 0;
}
