/* SPDX-License-Identifier: MIT */
/* This unit provides what the kernel says of memory running out. A process
 * that it kills then dies of SIGKILL like any other: only that the count of
 * such kills went up meanwhile tells why. */
#ifndef MF_OOM_H
#define MF_OOM_H

#include <stdint.h>

/* [any] How many processes were killed for memory since the machine started,
 * in our control group too where that can be read; 0 when nothing can. Costs a
 * read of a file or two. */
int64_t oom_kills(void);

/* [any] Makes the kernel kill this process before its parent, and what else
 * runs with the parent's score. */
void oom_volunteer(void);

#endif
