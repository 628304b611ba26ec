/* SPDX-License-Identifier: MIT */
#include "event/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <unistd.h>

enum { MAX_DESCRIPTORS = 4 };

/* `from` has the input, if there is one, and then the descriptors. */
static int spawn(const struct process_options *o, const int *from, pid_t *pid)
{
  extern char **environ;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attr;
  sigset_t none, defaults;
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE); /* which this process ignores */
  sigaddset(&defaults, SIGXFSZ); /* and this */
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attr);
  posix_spawnattr_setsigmask(&attr, &none);
  posix_spawnattr_setsigdefault(&attr, &defaults);
  posix_spawnattr_setpgroup(&attr, 0);
  if (o->own_group) flags |= POSIX_SPAWN_SETPGROUP;
  posix_spawnattr_setflags(&attr, flags);
  if (o->input)
    posix_spawn_file_actions_adddup2(&actions, *from++, STDIN_FILENO);
  else
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
                                     O_RDONLY, 0);
  for (size_t i = 0; i < o->count; i++)
    posix_spawn_file_actions_adddup2(&actions, from[i], (int)i + 1);
  int first = o->count > STDERR_FILENO ? (int)o->count + 1 : STDERR_FILENO + 1;
  posix_spawn_file_actions_addclosefrom_np(&actions, first);
  int rv = posix_spawnp(pid, o->file, &actions, &attr,
                        (char *const *)(uintptr_t)o->argv,
                        o->environment ? o->environment : environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attr);
  return rv;
}

int process_start(const struct process_options *o, pid_t *pid)
{
  /* copies of the descriptors, above all those that the child gets, so that
   * dup2 overwrites none of them */
  int from[1 + MAX_DESCRIPTORS] = {0}, rv = 0;
  size_t n = 0, inputs = o->input != 0;
  if (o->count > MAX_DESCRIPTORS) return EINVAL;
  while (n < inputs + o->count && rv == 0) {
    int fd = fcntl(n < inputs ? o->input : o->descriptors[n - inputs],
                   F_DUPFD_CLOEXEC, MAX_DESCRIPTORS + 1);
    if (fd < 0)
      rv = errno;
    else
      from[n++] = fd;
  }
  if (rv == 0) rv = spawn(o, from, pid);
  while (n) close(from[--n]);
  return rv;
}
