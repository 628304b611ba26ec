/* SPDX-License-Identifier: MIT */
/* A peer for tests of TLS that does what ours never does: OpenSSL over memory
 * with no rules but those that are asked for. */
#ifndef MF_TEST_PEER_H
#define MF_TEST_PEER_H

#include "base/buf.h"
#include "test_keys.h"

#include <stdbool.h>
#include <openssl/ssl.h>

struct test_peer {
  SSL_CTX *ctx;
  SSL *ssl;
  bool server;
  bool open; /* its handshake is done */
  bool failed;
  int alert;   /* that it has received; 0: none */
  int refuse;  /* X509_V_ERR_*: what it finds in our certificate; 0: nothing */
  int tickets; /* that it has received */
  struct buf plain;
};

/* Without a key it presents no certificate. `alpn` is the name that it offers
 * or selects; NULL: none. `chain` is sent behind its certificate, or NULL. The
 * version is TLS 1.3 at most. */
void test_peer_init(struct test_peer *p, bool server, struct test_key *key,
                    struct test_key *chain, const char *alpn, int version);
void test_peer_free(struct test_peer *p);

/* Takes bytes, and goes on as far as it can. */
void test_peer_receive(struct test_peer *p, const void *data, size_t len);
/* Appends the bytes that it has to send. */
void test_peer_output(struct test_peer *p, struct buf *to);

#endif
