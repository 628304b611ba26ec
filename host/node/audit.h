/* SPDX-License-Identifier: MIT */
/* Who submitted what: a line in the log for each session and each job of one,
 * and with `serve --audit FILE` the same in that file, as JSON Lines
 * (docs/security.md). [loop] */
#ifndef MF_AUDIT_H
#define MF_AUDIT_H

#include "node/peer.h"
#include "wire/blob_store.h"

struct audit;

/* Opens the file to append to it. NULL and `e` on failure. */
struct audit *audit_open(const char *path, struct err *e);
/* Opens it again, for a file that was renamed; keeps the old one on failure. */
void audit_reopen(struct audit *a);
void audit_close(struct audit *a); /* accepts NULL */

/* A driver has opened a session. `release` is its own, of `len` bytes; NULL: it
 * did not tell. */
void audit_session(struct node *n, const struct session *s,
                   const struct peer *p, const char *release, size_t len);
/* The first batch of a job. */
void audit_job(struct node *n, const struct session *s, int64_t job,
               const struct blob *definition);

#endif
