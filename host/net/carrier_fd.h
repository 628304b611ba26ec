/* SPDX-License-Identifier: MIT */
/* A carrier over descriptors on our own loop: a socket, or one pipe in each
 * direction. The O_NONBLOCK flag, which other processes may share, stays as it
 * is. [loop] */
#ifndef MF_CARRIER_FD_H
#define MF_CARRIER_FD_H

#include "event/loop.h"
#include "net/carrier.h"

/* Reads from `in` and writes to `out`, which may be the same socket. Takes over
 * both, also on failure, and makes them close on exec. `peer` names the other
 * end (see struct carrier). NULL and `e` when memory is out (kind "memory") or
 * one of them is neither a pipe, a socket nor a terminal (kind "file"). */
struct carrier *carrier_fd_new(struct loop *loop, int in, int out,
                               const char *peer, struct err *e);

#endif
