/* SPDX-License-Identifier: MIT */
/* This unit provides the node's sessions: one per driver, holding the job
 * definitions it sent, the records not yet fetched, and its held requests. A
 * request that waits gets its reply as soon as there is a record. [loop] */
#ifndef MF_SESSION_H
#define MF_SESSION_H

#include "buf.h"
#include "protocol.h"
#include "rpc.h"

#include <stdint.h>

struct session_job {
  struct session_job *next;
  char *key;
  size_t key_len;
  uint8_t *definition;
  size_t definition_len;
  int64_t *sent; /* per worker: the generation that has the definition */
};

struct session {
  struct session *next;
  int64_t number; /* what workers know it by; never reused */
  uint8_t key[PROTOCOL_SESSION_SIZE];
  uint32_t pipe;        /* the connection that owns it */
  int64_t *outstanding; /* tasks at each worker, by index - 1 */
  struct session_job *jobs;
  struct chunk *first, **last; /* records to fetch */
  size_t bytes;                /* their sum */
  struct held *held_first, **held_last;
  int held;
};

struct session_list {
  struct session *first;
  int64_t last_number;
  int count;
  int workers;
};

/* Finds by key, or by number; NULL without one. */
struct session *session_find(struct session_list *l, const uint8_t *key);
struct session *session_numbered(struct session_list *l, int64_t number);

/* NULL when memory is out. */
struct session *session_new(struct session_list *l, const uint8_t *key,
                            uint32_t pipe);

/* Drops its held requests, frees it. */
void session_free(struct session_list *l, struct session *s);

/* Copies; a job sent twice keeps the first definition. 0 or -1 (memory). */
int session_add_job(struct session_list *l, struct session *s,
                    const uint8_t *key, size_t key_len,
                    const uint8_t *definition, size_t definition_len);
struct session_job *session_job(struct session *s, const uint8_t *key,
                                size_t key_len);

/* Queues records (a copy of `data`), then answers a held request if there is
 * one. 0, or -1 when memory is out: the records are lost, and the caller must
 * end the session so that its driver learns of it. */
int session_push(struct session *s, const void *data, size_t len);

/* Holds `req` until there are records; answers at once when there are. Holds
 * so many at most: then the oldest is answered with no records. */
enum { SESSION_MAX_HELD = 16 };
void session_hold(struct session *s, struct rpc_request *req);

#endif
