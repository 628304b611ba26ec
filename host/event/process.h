/* SPDX-License-Identifier: MIT */
/* Child processes: one way to start all of them. */
#ifndef MF_PROCESS_H
#define MF_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* This program itself. */
#define PROCESS_SELF "/proc/self/exe"

struct process_options {
  const char *file; /* PATH is searched when it has no slash */
  char *const *argv;
  char *const *environment; /* NULL: that of this process */
  bool own_group;           /* a process group of its own */
  /* What the child finds at 1, 2, 3, ...; a standard descriptor may only be
   * given to a lower one. The others above stderr are closed in it, and its
   * standard input is empty. */
  const int *descriptors;
  size_t count;
};

/* Starts a process that blocks no signals and does not ignore SIGPIPE.
 * Returns 0 and its id, or the errno. [any] */
int process_start(const struct process_options *o, pid_t *pid);

#endif
