/* SPDX-License-Identifier: MIT */
#include "driver/local_node.h"

#include "base/container.h"
#include "base/log.h"
#include "event/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READY_FD = 3, MAX_ARGS = 20 };

static int spawn(struct local_node *n, const struct local_node_options *o,
                 int ready, int log, struct err *e)
{
  char workers[16], parent[16], lua_path[4096], level[16], release[256];
  snprintf(workers, sizeof(workers), "--workers=%d", o->workers);
  snprintf(parent, sizeof(parent), "%d", (int)getpid());
  snprintf(level, sizeof(level), "%s", log_level_name(log_level()));
  snprintf(release, sizeof(release), "--release=%s", o->release);
  snprintf(lua_path, sizeof(lua_path), "--lua-path=%s",
           o->lua_path ? o->lua_path : "");
  char *argv[MAX_ARGS] = {
      (char[]){"moonfleet"},
      (char[]){"serve"},
      (char[]){"--listen"},
      n->url,
      (char[]){"--name"},
      (char[]){"local"},
      (char[]){"--parent"},
      parent,
      (char[]){"--ready-fd"},
      (char[]){'0' + READY_FD, 0},
      (char[]){"--log-level"},
      level,
      workers,
      release,
      o->lua_path ? lua_path : NULL,
  };
  struct process_options options = {
      .file = PROCESS_SELF,
      .argv = argv,
      .own_group = true, /* Ctrl-C at the terminal is for the driver alone */
      .descriptors = (int[]){log, log, ready},
      .count = READY_FD,
  };
  int rv = process_start(&options, &n->pid);
  if (rv == 0) return 0;
  n->pid = 0;
  return err_errno(e, "system", rv, "cannot start the local node");
}

/* A folder of our own (mkdtemp gives it mode 0700), for the socket. */
static int make_folder(struct local_node *n, struct err *e)
{
  const char *bases[] = {getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp"};
  for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
    /* a socket's path is at most 107 bytes */
    if (!bases[i] || bases[i][0] != '/' || strlen(bases[i]) > 40) continue;
    snprintf(n->folder, sizeof(n->folder), "%s/moonfleet-XXXXXX", bases[i]);
    if (mkdtemp(n->folder)) return 0;
    err_errno(e, "system", errno, "cannot make a folder in %s", bases[i]);
  }
  n->folder[0] = 0;
  return -1;
}

static int open_pipe(int *from, int *to, int flags, struct err *e)
{
  int fds[2];
  if (pipe2(fds, O_CLOEXEC | flags) < 0)
    return err_errno(e, "system", errno, "pipe");
  *from = fds[0];
  *to = fds[1];
  return 0;
}

/* ---- its log ---- */

enum { LOG_READ = 65536 };

/* Whole lines, unless one is too long or the last. */
static void pass_lines(struct local_node *n, bool all)
{
  size_t whole = n->lines.len;
  while (!all && whole && n->lines.data[whole - 1] != '\n') whole--;
  if (!whole) return;
  log_pass((char *)n->lines.data, whole);
  buf_consume(&n->lines, whole);
}

/* 0 at the end, or when there is no more for now. */
static bool read_log(struct local_node *n)
{
  uint8_t *to = buf_room(&n->lines, LOG_READ);
  ssize_t got = to ? read(n->log.fd, to, LOG_READ) : 0;
  if (got > 0) n->lines.len += (size_t)got;
  pass_lines(n, got <= 0 || n->lines.len > LOG_READ);
  if (got == 0) loop_io_remove(n->loop, &n->log);
  return got > 0;
}

static void on_log(struct loop_io *io, uint32_t events)
{
  (void)events;
  read_log(CONTAINER_OF(io, struct local_node, log));
}

/* ---- starting and ending ---- */

int local_node_start(struct local_node *n, struct loop *loop,
                     const struct local_node_options *options, struct err *e)
{
  int ready = -1, log = -1, rc = -1;
  n->ready_fd = -1;
  n->loop = loop;
  n->log = (struct loop_io){.fd = -1, .on_ready = on_log};
  buf_init(&n->lines, 2 * LOG_READ);
  if (make_folder(n, e) < 0) return -1;
  snprintf(n->url, sizeof(n->url), "ipc://%s/node", n->folder);
  if (open_pipe(&n->ready_fd, &ready, 0, e) == 0) {
    /* a driver that computes does not hold the node up: lines are lost then */
    if (open_pipe(&n->log.fd, &log, O_NONBLOCK, e) == 0) {
      if (loop_io_add(loop, &n->log, EPOLLIN, e) == 0)
        rc = spawn(n, options, ready, log, e);
      close(log);
    }
    close(ready);
  }
  if (rc < 0) local_node_stop(n);
  return rc;
}

/* It has nothing to lose, so it leaves within milliseconds; one that does not
 * is killed. */
static void end_process(pid_t pid)
{
  const struct timespec pause = {.tv_nsec = 1000000};
  kill(pid, SIGTERM);
  for (int i = 0; i < 2000; i++) {
    if (waitpid(pid, NULL, WNOHANG)) return;
    nanosleep(&pause, NULL);
  }
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
}

void local_node_stop(struct local_node *n)
{
  if (n->pid > 0) end_process(n->pid);
  n->pid = 0;
  if (n->ready_fd > 0) close(n->ready_fd);
  n->ready_fd = -1;
  if (n->log.fd > 0) {
    bool more = true;
    while (more) more = read_log(n);
    loop_io_remove(n->loop, &n->log);
    close(n->log.fd);
    n->log.fd = -1;
  }
  buf_free(&n->lines);
  if (!n->folder[0]) return;
  unlink(n->url + strlen("ipc://")); /* left behind only by a killed node */
  rmdir(n->folder);
  n->folder[0] = 0;
}
