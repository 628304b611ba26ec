/* SPDX-License-Identifier: MIT */
/* struct legacy: how a node answers a driver of protocol 4 or older. Those
 * speak REQ/REP of nng, so the first request of such a driver gets a reply in
 * its own terms, an error that names the versions, and the driver can show it.
 * https://nng.nanomsg.org/ref/tcp.html describes the bytes. [any] */
#ifndef MF_LEGACY_H
#define MF_LEGACY_H

#include "base/buf.h"

enum { LEGACY_MAX_REQUEST = 64 * 1024 };

struct legacy {
  bool ipc; /* messages begin with a byte of their own */
  bool greeted;
  struct buf in;
};

void legacy_init(struct legacy *l, bool ipc);
void legacy_free(struct legacy *l);

/* Whether the first byte of a peer is that of one. */
bool legacy_is_first_byte(uint8_t byte);

/* Takes bytes of the peer and appends what is to be sent to `out`. Returns 1
 * when that is the reply, after which the connection is closed; 0 when more
 * must come; -1 when it is something else, or memory is out. */
int legacy_receive(struct legacy *l, const uint8_t *data, size_t len,
                   struct buf *out);

#endif
