/* SPDX-License-Identifier: MIT */
/* What messages of protocol.h have in common: the head of an event, and frames
 * that begin with a name and a number. [any] */
#ifndef MF_MESSAGE_H
#define MF_MESSAGE_H

#include "wire/msgpack.h"

/* Writes [0, name, worker, {...: the head of an event, whose map of `fields`
 * entries follows. */
void message_begin_event(struct buf *b, const char *name, int64_t worker,
                         size_t fields);

/* Handles a frame [name, number, ...]; `r` is after the number. Returns 0, or
 * -1 when the frame is malformed. */
struct message_handler {
  const char *name;
  int (*handle)(void *arg, int64_t number, struct mp_reader *r);
};

/* Calls the handler of a frame, of `handlers`, which end with a name of NULL.
 * Returns what it returns, and -1 when there is none. */
int message_dispatch(const struct message_handler *handlers, void *arg,
                     const uint8_t *data, size_t len);

#endif
