/* SPDX-License-Identifier: MIT */
/* The folder of --tls: what is accepted, every reason to refuse one, warnings,
 * and taking new files while old ones are in use. */
#include "../test.h"
#include "net/tls_identity.h"
#include "test_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern const struct test tls_identity_tests[];

/* Loads the folder as a node for "serve". Returns "" or the text of the error
 * with DIR in place of the folder. */
static const char *load(const char *dir, enum certificate_role role)
{
  static char text[sizeof(((struct err *)NULL)->text)];
  struct err e;
  struct tls_identity *id = tls_identity_load(
      dir, role, role == CERTIFICATE_NODE ? "serve" : "run", &e);
  tls_identity_free(id);
  if (id) return "";
  if (strcmp(e.kind, "usage") != 0) return e.kind[0] ? "not a usage" : "kind";
  size_t at = 0;
  for (const char *p = e.text; *p && at < sizeof(text) - 4;) {
    if (!strncmp(p, dir, strlen(dir))) {
      at += (size_t)snprintf(text + at, sizeof(text) - at, "DIR");
      p += strlen(dir);
    } else {
      text[at++] = *p++;
    }
  }
  text[at] = '\0';
  return text;
}

/* Whether it is refused with this text; '*' in it stands for a date. */
static bool is_refused(struct test_run *t, const char *dir,
                       enum certificate_role role, const char *want)
{
  char got[300];
  snprintf(got, sizeof(got), "%s", load(dir, role));
  const char *star = strchr(want, '*');
  if (!star) return CHECK_STR(t, got, want);
  size_t head = (size_t)(star - want), tail = strlen(star + 1);
  size_t date = strlen("2027-11-29 14:05 UTC"), len = strlen(got);
  return CHECK_INT(t, len, head + date + tail) &&
         CHECK(t, !strncmp(got, want, head) &&
                      !strcmp(got + len - tail, star + 1) &&
                      !strncmp(got + head, "20", 2) &&
                      !strncmp(got + head + date - 4, " UTC", 4));
}
#define REFUSED(dir, role, want) is_refused(t, (dir), (role), (want))
#define NODE CERTIFICATE_NODE
#define DRIVER CERTIFICATE_DRIVER

static void test_facts(struct test_run *t)
{
  static const char *const roles[] = {"node", "driver", "observer"};
  static const char *const names[] = {"node", "alice", "observer"};
  struct test_key *ca = test_authority("search CA");
  for (int i = 0; i < 3; i++) {
    struct err e;
    const char *dir = test_folder(ca, test_member(ca, roles[i], "search"));
    struct tls_identity *id =
        tls_identity_load(dir, i ? DRIVER : NODE, "serve", &e);
    if (!CHECK(t, id != NULL)) continue;
    const struct certificate *c = tls_identity_certificate(id);
    CHECK_STR(t, certificate_role_name(c->role), roles[i]);
    CHECK_STR(t, c->fleet, "search");
    CHECK_STR(t, c->name, names[i]);
    CHECK(t, strlen(c->serial) == 4 && c->not_after > time(NULL));
    CHECK_STR(t, tls_identity_dir(id), dir);
    CHECK_INT(t, tls_identity_reload(id, &e), 0);
    tls_identity_free(id);
  }
  test_keys_remove();
}

static void test_role(struct test_run *t)
{
  struct test_key *ca = test_authority("search CA");
  const char *node = test_folder(ca, test_member(ca, "node", "search"));
  const char *driver = test_folder(ca, test_member(ca, "driver", "search"));
  const char *observer = test_folder(ca, test_member(ca, "observer", "search"));
  REFUSED(driver, NODE,
          "DIR/cert.pem is a driver certificate; serve needs a node "
          "certificate");
  REFUSED(observer, NODE,
          "DIR/cert.pem is an observer certificate; serve needs a node "
          "certificate");
  REFUSED(node, DRIVER,
          "DIR/cert.pem is a node certificate; run needs a driver certificate");
  struct test_options others[] = {
      {.name = "no usage", .dns = "node.search.moonfleet"},
      {.name = "both", .dns = "node.search.moonfleet", .usage = "both"},
      {.name = "wrong", .dns = "node.search.moonfleet", .usage = "clientAuth"},
      {.name = "two",
       .dns = "node.search.moonfleet",
       .dns2 = "driver.search.moonfleet",
       .usage = "serverAuth"},
      {.name = "wild", .dns = "*.search.moonfleet", .usage = "serverAuth"},
      {.name = "node.search.moonfleet", .usage = "serverAuth"},
      {.name = "other", .dns = "www.example.org", .usage = "serverAuth"},
  };
  for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
    others[i].issuer = ca;
    REFUSED(test_folder(ca, test_key_new(&others[i])), NODE,
            "DIR/cert.pem is not the certificate of a node, driver or "
            "observer; `moonfleet keygen` makes such");
  }
  test_keys_remove();
}

static void test_modes(struct test_run *t)
{
  struct test_key *ca = test_authority("search CA");
  char path[300];
  const char *dir = test_folder(ca, test_member(ca, "node", "search"));
  snprintf(path, sizeof(path), "%s/key.pem", dir);
  chmod(path, 0644);
  REFUSED(dir, NODE, "DIR/key.pem is readable by others (0644): chmod 600");
  chmod(path, 0620);
  REFUSED(dir, NODE, "DIR/key.pem is readable by others (0620): chmod 600");
  chmod(path, 0640);
  if (geteuid() == 0) { /* root may share a key with a group */
    CHECK_STR(t, load(dir, NODE), "");
    CHECK(t, chown(path, 1, 1) == 0);
  }
  REFUSED(dir, NODE, "DIR/key.pem is readable by others (0640): chmod 600");
  CHECK(t, chown(path, geteuid(), getegid()) == 0);
  chmod(path, 0400);
  CHECK_STR(t, load(dir, NODE), "");
  test_keys_remove();
}

static void test_files(struct test_run *t)
{
  struct test_key *ca = test_authority("search CA");
  struct test_key *node = test_member(ca, "node", "search");
  char path[300];
  const char *dir = test_folder(ca, node);
  snprintf(path, sizeof(path), "%s/key.pem", dir);
  test_folder_key(dir, test_member(ca, "node", "search"));
  REFUSED(dir, NODE, "DIR/key.pem does not match DIR/cert.pem");
  test_folder_write(dir, "key.pem", "nothing\n");
  REFUSED(dir, NODE, "DIR/key.pem has no private key in PEM format");
  test_folder_write(
      dir, "key.pem",
      "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
      "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiQIPB8nRdDQwICCAAw\n"
      "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEG9vJ6pH3ZjO6bz8N5sEgYGQ\n"
      "-----END ENCRYPTED PRIVATE KEY-----\n");
  CHECK(t, strstr(load(dir, NODE), "DIR/key.pem ") != NULL);
  test_folder_write(dir, "key.pem", NULL);
  REFUSED(dir, NODE,
          "DIR/key.pem does not exist; `moonfleet keygen` makes such folders");
  mkdir(path, 0700);
  REFUSED(dir, NODE, "DIR/key.pem is not a regular file");
  rmdir(path);
  mkfifo(path, 0600);
  REFUSED(dir, NODE, "DIR/key.pem is not a regular file");
  unlink(path);
  test_folder_key(dir, node);
  test_folder_write(dir, "cert.pem", "");
  REFUSED(dir, NODE, "DIR/cert.pem has no certificate in PEM format");
  test_folder_write(dir, "cert.pem",
                    "-----BEGIN CERTIFICATE-----\nAAAA\n"
                    "-----END CERTIFICATE-----\n");
  CHECK(t, !strncmp(load(dir, NODE),
                    "DIR/cert.pem: certificate 1 cannot be "
                    "read (",
                    44));
  test_folder_certificate(dir, node, NULL);
  test_folder_trust(dir, node, NULL);
  REFUSED(dir, NODE, "DIR/ca.crt: certificate 1 is not that of an authority");
  test_folder_trust(dir, ca, NULL);
  test_folder_write(dir, "crl.pem", "hello");
  REFUSED(dir, NODE, "DIR/crl.pem has no revocation list in PEM format");
  test_folder_write(dir, "crl.pem", NULL);
  char *large = calloc(1, 1024 * 1024 + 2);
  memset(large, 'x', 1024 * 1024 + 1);
  test_folder_write(dir, "ca.crt", large);
  free(large);
  REFUSED(dir, NODE, "DIR/ca.crt is larger than 1048576 bytes");
  test_keys_remove();
}

/* The folder that keygen has made, in place of one of those in it. */
static void test_outer_folder(struct test_run *t)
{
  struct test_key *ca = test_authority("search CA");
  const char *dir = test_folder(ca, test_member(ca, "node", "search"));
  const char *driver = test_folder(ca, test_member(ca, "driver", "search"));
  char inner[300];
  test_folder_write(dir, "cert.pem", NULL);
  snprintf(inner, sizeof(inner), "%s/driver", dir);
  CHECK_INT(t, rename(driver, inner), 0);
  REFUSED(dir, DRIVER, "DIR/cert.pem does not exist: did you mean DIR/driver?");
  REFUSED(dir, NODE,
          "DIR/cert.pem does not exist; `moonfleet keygen` makes such folders");
  snprintf(inner, sizeof(inner), "%s/driver/cert.pem", dir);
  REFUSED(inner, DRIVER,
          "DIR is not a folder: --tls takes the folder of a pair, which has "
          "cert.pem and key.pem");
  REFUSED("/nonexistent", NODE,
          "DIR/cert.pem does not exist; `moonfleet keygen` makes such folders");
  test_keys_remove();
}

static void test_dates(struct test_run *t)
{
  struct test_key *ca = test_authority("search CA");
  struct test_options o = {.name = "node",
                           .dns = "node.search.moonfleet",
                           .usage = "serverAuth",
                           .issuer = ca,
                           .begin = -2 * TEST_DAY,
                           .end = -TEST_DAY};
  REFUSED(test_folder(ca, test_key_new(&o)), NODE, "DIR/cert.pem expired on *");
  o.begin = TEST_DAY, o.end = 2 * TEST_DAY;
  REFUSED(test_folder(ca, test_key_new(&o)), NODE,
          "DIR/cert.pem is not valid before *");
  struct test_key *old = test_key_new(&(struct test_options){
      .name = "old CA", .authority = true, .begin = -9, .end = -5});
  o.begin = -9, o.end = 1000, o.issuer = old;
  REFUSED(test_folder(old, test_key_new(&o)), NODE,
          "the authority of DIR/cert.pem (old CA) expired on *");
  test_keys_remove();
}

static void test_chain(struct test_run *t)
{
  struct test_key *ca = test_authority("search CA");
  struct test_key *other = test_authority("other CA");
  struct test_key *node = test_member(other, "node", "search");
  REFUSED(test_folder(ca, node), NODE,
          "DIR/cert.pem is not signed by DIR/ca.crt (issuer: other CA)");
  struct test_options own = {
      .name = "node", .dns = "node.search.moonfleet", .usage = "serverAuth"};
  REFUSED(test_folder(ca, test_key_new(&own)), NODE,
          "DIR/cert.pem is not signed by DIR/ca.crt (self-signed)");
  struct test_key *twin = test_authority("search CA"); /* has another key */
  REFUSED(test_folder(ca, test_member(twin, "node", "search")), NODE,
          "DIR/cert.pem is not signed by DIR/ca.crt (issuer: search CA)");
  /* an intermediate authority in cert.pem, or as the only one that is trusted
   */
  struct test_key *middle = test_key_new(&(struct test_options){
      .name = "middle", .authority = true, .issuer = ca});
  node = test_member(middle, "node", "search");
  const char *dir = test_folder(ca, node);
  REFUSED(dir, NODE,
          "DIR/cert.pem is not signed by DIR/ca.crt (issuer: middle)");
  test_folder_certificate(dir, node, middle);
  CHECK_STR(t, load(dir, NODE), "");
  CHECK_STR(t, load(test_folder(middle, node), NODE), "");
  test_folder_trust(dir, other, ca);
  CHECK_STR(t, load(dir, NODE), "");
  test_keys_remove();
}

static void test_list(struct test_run *t)
{
  struct test_key *ca = test_authority("search CA");
  struct test_key *node = test_member(ca, "node", "search");
  struct test_key *other = test_authority("other CA");
  const char *dir = test_folder(ca, node);
  test_folder_revoke(dir, ca, test_member(ca, "node", "search"), -60, 3600);
  CHECK_STR(t, load(dir, NODE), "");
  test_folder_revoke(dir, ca, NULL, -60, 3600);
  CHECK_STR(t, load(dir, NODE), "");
  test_folder_revoke(dir, ca, NULL, -60, -30);
  REFUSED(dir, NODE,
          "DIR/crl.pem expired on *; `moonfleet keygen DIR --crl` renews it");
  test_folder_revoke(dir, ca, NULL, 60, 90);
  REFUSED(dir, NODE, "DIR/crl.pem is not valid before *");
  test_folder_revoke(dir, other, NULL, -60, 3600);
  REFUSED(dir, NODE,
          "DIR/crl.pem: list 1 is not signed by an authority of DIR/ca.crt");
  /* two authorities, of which only one has published a list */
  test_folder_trust(dir, ca, other);
  CHECK_STR(t, load(dir, NODE), "");
  test_folder_revoke(dir, ca, node, -60, 3600);
  CHECK(t, !strncmp(load(dir, NODE), "DIR/cert.pem is revoked (serial number ",
                    39));
  test_keys_remove();
}

static void test_reload(struct test_run *t)
{
  struct err e;
  struct test_key *ca = test_authority("search CA");
  struct test_key *node = test_member(ca, "node", "search");
  const char *dir = test_folder(ca, node);
  struct tls_identity *id = tls_identity_load(dir, NODE, "serve", &e);
  if (!CHECK(t, id != NULL)) return;
  struct tls_keys *first = tls_identity_keys(id);
  char serial[CERTIFICATE_SERIAL_SIZE];
  snprintf(serial, sizeof(serial), "%s", tls_identity_certificate(id)->serial);
  CHECK_INT(t, tls_identity_reload(id, &e), 0);
  test_folder_key(dir, node); /* another file with the same content */
  CHECK_INT(t, tls_identity_reload(id, &e), 0);
  CHECK(t, tls_identity_keys(id) == first);
  struct test_key *next = test_member(ca, "node", "search");
  test_folder_key(dir, next); /* half of a change */
  CHECK_INT(t, tls_identity_reload(id, &e), -1);
  CHECK(t, strstr(e.text, "/key.pem does not match ") != NULL);
  CHECK_INT(t, tls_identity_reload(id, &e), 0); /* said once */
  CHECK(t, tls_identity_keys(id) == first);
  test_folder_certificate(dir, next, NULL); /* the other half */
  CHECK_INT(t, tls_identity_reload(id, &e), 1);
  CHECK(t, strcmp(serial, tls_identity_certificate(id)->serial) != 0);
  CHECK_INT(t, tls_identity_reload(id, &e), 0);
  test_folder_revoke(dir, ca, node, -60, 3600); /* a file more */
  CHECK_INT(t, tls_identity_reload(id, &e), 1);
  test_folder_write(dir, "crl.pem", NULL); /* and less */
  CHECK_INT(t, tls_identity_reload(id, &e), 1);
  test_folder_write(dir, "ca.crt", NULL);
  CHECK_INT(t, tls_identity_reload(id, &e), -1);
  test_folder_write(dir, "ca.crt", "garbage");
  CHECK_INT(t, tls_identity_reload(id, &e), -1); /* another reason */
  test_folder_trust(dir, ca, NULL);              /* back to what is in use */
  CHECK_INT(t, tls_identity_reload(id, &e), 0);
  CHECK_INT(t, tls_identity_reload(id, &e), 0);
  tls_identity_free(id);
  test_keys_remove();
}

static int warnings(const char *dir, long days, struct err *list)
{
  struct err e;
  struct tls_identity *id = tls_identity_load(dir, NODE, "serve", &e);
  int n = id ? tls_identity_warnings(id, (int64_t)time(NULL) + days * TEST_DAY,
                                     list)
             : -1;
  tls_identity_free(id);
  return n;
}

static void test_warnings(struct test_run *t)
{
  struct err list[TLS_IDENTITY_WARNINGS];
  char want[300];
  struct test_key *ca = test_authority("search CA");
  const char *dir = test_folder(ca, test_member(ca, "node", "search"));
  CHECK_INT(t, warnings(dir, 0, list), 0);
  CHECK_INT(t, warnings(dir, 334, list), 0);
  CHECK_INT(t, warnings(dir, 336, list), 2); /* both have a year */
  snprintf(want, sizeof(want), "%s/cert.pem expires on 20", dir);
  CHECK(t, !strncmp(list[0].text, want, strlen(want)));
  CHECK(t, strstr(list[0].text, ", in 28 days; `moonfleet keygen DIR --node` "
                                "makes another pair") != NULL ||
               strstr(list[0].text, ", in 29 days; `moonfleet keygen DIR "
                                    "--node` makes another pair") != NULL);
  CHECK(t, strstr(list[1].text, "; docs/security.md says how to replace a CA"));
  CHECK_INT(t, warnings(dir, 400, list), 2);
  CHECK(t, strstr(list[1].text, "/ca.crt expired on 20") != NULL);
  test_folder_revoke(dir, ca, NULL, -60, 10 * TEST_DAY);
  CHECK_INT(t, warnings(dir, 2, list), 0);
  CHECK_INT(t, warnings(dir, 4, list), 1);
  CHECK(t, strstr(list[0].text, "/crl.pem expires on 20") != NULL);
  CHECK(t, strstr(list[0].text, "; `moonfleet keygen DIR --crl` renews it"));
  CHECK_INT(t, warnings(dir, 400, list), 3);
  test_keys_remove();
}

/* The files of a folder as one text, without the one called `without`. */
static size_t join(char *to, size_t max, const char *dir, const char *without)
{
  static const char *const names[] = {"ca.crt", "cert.pem", "key.pem",
                                      "crl.pem"};
  size_t len = 0;
  for (int i = 0; i < 4; i++) {
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
    FILE *f = strcmp(names[i], without) ? fopen(path, "r") : NULL;
    if (!f) continue;
    len += (size_t)snprintf(to + len, max - len, "# %s\n", names[i]);
    len += fread(to + len, 1, max - len, f);
    fclose(f);
  }
  return len;
}

static void refuses_text(struct test_run *t, const char *text, size_t len,
                         const char *want)
{
  struct err e;
  struct tls_identity *id =
      tls_identity_load_text("ssm:/k", text, len, NODE, "serve", &e);
  CHECK(t, !id);
  CHECK_STR(t, e.kind, "usage");
  CHECK_STR(t, e.text, want);
  tls_identity_free(id);
}

static void test_text(struct test_run *t)
{
  static char text[9000], other[9000];
  struct err e;
  struct test_key *ca = test_authority("search CA");
  struct test_key *node = test_member(ca, "node", "search");
  const char *dir = test_folder(ca, node);
  size_t len = join(text, sizeof(text), dir, "");
  struct tls_identity *id =
      tls_identity_load_text("ssm:/k", text, len, NODE, "serve", &e);
  if (!CHECK(t, id != NULL)) return;
  CHECK_STR(t, tls_identity_dir(id), "ssm:/k");
  CHECK_STR(t, tls_identity_certificate(id)->fleet, "search");
  CHECK_INT(t, tls_identity_reload(id, &e), 0);
  CHECK_INT(t, tls_identity_take_text(id, text, len, &e), 0);

  size_t bad = join(other, sizeof(other), dir, "key.pem");
  CHECK_INT(t, tls_identity_take_text(id, other, bad, &e), -1);
  CHECK_STR(t, e.text,
            "ssm:/k has no key.pem; `moonfleet keygen --store` writes such "
            "sets of keys");
  CHECK(t, tls_identity_failed(id));
  CHECK_INT(t, tls_identity_take_text(id, other, bad, &e), 0); /* said once */
  test_folder_revoke(dir, ca, NULL, -60, 3600);
  len = join(text, sizeof(text), dir, "");
  CHECK_INT(t, tls_identity_take_text(id, text, len, &e), 1);
  CHECK(t, !tls_identity_failed(id));
  tls_identity_free(id);

  /* with line ends of DOS, and text before, between and behind */
  len = (size_t)snprintf(other, sizeof(other), "hello\n");
  for (const char *p = text; *p && len < sizeof(other) - 2; p++) {
    if (*p == '\n') other[len++] = '\r';
    other[len++] = *p;
  }
  id = tls_identity_load_text("ssm:/k", other, len, NODE, "serve", &e);
  CHECK(t, id != NULL);
  tls_identity_free(id);

  refuses_text(t, "", 0,
               "ssm:/k has no ca.crt; `moonfleet keygen --store` writes such "
               "sets of keys");
  refuses_text(t, "# ca.crt\n# ca.crt", 17, "ssm:/k has ca.crt twice");
  const char *empty = "# ca.crt\n# cert.pem\n# key.pem\n";
  refuses_text(t, empty, strlen(empty),
               "ssm:/k/cert.pem has no certificate in PEM format");
  char *large = calloc(1, 1024 * 1024 + 1);
  refuses_text(t, large, 1024 * 1024 + 1,
               "ssm:/k is larger than 1048576 bytes");
  free(large);
  test_keys_remove();
}

const struct test tls_identity_tests[] = {
    {"tls identity: facts of node, driver and observer", test_facts},
    {"tls identity: the role must be right", test_role},
    {"tls identity: the key readable by others", test_modes},
    {"tls identity: files missing, malformed", test_files},
    {"tls identity: the folder of keygen itself", test_outer_folder},
    {"tls identity: expired and not yet valid", test_dates},
    {"tls identity: own chain", test_chain},
    {"tls identity: revocation lists", test_list},
    {"tls identity: takes all new files or none", test_reload},
    {"tls identity: warnings", test_warnings},
    {"tls identity: the files as one text", test_text},
    {NULL, NULL},
};
