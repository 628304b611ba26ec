/* SPDX-License-Identifier: MIT */
/* TLS over memory, for tests: ends of ours, what moves between two ends, and a
 * fleet to which they belong. */
#ifndef MF_TEST_TLS_H
#define MF_TEST_TLS_H

#include "net/tls.h"
#include "test_keys.h"
#include "test_peer.h"

#define ALPN "moonfleet/5"

/* One of ours: an identity and a connection. */
struct ours {
  struct tls_identity *id;
  struct tls *tls;
  struct buf plain;
  int rc;
  struct err e;
};

void ours_init(struct ours *o, const char *dir, enum certificate_role role);
void ours_free(struct ours *o);
/* Another connection with the same identity. */
void ours_renew(struct ours *o);
/* Takes bytes, unless it has failed. */
void ours_receive(struct ours *o, const void *data, size_t len);
/* Encrypts bytes. 0, or -1 and o->e. */
int ours_send(struct ours *o, const void *data, size_t len);

/* Gives each what the other has, in pieces of `piece` bytes, until nothing is
 * left. */
void exchange(struct ours *a, struct ours *b, size_t piece);
void exchange_with(struct ours *o, struct test_peer *p);

struct fleet {
  struct test_key *ca, *other_ca;
  const char *node, *driver;
};

void fleet_init(struct fleet *f);

/* Whether `got` is `want`; a '*' in it stands for anything. */
bool is_like(const char *got, const char *want);

#endif
