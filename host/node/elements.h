/* SPDX-License-Identifier: MIT */
/* elements_act, which acts on a numbered message of a driver. [loop] */
#ifndef MF_ELEMENTS_H
#define MF_ELEMENTS_H

#include "node/state.h"

/* Reads each element and acts on it, in order. Returns 0, or -1 and `e` (kind
 * "protocol") at the first one that is malformed or exceeds a limit: the
 * session cannot go on then. */
int elements_act(struct node *n, struct session *s, const uint8_t *data,
                 size_t len, struct err *e);

#endif
