/* SPDX-License-Identifier: MIT */
/* process_start, which starts all child processes of the host. */
#ifndef MF_PROCESS_H
#define MF_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The file of this program itself. */
#define PROCESS_SELF "/proc/self/exe"

struct process_options {
  const char *file; /* without a slash it is searched in PATH */
  const char *const *argv;
  char *const *environment; /* NULL: that of this process */
  bool own_group;           /* run in a process group of its own */
  int input; /* becomes the standard input of the child; 0: it is empty */
  /* The descriptors that become 1, 2, 3, ... of the child, 4 at most. Its other
   * descriptors above stderr are closed. */
  const int *descriptors;
  size_t count;
};

/* [any] Starts a process that neither blocks signals nor ignores SIGPIPE.
 * Returns 0 and its id, or an errno value. */
int process_start(const struct process_options *o, pid_t *pid);

#endif
