/* SPDX-License-Identifier: MIT */
#include "event/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

enum { MAX_DESCRIPTORS = 4 };

/* Copies those that lie where the child finds another one. Returns how many of
 * `raised` are set, to be closed, or -1 and errno. */
static int raise_descriptors(const struct process_options *o, int *from,
                             int *raised)
{
  int n = 0, top = (int)o->count;
  for (size_t i = 0; i < o->count; i++) {
    from[i] = o->descriptors[i];
    if (from[i] <= STDERR_FILENO || from[i] > top) continue;
    from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, top + 1);
    if (from[i] < 0) {
      while (n) close(raised[--n]);
      return -1;
    }
    raised[n++] = from[i];
  }
  return n;
}

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
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attr);
  posix_spawnattr_setsigmask(&attr, &none);
  posix_spawnattr_setsigdefault(&attr, &defaults);
  posix_spawnattr_setpgroup(&attr, 0);
  if (o->own_group) flags |= POSIX_SPAWN_SETPGROUP;
  posix_spawnattr_setflags(&attr, flags);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  for (size_t i = 0; i < o->count; i++)
    posix_spawn_file_actions_adddup2(&actions, from[i], (int)i + 1);
  int first = o->count > STDERR_FILENO ? (int)o->count + 1 : STDERR_FILENO + 1;
  posix_spawn_file_actions_addclosefrom_np(&actions, first);
  int rv = posix_spawnp(pid, o->file, &actions, &attr, o->argv,
                        o->environment ? o->environment : environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attr);
  return rv;
}

int process_start(const struct process_options *o, pid_t *pid)
{
  int from[MAX_DESCRIPTORS] = {0}, raised[MAX_DESCRIPTORS];
  if (o->count > MAX_DESCRIPTORS) return EINVAL;
  int n = raise_descriptors(o, from, raised);
  if (n < 0) return errno;
  int rv = spawn(o, from, pid);
  while (n) close(raised[--n]);
  return rv;
}
