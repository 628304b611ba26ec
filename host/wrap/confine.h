/* SPDX-License-Identifier: MIT */
/* This unit takes from a worker process what jobs have no use for, so that one
 * that gets the better of the interpreter still finds little there: the node's
 * environment, capabilities, new privileges, core files, being looked at by
 * other processes of its user, and, by a filter of system calls (seccomp), to
 * start programs, write files, listen, signal or trace other processes, and
 * whatever else it does not need. docs/security.md has the whole list.
 *
 * What the kernel does not offer is left out and logged at level info: a worker
 * starts all the same. */
#ifndef MF_CONFINE_H
#define MF_CONFINE_H

#include "base/err.h"

#include <stdbool.h>

/* [loop] The variables of this process's environment that workers get, for
 * posix_spawn: a NULL-terminated array to be freed, of strings that stay the
 * environment's. NULL when memory is out. */
char **confine_environment(void);

/* [main] Confines this process for the rest of its life. To be called when all
 * is open and before any job runs; threads that start later are confined, too,
 * files are opened for reading only. */
void confine_process(void);

/* [any] Whether this kernel and this build of the program filter system calls;
 * if not, `e` says why (kind "system"). */
bool confine_can_filter(struct err *e);

#endif
