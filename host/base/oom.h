/* SPDX-License-Identifier: MIT */
/* The kernel's reaction to a lack of memory. A process that it kills gets
 * SIGKILL like any other; only the number of such kills, which has increased
 * then, tells the cause. */
#ifndef MF_OOM_H
#define MF_OOM_H

#include <stdint.h>

/* [any] The number of processes killed for lack of memory, on the machine since
 * it started plus in our control group; what cannot be read counts as 0. Reads
 * up to three files. */
int64_t oom_kills(void);

/* [any] Makes the kernel kill this process before its parent and other
 * processes with the parent's score. */
void oom_volunteer(void);

#endif
