/* SPDX-License-Identifier: MIT */
#include "net/tls_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[TLS_FILES] = {"ca.crt", "cert.pem", "key.pem",
                                             "crl.pem"};

const char *tls_file_name(enum tls_file file)
{
  return names[file];
}

void tls_folder_free(struct tls_folder *f)
{
  for (int i = 0; i < TLS_FILES; i++) {
    if (f->content[i].data)
      OPENSSL_cleanse(f->content[i].data, f->content[i].cap);
    buf_free(&f->content[i]);
  }
}

static void stamp_set(struct tls_stamp *s, const struct stat *st)
{
  memset(s, 0, sizeof(*s)); /* also between the members, for memcmp */
  s->dev = st->st_dev;
  s->ino = st->st_ino;
  s->size = st->st_size;
  s->modified = st->st_mtim;
  s->changed = st->st_ctim;
}

/* Reads no more than the size that the file had when it was opened: a buffer
 * that does not grow leaves no copy of a key behind. 0 or an errno value. */
static int read_content(int fd, size_t size, struct buf *to)
{
  uint8_t *at = buf_room(to, size + 1);
  if (!at) return ENOMEM;
  while (to->len <= size) {
    ssize_t n = read(fd, at + to->len, size + 1 - to->len);
    if (n < 0 && errno != EINTR) return errno;
    if (n == 0) return 0;
    if (n > 0) to->len += (size_t)n;
  }
  return EAGAIN; /* it grows while we read it */
}

/* Whether accounts other than the owner may use the key. Root may share it with
 * a group, which is how packages and Kubernetes give one to a service
 * (PostgreSQL has the same rule for ssl_key_file). */
static bool is_exposed(const struct stat *st)
{
  return st->st_mode & (st->st_uid == 0 ? 037 : 077);
}

static int check_file(const struct tls_folder *f, enum tls_file file,
                      const struct stat *st, struct err *e)
{
  if (!S_ISREG(st->st_mode))
    return err_set(e, "usage", "%s/%s is not a regular file", f->dir,
                   names[file]);
  if (st->st_size > TLS_FOLDER_MAX_FILE)
    return err_set(e, "usage", "%s/%s is larger than %d bytes", f->dir,
                   names[file], TLS_FOLDER_MAX_FILE);
  if (file == TLS_KEY && is_exposed(st))
    return err_set(e, "usage",
                   "%s/key.pem is readable by others (%04o): chmod 600", f->dir,
                   (unsigned)(st->st_mode & 07777));
  return 0;
}

/* The file cannot be opened. If it is missing, the folder may be the one in
 * which keygen has made those that are meant. */
static int set_missing(const struct tls_folder *f, enum tls_file file,
                       const char *usual, int problem, struct err *e)
{
  char *path = NULL;
  if (problem == ENOTDIR)
    return err_set(
        e, "usage",
        "%s is not a folder: --tls takes the folder of a pair, which "
        "has cert.pem and key.pem",
        f->dir);
  if (problem != ENOENT ||
      asprintf(&path, "%s/%s/%s", f->dir, usual, names[file]) < 0)
    return err_errno(e, "usage", problem, "%s/%s", f->dir, names[file]);
  bool is_outer = access(path, F_OK) == 0;
  free(path);
  if (is_outer)
    return err_set(e, "usage", "%s/%s does not exist: did you mean %s/%s?",
                   f->dir, names[file], f->dir, usual);
  return err_set(e, "usage",
                 "%s/%s does not exist; `moonfleet keygen` makes such folders",
                 f->dir, names[file]);
}

static int read_file(struct tls_folder *f, enum tls_file file,
                     const char *usual, struct err *e)
{
  char *path = NULL;
  if (asprintf(&path, "%s/%s", f->dir, names[file]) < 0)
    return err_set(e, "memory", "out of memory for %s", names[file]);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  int problem = fd < 0 ? errno : 0;
  free(path);
  if (problem == ENOENT && file == TLS_CRL) return 0;
  if (problem) return set_missing(f, file, usual, problem, e);
  struct stat st;
  int rc = 0;
  if (fstat(fd, &st) < 0)
    rc = err_errno(e, "usage", errno, "%s/%s", f->dir, names[file]);
  else
    rc = check_file(f, file, &st, e);
  if (rc == 0) {
    stamp_set(&f->stamps[file], &st);
    problem = read_content(fd, (size_t)st.st_size, &f->content[file]);
    if (problem)
      rc = err_errno(e, "usage", problem, "%s/%s", f->dir, names[file]);
  }
  close(fd);
  return rc;
}

static void init(struct tls_folder *f, const char *dir)
{
  memset(f, 0, sizeof(*f));
  f->dir = dir;
  for (int i = 0; i < TLS_FILES; i++)
    buf_init(&f->content[i], TLS_FOLDER_MAX_FILE + 1);
}

static int set_digest(struct tls_folder *f, struct err *e)
{
  struct digest *d = digest_new(e);
  int rc = d ? 0 : -1;
  for (int i = 0; i < TLS_FILES && rc == 0; i++) {
    const struct buf *b = &f->content[i];
    rc = digest_update(d, &b->len, sizeof(b->len), e);
    if (rc == 0 && b->len) rc = digest_update(d, b->data, b->len, e);
  }
  if (rc == 0) rc = digest_value(d, f->digest, e);
  digest_free(d);
  return rc;
}

int tls_folder_read(struct tls_folder *f, const char *dir, const char *usual,
                    struct err *e)
{
  /* cert.pem first: where it is missing, the folder is a wrong one */
  static const enum tls_file sequence[TLS_FILES] = {TLS_CERT, TLS_KEY, TLS_CA,
                                                    TLS_CRL};
  init(f, dir);
  for (int i = 0; i < TLS_FILES; i++)
    if (read_file(f, sequence[i], usual, e) < 0) return -1;
  return set_digest(f, e);
}

/* ---- the files as one text ---- */

/* Which file the line "# NAME" begins; TLS_FILES for any other line. */
static enum tls_file heading(const char *line, size_t len)
{
  int file = 0;
  while (len && strchr("\r\n\t ", line[len - 1])) len--;
  for (; file < TLS_FILES; file++)
    if (len == 2 + strlen(names[file]) && !memcmp(line, "# ", 2) &&
        !memcmp(line + 2, names[file], len - 2))
      break;
  return (enum tls_file)file;
}

/* Puts the lines into the contents of the files that they belong to. */
static int split(struct tls_folder *f, const char *text, size_t len,
                 bool present[TLS_FILES], struct err *e)
{
  struct buf *to = NULL;
  for (const char *line = text, *end = text + len, *next; line < end;
       line = next) {
    const char *stop = memchr(line, '\n', (size_t)(end - line));
    next = stop ? stop + 1 : end;
    enum tls_file file = heading(line, (size_t)(next - line));
    if (file == TLS_FILES) {
      if (to) buf_add(to, line, (size_t)(next - line));
      continue;
    }
    if (present[file])
      return err_set(e, "usage", "%s has %s twice", f->dir, names[file]);
    present[file] = true;
    to = &f->content[file];
    /* a buffer that does not grow leaves no copy of a key behind */
    if (!buf_room(to, (size_t)(end - line)))
      return err_set(e, "memory", "out of memory for the keys of a fleet");
  }
  return 0;
}

int tls_folder_split(struct tls_folder *f, const char *name, const char *text,
                     size_t len, struct err *e)
{
  bool present[TLS_FILES] = {false};
  init(f, name);
  if (len > TLS_FOLDER_MAX_FILE)
    return err_set(e, "usage", "%s is larger than %d bytes", name,
                   TLS_FOLDER_MAX_FILE);
  if (split(f, text, len, present, e) < 0) return -1;
  for (int i = 0; i < TLS_FILES; i++)
    if (i != TLS_CRL && !present[i])
      return err_set(
          e, "usage",
          "%s has no %s; `moonfleet keygen --store` writes such sets "
          "of keys",
          name, names[i]);
  return set_digest(f, e);
}

bool tls_folder_is_unchanged(const char *dir,
                             const struct tls_stamp stamps[TLS_FILES])
{
  for (int i = 0; i < TLS_FILES; i++) {
    char *path = NULL;
    struct stat st;
    struct tls_stamp now = {0};
    if (asprintf(&path, "%s/%s", dir, names[i]) < 0) return false;
    if (stat(path, &st) == 0) stamp_set(&now, &st);
    free(path);
    if (memcmp(&now, &stamps[i], sizeof(now)) != 0) return false;
  }
  return true;
}
