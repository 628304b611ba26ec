/* SPDX-License-Identifier: MIT */
/* struct rotation: keeps the keys of --tls up to date. The folder is looked at
 * every ROTATION_INTERVAL and when asked (keys of a store are given by
 * rotation_take); new connections then use what is new,
 * and those that would be refused now are closed: a driver whose certificate
 * was renewed connects again and goes on with its session, one whose
 * certificate was revoked is told so then. [loop] */
#ifndef MF_ROTATION_H
#define MF_ROTATION_H

#include "net/tls_identity.h"
#include "node/state.h"

#include <stdbool.h>

#define ROTATION_INTERVAL (10 * LOOP_S)
/* Between two lines about what expires soon. */
#define ROTATION_WARN_INTERVAL (86400 * LOOP_S)

struct rotation;

/* Loads the folder, for a node that is initialized. NULL and `e`, as of
 * tls_identity_load. */
struct rotation *rotation_new(struct node *n, const char *dir, struct err *e);
/* The same for keys in a store that knows them by `name`. */
struct rotation *rotation_new_text(struct node *n, const char *name,
                                   const struct buf *text, struct err *e);
void rotation_free(struct rotation *r); /* accepts NULL */

/* What the listener uses; lives as long as `r`. NULL for NULL. */
struct tls_identity *rotation_identity(const struct rotation *r);

/* Looks at the folder now. */
void rotation_check(struct rotation *r);
/* Takes what the store has now, if it can be used. */
void rotation_take(struct rotation *r, const struct buf *text);

/* Whether a connection that has just been made is still accepted: the keys may
 * have changed during its handshake. */
struct channel;
bool rotation_accepts(const struct rotation *r, struct channel *c);

#endif
