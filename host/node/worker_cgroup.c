/* SPDX-License-Identifier: MIT */
#include "node/worker_cgroup.h"

#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

static void log_failure(const struct err *e)
{
  log_warn("workers stay in the control group of the node: what the machine "
           "forbids workers alone does not hold",
           LOG_STR("error", e->text));
}

static bool is_cgroup(int fd)
{
  struct statfs fs;
  return fstatfs(fd, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static int take_stdout(struct err *e)
{
  int fd = -1;
  if (!is_cgroup(STDOUT_FILENO))
    return err_set(e, "system",
                   "standard output is not the cgroup.procs of a control group "
                   "(version 2)");
  fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
    err_errno(e, "system", errno, "--worker-cgroup");
  return fd;
}

static int open_folder(const char *folder, struct err *e)
{
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return err_errno(e, "system", errno, "cannot open %s", path);
  if (is_cgroup(fd)) return fd;
  close(fd);
  return err_set(e, "system", "%s is not a control group of version 2", folder);
}

int worker_cgroup_open(const char *where)
{
  struct err e;
  if (!where) return -1;
  int fd = strcmp(where, "stdout") ? open_folder(where, &e) : take_stdout(&e);
  if (fd < 0) log_failure(&e);
  return fd;
}

void worker_cgroup_move(int *fd, pid_t pid)
{
  struct err e;
  if (*fd < 0 || dprintf(*fd, "%d\n", (int)pid) > 0) return;
  err_errno(&e, "system", errno, "cannot move worker process %d", (int)pid);
  log_failure(&e);
  close(*fd);
  *fd = -1;
}
