/* SPDX-License-Identifier: MIT */
#include "wire/message.h"

#include <string.h>

void message_begin_event(struct buf *b, const char *name, int64_t worker,
                         size_t fields)
{
  mp_write_array(b, 4);
  mp_write_int(b, 0);
  mp_write_cstr(b, name);
  mp_write_int(b, worker);
  mp_write_map(b, fields);
}

int message_dispatch(const struct message_handler *handlers, void *arg,
                     const uint8_t *data, size_t len)
{
  struct mp_reader r = {data, data + len};
  uint32_t count;
  const uint8_t *name;
  size_t n;
  int64_t number;
  if (mp_read_array(&r, &count) < 0 || mp_read_bytes(&r, &name, &n) < 0 ||
      mp_read_int(&r, &number) < 0)
    return -1;
  for (const struct message_handler *h = handlers; h->name; h++)
    if (n == strlen(h->name) && !memcmp(name, h->name, n))
      return h->handle(arg, number, &r);
  return -1;
}
