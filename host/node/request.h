/* SPDX-License-Identifier: MIT */
/* struct request: a request of a driver (protocol.h), decoded, and the reply to
 * one that is refused. A request is checked whole before anything is done about
 * it, so a malformed one has no effect at all. Bytes point into the message.
 * [loop] */
#ifndef MF_REQUEST_H
#define MF_REQUEST_H

#include "net/rpc.h"
#include "wire/msgpack.h"

struct request_bytes {
  const uint8_t *data;
  size_t len;
};

typedef int request_read_element(struct mp_reader *r, void *to);

/* Elements that are known to be well formed; a copy of it walks them anew. */
struct request_list {
  struct mp_reader r;
  uint32_t left;
  request_read_element *read;
};

struct request_blob {
  struct request_bytes key, content;
};

struct request_batch {
  int64_t worker, generation, job;
  struct request_list keys;        /* request_bytes, at least one */
  struct request_bytes definition; /* the last of them */
  int64_t first, count, attempt;
  double timeout;
  struct request_bytes items;
};

struct request_upcall_reply {
  int64_t worker, generation, number;
  struct request_bytes bytes;
};

struct request_cancel {
  int64_t worker, generation, job, first, count;
};

enum request_name {
  REQUEST_MALFORMED,
  REQUEST_SKEW, /* of another version */
  REQUEST_STATUS,
  REQUEST_WORK,
  REQUEST_CANCEL,
  REQUEST_END,
  REQUEST_PART,
  REQUEST_WHOLE,
};

struct request {
  enum request_name name;
  const uint8_t *session; /* its key; NULL: a status without one */
  /* work */
  int64_t seq, ack;
  struct request_list blobs;   /* request_blob */
  struct request_list drops;   /* request_bytes: keys */
  struct request_list closes;  /* int64_t: jobs */
  struct request_list batches; /* request_batch */
  struct request_list replies; /* request_upcall_reply */
  /* cancel */
  struct request_list cancels; /* request_cancel */
  /* part, whole */
  int64_t id, offset, total;
  struct request_bytes part;
};

struct request request_read(const uint8_t *data, size_t len);

/* Reads the next element of a list, a struct of the type named there. Returns
 * false at its end. */
bool request_next(struct request_list *l, void *element);

/* Replies with ["error", kind, text]. */
void request_refuse(struct rpc_request *req, const char *kind,
                    const char *text);

#endif
