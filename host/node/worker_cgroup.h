/* SPDX-License-Identifier: MIT */
/* The control group (cgroups of version 2) into which a node moves its workers,
 * so that rules of the machine can hold for them and not for the node. The node
 * only needs a descriptor of the group's cgroup.procs that may be written to:
 * the kernel judges a move by the rights of whoever has opened it, so that the
 * node's user needs no rights in the tree of groups and a worker, which does
 * not get the descriptor, cannot move itself. [loop] */
#ifndef MF_WORKER_CGROUP_H
#define MF_WORKER_CGROUP_H

#include <sys/types.h>

/* A descriptor for the group: `where` is its folder, or "stdout" if standard
 * output is open on its cgroup.procs, which then becomes stderr. -1, with a
 * line in the log, if there is no such group; or if `where` is NULL. */
int worker_cgroup_open(const char *where);

/* Moves a worker that has no work yet. After a failure, which is logged, the
 * descriptor is closed and -1, and workers stay in the node's group. Does
 * nothing for -1. */
void worker_cgroup_move(int *fd, pid_t pid);

#endif
