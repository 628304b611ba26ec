/* SPDX-License-Identifier: MIT */
#include "net/tls_identity.h"

#include "net/tls_keys.h"

#include <stdlib.h>
#include <string.h>

struct tls_identity {
  struct tls_keys *keys;
  enum certificate_role role;
  const char *command;
  char *dir;                          /* or the name of the text */
  bool is_text;                       /* there are no files */
  struct tls_stamp stamps[TLS_FILES]; /* of the files last read */
  uint8_t digest[DIGEST_SIZE];        /* of those in use */
  bool failed;                        /* those last read are not in use */
  struct err failure;                 /* the last one reported */
};

/* Takes what was read. Returns 1 with new keys, 0 when it is what is in use, -1
 * and `e`. */
static int take(struct tls_identity *id, const struct tls_folder *folder,
                struct err *e)
{
  if (id->keys && !memcmp(id->digest, folder->digest, DIGEST_SIZE)) return 0;
  struct tls_keys *keys = tls_keys_new(folder, id->role, id->command, e);
  if (!keys) return -1;
  tls_keys_unref(id->keys);
  id->keys = keys;
  memcpy(id->digest, folder->digest, DIGEST_SIZE);
  return 1;
}

static int read_keys(struct tls_identity *id, struct err *e)
{
  struct tls_folder folder;
  int rc =
      tls_folder_read(&folder, id->dir, certificate_role_name(id->role), e);
  memcpy(id->stamps, folder.stamps, sizeof(id->stamps));
  if (rc == 0) rc = take(id, &folder, e);
  tls_folder_free(&folder);
  return rc;
}

static int split_keys(struct tls_identity *id, const char *text, size_t len,
                      struct err *e)
{
  struct tls_folder folder;
  int rc = tls_folder_split(&folder, id->dir, text, len, e);
  if (rc == 0) rc = take(id, &folder, e);
  tls_folder_free(&folder);
  return rc;
}

static struct tls_identity *new_identity(const char *dir,
                                         enum certificate_role role,
                                         const char *command, struct err *e)
{
  struct tls_identity *id = err_calloc(sizeof(*id), "an identity", e);
  if (!id) return NULL;
  id->role = role;
  id->command = command;
  id->dir = strdup(dir);
  if (id->dir) return id;
  err_set(e, "memory", "out of memory for an identity");
  tls_identity_free(id);
  return NULL;
}

struct tls_identity *tls_identity_load(const char *dir,
                                       enum certificate_role role,
                                       const char *command, struct err *e)
{
  struct tls_identity *id = new_identity(dir, role, command, e);
  if (id && read_keys(id, e) == 1) return id;
  tls_identity_free(id);
  return NULL;
}

struct tls_identity *tls_identity_load_text(const char *name, const char *text,
                                            size_t len,
                                            enum certificate_role role,
                                            const char *command, struct err *e)
{
  struct tls_identity *id = new_identity(name, role, command, e);
  if (id) id->is_text = true;
  if (id && split_keys(id, text, len, e) == 1) return id;
  tls_identity_free(id);
  return NULL;
}

void tls_identity_free(struct tls_identity *id)
{
  if (!id) return;
  tls_keys_unref(id->keys);
  free(id->dir);
  free(id);
}

/* What a reload returns for the result of reading: each reason not to take the
 * keys is given once. */
static int report(struct tls_identity *id, int rc, const struct err *why,
                  struct err *e)
{
  bool again = rc < 0 && id->failed && !strcmp(why->text, id->failure.text);
  id->failed = rc < 0;
  if (rc >= 0) return rc;
  if (again) return 0;
  *e = id->failure = *why;
  return -1;
}

int tls_identity_reload(struct tls_identity *id, struct err *e)
{
  if (id->is_text) return 0;
  /* After a failure the files may have become valid by time alone. */
  if (!id->failed && tls_folder_is_unchanged(id->dir, id->stamps)) return 0;
  struct err why;
  return report(id, read_keys(id, &why), &why, e);
}

int tls_identity_take_text(struct tls_identity *id, const char *text,
                           size_t len, struct err *e)
{
  struct err why;
  return report(id, split_keys(id, text, len, &why), &why, e);
}

bool tls_identity_failed(const struct tls_identity *id)
{
  return id->failed;
}

const struct certificate *
tls_identity_certificate(const struct tls_identity *id)
{
  return &id->keys->facts;
}

const char *tls_identity_dir(const struct tls_identity *id)
{
  return id->dir;
}

int tls_identity_revoked(const struct tls_identity *id)
{
  return id->keys->trust.revoked;
}

struct tls_keys *tls_identity_keys(const struct tls_identity *id)
{
  return id->keys;
}

/* Returns what replaces a file that expires. */
static const char *remedy(const struct tls_identity *id, enum tls_file file)
{
  if (file == TLS_CRL) return "`moonfleet keygen DIR --crl` renews it";
  if (file == TLS_CA) return "docs/security.md says how to replace a CA";
  switch (id->keys->facts.role) {
  case CERTIFICATE_NODE:
    return "`moonfleet keygen DIR --node` makes another pair";
  case CERTIFICATE_OBSERVER:
    return "`moonfleet keygen DIR --observer NAME` makes another pair";
  default: return "`moonfleet keygen DIR --driver NAME` makes another pair";
  }
}

/* Adds a warning if `end` is within `days` of `now`. */
static int warn(const struct tls_identity *id, enum tls_file file, int64_t end,
                int64_t now, int days, struct err *to)
{
  char date[CERTIFICATE_DATE_SIZE];
  if (end == INT64_MAX || end - now > (int64_t)days * 86400) return 0;
  certificate_date(end, date);
  long long left = (end - now) / 86400;
  const char *name = tls_file_name(file);
  if (end < now)
    err_set(to, "usage", "%s/%s expired on %s", id->dir, name, date);
  else
    err_set(to, "usage", "%s/%s expires on %s, in %lld day%s; %s", id->dir,
            name, date, left, left == 1 ? "" : "s", remedy(id, file));
  return 1;
}

int tls_identity_warnings(const struct tls_identity *id, int64_t now,
                          struct err warnings[TLS_IDENTITY_WARNINGS])
{
  const struct tls_keys *k = id->keys;
  const int days = TLS_IDENTITY_CERTIFICATE_DAYS;
  int n = warn(id, TLS_CERT, k->facts.not_after, now, days, &warnings[0]);
  n += warn(id, TLS_CA, k->authority_expires, now, days, &warnings[n]);
  return n + warn(id, TLS_CRL, k->trust.list_expires, now,
                  TLS_IDENTITY_LIST_DAYS, &warnings[n]);
}
