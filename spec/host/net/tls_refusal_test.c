/* SPDX-License-Identifier: MIT */
/* TLS: every reason for which one side rejects the other, in the words of both.
 * The peer is one of OpenSSL that differs from ours in one thing. */
#include "../test.h"
#include "test_tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct test tls_refusal_tests[];

struct refusal {
  const char *what;
  struct test_key *key, *chain;
  const char *alpn;
  int version;
  const char *text;
  int alert;
  const char *kind;
};

static void check_refusal(struct test_run *t, struct ours *o, bool peer_serves,
                          const struct refusal *r)
{
  struct test_peer p;
  struct test_run mark = *t;
  ours_renew(o);
  test_peer_init(&p, peer_serves, r->key, r->chain, r->alpn ? r->alpn : ALPN,
                 r->version ? r->version : TLS1_3_VERSION);
  exchange_with(o, &p);
  CHECK_INT(t, o->rc, -1);
  CHECK_INT(t, tls_state(o->tls), TLS_FAILED);
  if (!CHECK(t, is_like(o->e.text, r->text)))
    printf("  got  %s\n  want %s\n", o->e.text, r->text);
  CHECK_STR(t, o->e.kind, r->kind ? r->kind : "tls");
  CHECK_INT(t, p.alert, r->alert);
  CHECK_INT(t, o->plain.len, 0);
  CHECK(t, !tls_peer(o->tls));
  if (t->failures > mark.failures) printf("  (%s)\n", r->what);
  test_peer_free(&p);
}

static struct test_key *key(const char *dns, const char *usage,
                            struct test_key *issuer, long begin, long end)
{
  return test_key_new(&(struct test_options){.name = "mallory",
                                             .dns = dns,
                                             .usage = usage,
                                             .issuer = issuer,
                                             .begin = begin,
                                             .end = end});
}

static const char *usage_of(bool server)
{
  return server ? "serverAuth" : "clientAuth";
}

static const char *dns_of(bool server)
{
  return server ? "node.search.moonfleet" : "driver.search.moonfleet";
}

static void check_list(struct test_run *t, struct ours *o, bool server,
                       const struct refusal *list, size_t count)
{
  for (size_t i = 0; i < count; i++) check_refusal(t, o, server, &list[i]);
}
#define CHECK_LIST(t, o, server, list)                                         \
  check_list((t), (o), (server), (list), sizeof(list) / sizeof((list)[0]))

/* `server`: the peer is a node. */
static void check_chains(struct test_run *t, struct ours *o, struct fleet *f,
                         bool server)
{
  const char *usage = usage_of(server), *dns = dns_of(server);
  struct test_key *middle = test_key_new(&(struct test_options){
      .name = "middle CA", .authority = true, .issuer = f->other_ca});
  struct test_key *fake = test_authority("search CA");
  const struct refusal list[] = {
      {"other CA", key(dns, usage, f->other_ca, 0, 0), .alert = 48,
       .text = "its certificate is not signed by our CA (issuer: other CA)"},
      {"other CA, sent along", key(dns, usage, f->other_ca, 0, 0), f->other_ca,
       .alert = 48,
       .text = "its certificate is not signed by our CA (issuer: other CA)"},
      {"intermediate of another CA", key(dns, usage, middle, 0, 0), middle,
       .alert = 48,
       .text = "its certificate is not signed by our CA (issuer: other CA)"},
      {"CA of the same name", key(dns, usage, fake, 0, 0), fake, .alert = 48,
       .text = "its certificate is not signed by our CA (issuer: search CA)"},
      {"self-signed", key(dns, usage, NULL, 0, 0), .alert = 48,
       .text = "its certificate is not signed by our CA (self-signed)"},
      {"signed by another member",
       key(dns, usage, test_member(f->ca, "driver", "search"), 0, 0),
       .alert = 48,
       .text = "its certificate is not signed by our CA (issuer: alice)"},
  };
  CHECK_LIST(t, o, server, list);
}

static void check_dates(struct test_run *t, struct ours *o, struct fleet *f,
                        bool server)
{
  const char *usage = usage_of(server), *dns = dns_of(server);
  const long day = TEST_DAY;
  struct test_key *revoked = key(dns, usage, f->ca, 0, 0);
  const struct refusal list[] = {
      {"expired", key(dns, usage, f->ca, -2 * day, -day), .alert = 45,
       .text = "its certificate expired on * UTC"},
      {"future", key(dns, usage, f->ca, day, 2 * day), .alert = 42,
       .text = "its certificate is not valid before * UTC"},
      {"revoked", revoked, .alert = 44,
       .text = "its certificate is revoked (serial number *)"},
      {"TLS 1.2", key(dns, usage, f->ca, 0, 0), .version = TLS1_2_VERSION,
       .alert = server ? 0 : 70, .text = "does not speak TLS 1.3"},
  };
  test_folder_revoke(server ? f->driver : f->node, f->ca, revoked, -60, 3600);
  CHECK_INT(t, tls_identity_reload(o->id, &o->e), 1);
  CHECK_LIST(t, o, server, list);
}

static void check_names(struct test_run *t, struct ours *o, struct fleet *f,
                        bool server)
{
  const char *usage = usage_of(server), *dns = dns_of(server);
  struct test_key *ca = f->ca;
  struct test_key *authority =
      test_key_new(&(struct test_options){.name = "CA",
                                          .authority = true,
                                          .issuer = ca,
                                          .dns = dns,
                                          .usage = usage});
  const char *not_one =
      server ? "its certificate is not one of a node (its only name must be "
               "node.search.moonfleet, and its usage that of a node)"
             : "its certificate is not one of a driver (its only name must be "
               "driver.search.moonfleet, and its usage that of a driver)";
  const struct refusal list[] = {
      {"no name", key(NULL, usage, ca, 0, 0), .alert = 42, .text = not_one},
      {"other name", key("example.org", usage, ca, 0, 0), .alert = 42,
       .text = not_one},
      {"wildcard", key("*.search.moonfleet", usage, ca, 0, 0), .alert = 42,
       .text = not_one},
      {"no usage", key(dns, NULL, ca, 0, 0), .alert = 43, .text = not_one},
      {"both usages", key(dns, "both", ca, 0, 0), .alert = 43, .text = not_one},
      {"an authority", authority, .alert = 43, .text = not_one},
      {"other fleet",
       key(server ? "node.other.moonfleet" : "driver.other.moonfleet", usage,
           ca, 0, 0),
       .alert = 42,
       .text =
           server
               ? "belongs to another fleet (its name is node.other.moonfleet, "
                 "expected node.search.moonfleet)"
               : "belongs to another fleet (its name is "
                 "driver.other.moonfleet, "
                 "expected driver.search.moonfleet)"},
      {"other role", test_member(ca, server ? "driver" : "node", "search"),
       .alert = 43,
       .text = server ? "its certificate is a driver certificate, not a node "
                        "certificate"
                      : "its certificate is a node certificate, not a driver "
                        "certificate"},
  };
  CHECK_LIST(t, o, server, list);
}

/* What both sides refuse, and what they accept. */
static void check_refusals(struct test_run *t, struct ours *o, struct fleet *f,
                           bool server)
{
  struct test_peer p;
  check_chains(t, o, f, server);
  check_dates(t, o, f, server);
  check_names(t, o, f, server);
  ours_renew(o);
  test_peer_init(&p, server, key(dns_of(server), usage_of(server), f->ca, 0, 0),
                 NULL, ALPN, TLS1_3_VERSION);
  exchange_with(o, &p);
  CHECK_INT(t, tls_state(o->tls), TLS_OPEN);
  CHECK(t, p.open && !p.failed && !p.tickets);
  test_peer_free(&p);
}

static void test_server_refuses(struct test_run *t)
{
  struct fleet f;
  fleet_init(&f);
  struct ours node;
  ours_init(&node, f.node, CERTIFICATE_NODE);
  check_refusals(t, &node, &f, false);
  struct test_key *driver = test_member(f.ca, "driver", "search");
  check_refusal(t, &node, false,
                &(struct refusal){.what = "none",
                                  .alert = 116,
                                  .text = "has sent no certificate"});
  check_refusal(t, &node, false,
                &(struct refusal){.what = "other protocol",
                                  .key = driver,
                                  .alert = 120,
                                  .alpn = "moonfleet/4",
                                  .kind = "skew",
                                  .text = "speaks another version of the "
                                          "protocol, not moonfleet/5"});
  check_refusal(t, &node, false,
                &(struct refusal){.what = "web browser",
                                  .key = driver,
                                  .alert = 120,
                                  .alpn = "http/1.1",
                                  .kind = "skew",
                                  .text = "speaks another version of the "
                                          "protocol, not moonfleet/5"});
  ours_free(&node);
  test_keys_remove();
}

static void test_client_refuses(struct test_run *t)
{
  struct fleet f;
  fleet_init(&f);
  struct ours driver;
  ours_init(&driver, f.driver, CERTIFICATE_DRIVER);
  check_refusals(t, &driver, &f, true);
  check_refusal(t, &driver, true,
                &(struct refusal){
                    .what = "an observer",
                    .key = test_member(f.ca, "observer", "search"),
                    .alert = 43,
                    .text = "its certificate is an observer certificate, not a "
                            "node certificate"});
  ours_free(&driver);
  test_keys_remove();
}

/* A peer without ALPN gets through the handshake, and no further. */
static void test_no_alpn(struct test_run *t)
{
  struct fleet f;
  fleet_init(&f);
  for (int server = 0; server < 2; server++) {
    struct ours o;
    struct test_peer p;
    ours_init(&o, server ? f.driver : f.node,
              server ? CERTIFICATE_DRIVER : CERTIFICATE_NODE);
    test_peer_init(&p, server,
                   test_member(f.ca, server ? "node" : "driver", "search"),
                   NULL, NULL, TLS1_3_VERSION);
    exchange_with(&o, &p);
    CHECK_INT(t, tls_state(o.tls), TLS_FAILED);
    CHECK_STR(t, o.e.text, "speaks TLS, but not for moonfleet");
    test_peer_free(&p);
    ours_free(&o);
  }
  test_keys_remove();
}

/* What the alerts of the other side mean. */
static void test_we_are_refused(struct test_run *t)
{
  static const struct {
    int refuse;
    const char *driver, *node;
  } list[] = {
      {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "unknown CA",
       "unknown CA"},
      {X509_V_ERR_CERT_HAS_EXPIRED, "expired", "expired"},
      {X509_V_ERR_CERT_REVOKED, "revoked", "revoked"},
      {X509_V_ERR_INVALID_PURPOSE, "not a driver", "not a node"},
      {X509_V_ERR_HOSTNAME_MISMATCH,
       "another fleet, or not yet valid by its clock",
       "another fleet, or not yet valid by its clock"},
      {X509_V_ERR_DIFFERENT_CRL_SCOPE,
       "it cannot check it; its log has the reason",
       "it cannot check it; its log has the reason"},
  };
  struct fleet f;
  char want[200];
  fleet_init(&f);
  struct test_key *keys[] = {test_member(f.ca, "driver", "search"),
                             test_member(f.ca, "node", "search")};
  for (int server = 0; server < 2; server++) {
    struct ours o;
    ours_init(&o, server ? f.driver : f.node,
              server ? CERTIFICATE_DRIVER : CERTIFICATE_NODE);
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
      struct test_peer p;
      ours_renew(&o);
      test_peer_init(&p, server, keys[server], NULL, ALPN, TLS1_3_VERSION);
      p.refuse = list[i].refuse;
      exchange_with(&o, &p);
      snprintf(want, sizeof(want), "rejected our certificate (%s)",
               server ? list[i].driver : list[i].node);
      CHECK_INT(t, o.rc, -1);
      CHECK_STR(t, o.e.text, want);
      CHECK_STR(t, o.e.kind, "tls");
      test_peer_free(&p);
    }
    ours_free(&o);
  }
  test_keys_remove();
}

const struct test tls_refusal_tests[] = {
    {"tls: a node refuses", test_server_refuses},
    {"tls: a driver refuses", test_client_refuses},
    {"tls: a peer without ALPN", test_no_alpn},
    {"tls: what the alerts of the peer mean", test_we_are_refused},
    {NULL, NULL},
};
