/* SPDX-License-Identifier: MIT */
/* Removes from a worker process what jobs do not need, so that a job that
 * breaks out of the interpreter finds little: the node's environment,
 * capabilities, new privileges, core files and inspection by other processes of
 * the user. A filter of system calls (seccomp) forbids it to start programs,
 * write files, listen, and signal or trace other processes, among other things.
 * docs/security.md has the whole list.
 *
 * A protection that the kernel lacks is skipped and logged at level info; the
 * worker starts all the same. */
#ifndef MF_CONFINE_H
#define MF_CONFINE_H

#include "base/err.h"

#include <stdbool.h>

/* The environment for workers: a NULL-terminated array, to be freed by the
 * caller, of strings that belong to the environment of this process. NULL: out
 * of memory. [loop] */
char **confine_environment(void);

/* Confines this process for the rest of its life, and threads that start later.
 * Files can be opened for reading only. Call it when everything is open, before
 * any job runs. [main] */
void confine_process(void);

/* Whether this kernel and this build can filter system calls. If not, `e` has
 * the reason (kind "system"). [any] */
bool confine_can_filter(struct err *e);

#endif
