/* SPDX-License-Identifier: MIT */
/* struct tls_folder: the content of a folder of keys (tls_identity.h), read but
 * not understood, and the stamps by which a change is noticed. Its files may
 * also come as one text, as a store has them: each behind a line "# NAME", with
 * the name of the file. [loop] */
#ifndef MF_TLS_FOLDER_H
#define MF_TLS_FOLDER_H

#include "base/buf.h"
#include "base/err.h"
#include "wrap/digest.h"

#include <sys/stat.h>

enum { TLS_FOLDER_MAX_FILE = 1024 * 1024 }; /* bytes of each file */

enum tls_file { TLS_CA, TLS_CERT, TLS_KEY, TLS_CRL, TLS_FILES };

/* What tells cheaply that a file is another one; all zero: there is none. */
struct tls_stamp {
  dev_t dev;
  ino_t ino;
  off_t size;
  struct timespec modified, changed;
};

struct tls_folder {
  const char *dir; /* or the name of the text, for messages; borrowed */
  struct buf content[TLS_FILES];
  struct tls_stamp stamps[TLS_FILES];
  uint8_t digest[DIGEST_SIZE]; /* of all of it */
};

/* "ca.crt", ... */
const char *tls_file_name(enum tls_file file);

/* Reads the files; crl.pem may be missing. Refuses a key that others can read.
 * 0, or -1 and `e`: kind "usage" or "memory". `usual` is the folder of keygen
 * to suggest for one that has none of the files: "node". The caller frees the
 * folder in either case. */
int tls_folder_read(struct tls_folder *f, const char *dir, const char *usual,
                    struct err *e);
/* The same for the files in a text, which is copied. */
int tls_folder_split(struct tls_folder *f, const char *name, const char *text,
                     size_t len, struct err *e);
/* Overwrites what was read. */
void tls_folder_free(struct tls_folder *f);

/* Whether the files of `dir` still have these stamps. */
bool tls_folder_is_unchanged(const char *dir,
                             const struct tls_stamp stamps[TLS_FILES]);

#endif
