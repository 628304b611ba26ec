/* SPDX-License-Identifier: MIT */
/* TLS over memory: bytes in pieces and parts, garbage, changed and half
 * handshakes, and changes of keys, authorities and revocation lists under
 * connections that stand. */
#include "../test.h"
#include "net/tls_keys.h"
#include "test_tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern const struct test tls_tests[];

static void test_exchange(struct test_run *t)
{
  static const size_t pieces[] = {1 << 20, 1, 2, 5, 100};
  struct fleet f;
  fleet_init(&f);
  struct ours node, driver;
  ours_init(&node, f.node, CERTIFICATE_NODE);
  ours_init(&driver, f.driver, CERTIFICATE_DRIVER);
  for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
    ours_renew(&node);
    ours_renew(&driver);
    CHECK(t, !tls_peer(node.tls) && !tls_peer(driver.tls));
    exchange(&driver, &node, pieces[i]);
    CHECK_INT(t, tls_state(driver.tls), TLS_OPEN);
    CHECK_INT(t, tls_state(node.tls), TLS_OPEN);
    if (CHECK(t, tls_peer(node.tls) && tls_peer(driver.tls))) {
      CHECK_STR(t, tls_peer(node.tls)->name, "alice");
      CHECK_INT(t, tls_peer(node.tls)->role, CERTIFICATE_DRIVER);
      CHECK_STR(t, tls_peer(driver.tls)->fleet, "search");
      CHECK_STR(t, tls_peer(driver.tls)->serial,
                tls_identity_certificate(node.id)->serial);
    }
    CHECK_INT(t, ours_send(&driver, "request", 7), 0);
    CHECK_INT(t, ours_send(&node, "reply", 5), 0);
    CHECK_INT(t, tls_verify(node.tls, node.id, &node.e), 0);
    exchange(&driver, &node, pieces[i]);
    CHECK_BYTES(t, node.plain.data, node.plain.len, "request", 7);
    CHECK_BYTES(t, driver.plain.data, driver.plain.len, "reply", 5);
    CHECK_INT(t, tls_end(driver.tls, &driver.e), 0);
    tls_finish(driver.tls);
    exchange(&driver, &node, pieces[i]);
    CHECK_INT(t, tls_state(node.tls), TLS_CLOSED);
    CHECK(t, node.rc == 0 && driver.rc == 0);
  }
  ours_free(&node);
  ours_free(&driver);
  test_keys_remove();
}

/* Parts of all sizes, encrypted in steps of all sizes. */
static void test_parts(struct test_run *t)
{
  enum { SIZE = 200 * 1000 };
  struct fleet f;
  fleet_init(&f);
  struct ours node, driver;
  ours_init(&node, f.node, CERTIFICATE_NODE);
  ours_init(&driver, f.driver, CERTIFICATE_DRIVER);
  exchange(&driver, &node, SIZE);
  uint8_t *data = malloc(SIZE);
  uint64_t seed = 1;
  for (size_t i = 0; i < SIZE; i++) data[i] = (uint8_t)test_random(&seed);
  for (int round = 0; round < 60; round++) {
    struct carrier_parts parts = {.count = 0};
    size_t total = 0;
    while (parts.count < CARRIER_MAX_PARTS && total < SIZE) {
      static const size_t limits[] = {10, 1000, TLS_RECORD + 1, SIZE};
      size_t n = 1 + test_random(&seed) % limits[test_random(&seed) % 4];
      if (n > SIZE - total) n = SIZE - total;
      parts.list[parts.count++] = (struct iovec){data + total, n};
      total += n;
    }
    size_t max = 1 + test_random(&seed) % (round % 2 ? SIZE : 20000);
    buf_clear(&node.plain);
    while (parts.count) {
      if (!CHECK_INT(t, tls_send(driver.tls, &parts, max, &driver.e), 0)) break;
      /* 22 bytes for each record; small parts do not each have their own */
      CHECK(t,
            tls_output(driver.tls)->len <= max + 22 * (max / TLS_RECORD + 3));
      exchange(&driver, &node, 1 + test_random(&seed) % 50000);
    }
    CHECK_BYTES(t, node.plain.data, node.plain.len, data, total);
  }
  struct carrier_parts small = {{{data, 4}, {data + 4, 5}, {data + 9, 6}}, 3};
  CHECK_INT(t, tls_send(driver.tls, &small, 100, &driver.e), 0);
  CHECK_INT(t, tls_output(driver.tls)->len, 15 + 22);
  free(data);
  ours_free(&node);
  ours_free(&driver);
  test_keys_remove();
}

/* ---- what is not TLS, or half of it ---- */

static void test_without_tls(struct test_run *t)
{
  static const char *const texts[] = {"moonfleet/5\n", "HTTP/1.1 400\r\n",
                                      "SSH-2.0-OpenSSH_9.2\r\n", "\n"};
  struct fleet f;
  fleet_init(&f);
  struct ours node, driver;
  ours_init(&node, f.node, CERTIFICATE_NODE);
  ours_init(&driver, f.driver, CERTIFICATE_DRIVER);
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    ours_renew(&node);
    ours_renew(&driver);
    size_t hello = tls_output(driver.tls)->len;
    ours_receive(&driver, texts[i], strlen(texts[i]));
    CHECK_STR(t, driver.e.text, "answers without TLS");
    ours_receive(&node, texts[i], 1);
    CHECK_STR(t, node.e.text, "has connected without TLS; does it have --tls?");
    CHECK_STR(t, node.e.kind, "tls");
    /* no alert, which would be garbage to the peer */
    CHECK_INT(t, tls_output(node.tls)->len, 0);
    CHECK_INT(t, tls_output(driver.tls)->len, hello);
  }
  ours_free(&node);
  ours_free(&driver);
  test_keys_remove();
}

static void test_ends(struct test_run *t)
{
  struct fleet f;
  fleet_init(&f);
  struct ours node, driver;
  ours_init(&node, f.node, CERTIFICATE_NODE);
  ours_init(&driver, f.driver, CERTIFICATE_DRIVER);
  CHECK_INT(t, tls_end(driver.tls, &driver.e), -1);
  CHECK_STR(t, driver.e.text,
            "closed the connection during the handshake; does it have --tls?");
  CHECK_INT(t, tls_end(node.tls, &node.e), -1);
  CHECK_STR(t, node.e.text, "closed the connection during the handshake");
  struct buf *out = tls_output(driver.tls);
  ours_receive(&node, out->data, out->len);
  buf_clear(out);
  ours_receive(&driver, tls_output(node.tls)->data, 100);
  CHECK_INT(t, tls_end(driver.tls, &driver.e), -1);
  CHECK_STR(t, driver.e.text, "closed the connection during the handshake");
  ours_renew(&node);
  ours_renew(&driver);
  exchange(&driver, &node, 1000);
  CHECK_INT(t, tls_end(node.tls, &node.e), 0);
  CHECK_INT(t, tls_end(driver.tls, &driver.e), -1);
  CHECK_STR(t, driver.e.text,
            "closed the connection after the handshake; if it rejected our "
            "certificate, its log has the reason");
  tls_set_no_answer(5, &driver.e);
  CHECK_STR(t, driver.e.text, "no TLS answer within 5 s");
  CHECK_STR(t, driver.e.kind, "timeout");
  tls_set_closed_at_once(&driver.e);
  CHECK_STR(t, driver.e.text,
            "closed the connection at once; does it need --tls?");
  ours_free(&node);
  ours_free(&driver);
  test_keys_remove();
}

/* One end's bytes are changed at one place. Neither end takes that for a whole
 * handshake, and neither delivers anything. */
static void check_change(struct test_run *t, struct ours *first,
                         struct ours *second, int flight, size_t at,
                         uint8_t change)
{
  ours_renew(first);
  ours_renew(second);
  struct ours *from = first, *to = second;
  if (tls_output(first->tls)->len == 0) from = second, to = first;
  bool changed = false;
  for (int i = 0; i < 6; i++) {
    struct buf moving;
    buf_init(&moving, 1 << 20);
    buf_swap(&moving, tls_output(from->tls));
    if (i == flight && at < moving.len)
      moving.data[at] ^= change, changed = true;
    ours_receive(to, moving.data, moving.len);
    buf_free(&moving);
    struct ours *swap = from;
    from = to, to = swap;
  }
  if (!changed) return;
  bool both =
      tls_state(first->tls) == TLS_OPEN && tls_state(second->tls) == TLS_OPEN;
  CHECK(t, !both);
  CHECK(t, first->plain.len == 0 && second->plain.len == 0);
  for (int i = 0; i < 2; i++) {
    struct ours *o = i ? first : second;
    if (o->rc < 0) CHECK(t, o->e.text[0] && o->e.kind[0]);
  }
}

static void test_changed(struct test_run *t)
{
  struct fleet f;
  fleet_init(&f);
  struct ours node, driver;
  ours_init(&node, f.node, CERTIFICATE_NODE);
  ours_init(&driver, f.driver, CERTIFICATE_DRIVER);
  uint64_t seed = 7;
  for (int flight = 0; flight < 3; flight++) {
    for (size_t at = 0; at < 1500; at += at < 16 ? 1 : 23) {
      uint8_t change = (uint8_t)(1 + test_random(&seed) % 255);
      /* the version of a record is to be ignored (RFC 8446, section 5.1) */
      if (at == 1 || at == 2) continue;
      check_change(t, &driver, &node, flight, at, change);
    }
  }
  ours_free(&node);
  ours_free(&driver);
  test_keys_remove();
}

static void test_garbage(struct test_run *t)
{
  struct fleet f;
  fleet_init(&f);
  struct ours node, driver;
  ours_init(&node, f.node, CERTIFICATE_NODE);
  ours_init(&driver, f.driver, CERTIFICATE_DRIVER);
  uint64_t seed = 3;
  for (int i = 0; i < 300; i++) {
    uint8_t bytes[600];
    bool stage = i % 2;
    ours_renew(&node);
    ours_renew(&driver);
    if (stage) exchange(&driver, &node, 1000);
    for (size_t n = 0; n < sizeof(bytes); n++)
      bytes[n] = (uint8_t)test_random(&seed);
    bytes[0] = stage ? 23 : 22;
    bytes[1] = 3, bytes[2] = 3, bytes[3] = 0;
    struct ours *o = i % 4 < 2 ? &node : &driver;
    ours_receive(o, bytes, sizeof(bytes));
    CHECK_INT(t, o->rc, -1);
    CHECK(t, !strncmp(o->e.text, "breaks the rules of TLS (", 25) ||
                 !strcmp(o->e.text, "does not speak TLS 1.3"));
    CHECK_STR(t, o->e.kind, "tls");
    CHECK_INT(t, o->plain.len, 0);
    /* what comes later is ignored */
    o->rc = 0;
    ours_receive(o, bytes, sizeof(bytes));
    CHECK(t, o->rc == 0 && tls_state(o->tls) == TLS_FAILED);
  }
  ours_free(&node);
  ours_free(&driver);
  test_keys_remove();
}

/* Bytes that came before a failure are those of the peer that was verified. */
static void test_spoilt_end(struct test_run *t)
{
  struct fleet f;
  fleet_init(&f);
  struct ours node, driver;
  ours_init(&node, f.node, CERTIFICATE_NODE);
  ours_init(&driver, f.driver, CERTIFICATE_DRIVER);
  for (int apart = 0; apart < 2; apart++) {
    static const uint8_t garbage[] = {23, 3, 3, 0, 17, 1, 2, 3, 4, 5, 6,
                                      7,  8, 9, 1, 2,  3, 4, 5, 6, 7, 8};
    ours_renew(&node);
    ours_renew(&driver);
    exchange(&driver, &node, 1000);
    CHECK_INT(t, ours_send(&driver, "request", 7), 0);
    struct buf *out = tls_output(driver.tls);
    if (apart) {
      ours_receive(&node, out->data, out->len);
      buf_clear(out);
    }
    CHECK_INT(t, buf_add(out, garbage, sizeof(garbage)), 0);
    ours_receive(&node, out->data, out->len);
    CHECK_INT(t, node.rc, -1);
    CHECK_INT(t, tls_state(node.tls), TLS_FAILED);
    CHECK_BYTES(t, node.plain.data, node.plain.len, "request", 7);
    if (CHECK(t, tls_peer(node.tls)))
      CHECK_STR(t, tls_peer(node.tls)->name, "alice");
  }
  ours_free(&node);
  ours_free(&driver);
  test_keys_remove();
}

/* ---- after the handshake ---- */

static void test_key_updates(struct test_run *t)
{
  struct fleet f;
  fleet_init(&f);
  struct ours node;
  struct test_peer p;
  ours_init(&node, f.node, CERTIFICATE_NODE);
  test_peer_init(&p, false, test_member(f.ca, "driver", "search"), NULL, ALPN,
                 TLS1_3_VERSION);
  exchange_with(&node, &p);
  int done = 0;
  for (; done < 100 && node.rc == 0; done++) {
    SSL_key_update(p.ssl, done % 2 ? SSL_KEY_UPDATE_REQUESTED
                                   : SSL_KEY_UPDATE_NOT_REQUESTED);
    SSL_write(p.ssl, "x", 1);
    exchange_with(&node, &p);
    if (node.rc == 0) CHECK_INT(t, node.plain.len, done + 1);
  }
  CHECK_INT(t, done, 17);
  CHECK_STR(t, node.e.text, "changes its keys too often");
  test_peer_free(&p);
  ours_free(&node);
  test_keys_remove();
}

/* ---- rotation ---- */

/* The driver's certificate comes from an authority that is new to the node, and
 * the old one is withdrawn, while both are connected. */
static void test_rotation(struct test_run *t)
{
  struct fleet f;
  fleet_init(&f);
  struct ours node, old, new;
  ours_init(&node, f.node, CERTIFICATE_NODE);
  ours_init(&old, f.driver, CERTIFICATE_DRIVER);
  exchange(&old, &node, 1000);
  struct tls *standing = node.tls;
  node.tls = NULL;
  struct test_key *next = test_authority("next CA");
  const char *dir = test_folder(next, test_member(next, "driver", "search"));
  test_folder_trust(dir, f.ca, next);
  ours_init(&new, dir, CERTIFICATE_DRIVER);
  ours_renew(&node);
  exchange(&new, &node, 1000);
  CHECK_STR(t, node.e.text,
            "its certificate is not signed by our CA (issuer: next CA)");
  CHECK_STR(t, new.e.text, "rejected our certificate (unknown CA)");
  /* both authorities */
  test_folder_trust(f.node, f.ca, next);
  CHECK_INT(t, tls_identity_reload(node.id, &node.e), 1);
  CHECK_INT(t, tls_verify(standing, node.id, &node.e), 0);
  ours_renew(&node);
  ours_renew(&new);
  exchange(&new, &node, 1000);
  CHECK_INT(t, tls_state(node.tls), TLS_OPEN);
  CHECK(t, node.rc == 0 && new.rc == 0);
  /* the new one alone, and a certificate of it for the node */
  struct test_key *member = test_member(next, "node", "search");
  test_folder_trust(f.node, next, NULL);
  CHECK_INT(t, tls_identity_reload(node.id, &node.e), -1);
  CHECK(t, strstr(node.e.text, "/cert.pem is not signed by ") != NULL);
  test_folder_certificate(f.node, member, NULL);
  test_folder_key(f.node, member);
  CHECK_INT(t, tls_identity_reload(node.id, &node.e), 1);
  CHECK_INT(t, tls_verify(node.tls, node.id, &node.e), 0);
  CHECK_INT(t, tls_verify(standing, node.id, &node.e), -1);
  CHECK_STR(t, node.e.text,
            "its certificate is not signed by our CA (issuer: search CA)");
  /* until it is closed, the old connection still works */
  CHECK_INT(t, ours_send(&old, "still", 5), 0);
  CHECK_INT(t,
            tls_receive(standing, tls_output(old.tls)->data,
                        tls_output(old.tls)->len, &node.plain, &node.e),
            0);
  CHECK_BYTES(t, node.plain.data, node.plain.len, "still", 5);
  tls_free(standing);
  ours_free(&node);
  ours_free(&old);
  ours_free(&new);
  test_keys_remove();
}

static void test_revocation(struct test_run *t)
{
  struct fleet f;
  fleet_init(&f);
  struct test_key *alice = test_member(f.ca, "driver", "search");
  struct test_key *bob = test_member(f.other_ca, "driver", "search");
  const char *dir = test_folder(f.other_ca, bob);
  test_folder_trust(dir, f.ca, f.other_ca);
  struct ours node, driver, other;
  test_folder_trust(f.node, f.ca, f.other_ca);
  test_folder_certificate(f.driver, alice, NULL);
  test_folder_key(f.driver, alice);
  ours_init(&node, f.node, CERTIFICATE_NODE);
  ours_init(&driver, f.driver, CERTIFICATE_DRIVER);
  ours_init(&other, dir, CERTIFICATE_DRIVER);
  exchange(&driver, &node, 1000);
  CHECK_INT(t, tls_verify(node.tls, node.id, &node.e), 0);
  test_folder_revoke(f.node, f.ca, alice, -60, 10 * TEST_DAY);
  CHECK_INT(t, tls_identity_reload(node.id, &node.e), 1);
  CHECK_INT(t, tls_verify(node.tls, node.id, &node.e), -1);
  CHECK(t,
        is_like(node.e.text, "its certificate is revoked (serial number *)"));
  CHECK_STR(t, node.e.kind, "tls");
  ours_renew(&node);
  ours_renew(&driver);
  exchange(&driver, &node, 1000);
  CHECK_STR(t, driver.e.text, "rejected our certificate (revoked)");
  /* the other authority has published no list */
  ours_renew(&node);
  exchange(&other, &node, 1000);
  CHECK_INT(t, tls_state(node.tls), TLS_OPEN);
  CHECK_INT(t, tls_verify(node.tls, node.id, &node.e), 0);
  CHECK_INT(t, tls_state(other.tls), TLS_OPEN);
  /* eleven days later the list is too old, which is not the driver's fault */
  X509_VERIFY_PARAM *param =
      X509_STORE_get0_param(tls_identity_keys(node.id)->trust.store);
  X509_VERIFY_PARAM_set_time(param, time(NULL) + 11 * TEST_DAY);
  test_folder_certificate(f.driver, test_member(f.ca, "driver", "search"),
                          NULL);
  ours_renew(&node);
  ours_renew(&driver);
  exchange(&driver, &node, 1000);
  CHECK(t,
        is_like(node.e.text, "its certificate cannot be checked: our * UTC"));
  CHECK_STR(t, driver.e.text,
            "rejected our certificate (it cannot check it; its log has the "
            "reason)");
  ours_free(&node);
  ours_free(&driver);
  ours_free(&other);
  test_keys_remove();
}

/* Connections go on when their identity is freed. */
static void test_lifetime(struct test_run *t)
{
  struct fleet f;
  fleet_init(&f);
  struct ours node, driver;
  ours_init(&node, f.node, CERTIFICATE_NODE);
  ours_init(&driver, f.driver, CERTIFICATE_DRIVER);
  tls_identity_free(node.id);
  node.id = NULL;
  exchange(&driver, &node, 1000);
  CHECK_INT(t, tls_state(node.tls), TLS_OPEN);
  ours_free(&node);
  ours_free(&driver);
  test_keys_remove();
}

const struct test tls_tests[] = {
    {"tls: bytes and facts in both directions, in pieces", test_exchange},
    {"tls: parts of all sizes", test_parts},
    {"tls: peers without TLS", test_without_tls},
    {"tls: the transport ends at every stage", test_ends},
    {"tls: a changed byte spoils the handshake", test_changed},
    {"tls: garbage before and after the handshake", test_garbage},
    {"tls: the peer of bytes before garbage", test_spoilt_end},
    {"tls: changes of keys are limited", test_key_updates},
    {"tls: rotation of authorities", test_rotation},
    {"tls: revocation", test_revocation},
    {"tls: the identity may be freed first", test_lifetime},
    {NULL, NULL},
};
