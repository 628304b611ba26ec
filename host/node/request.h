/* SPDX-License-Identifier: MIT */
/* This unit provides the requests of drivers (protocol.h) as structs, and the
 * answer to one that cannot be met. A request is read whole before anything is
 * done about it: what is malformed has no effect at all. Bytes point into the
 * message. [loop] */
#ifndef MF_REQUEST_H
#define MF_REQUEST_H

#include "net/rpc.h"
#include "wire/msgpack.h"

struct request_bytes {
  const uint8_t *data;
  size_t len;
};

/* Elements of a message that are known to be well formed. */
struct request_list {
  struct mp_reader r;
  uint32_t left;
};

struct request_blob {
  struct request_bytes key, content;
};

struct request_batch {
  int64_t worker, generation, job;
  struct request_list keys;        /* at least one */
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
  struct request_list blobs, drops, closes, batches, replies;
  /* cancel */
  struct request_list cancels;
  /* part, whole */
  int64_t id, offset, total;
  struct request_bytes part;
};

struct request request_read(const uint8_t *data, size_t len);

/* The next element of a list; false at its end. */
bool request_next_blob(struct request_list *l, struct request_blob *blob);
bool request_next_key(struct request_list *l, struct request_bytes *key);
bool request_next_job(struct request_list *l, int64_t *job);
bool request_next_batch(struct request_list *l, struct request_batch *b);
bool request_next_upcall_reply(struct request_list *l,
                               struct request_upcall_reply *t);
bool request_next_cancel(struct request_list *l, struct request_cancel *c);

/* Answers with ["error", kind, text]. */
void request_refuse(struct rpc_request *req, const char *kind,
                    const char *text);

#endif
