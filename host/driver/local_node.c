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
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int spawn(struct local_node *n, const struct local_node_options *o,
                 int session, int log, struct err *e)
{
  char args[4][4096]; /* a path is the longest */
  snprintf(args[0], sizeof(args[0]), "--workers=%d", o->workers);
  snprintf(args[1], sizeof(args[1]), "--log-level=%s",
           log_level_name(log_level()));
  snprintf(args[2], sizeof(args[2]), "--release=%s", o->release);
  snprintf(args[3], sizeof(args[3]), "--lua-path=%s",
           o->lua_path ? o->lua_path : "");
  const char *argv[] = {"moonfleet",
                        "serve",
                        "--name=local",
                        "--session-fd=3",
                        args[0],
                        args[1],
                        args[2],
                        "--allow-hosts",
                        o->allow_hosts ? o->allow_hosts : "none",
                        NULL,
                        NULL,
                        NULL,
                        NULL};
  size_t count = 0; /* of those that are there in any case */
  while (argv[count]) count++;
  if (o->modules) {
    argv[count++] = "--modules";
    argv[count++] = o->modules;
  }
  if (o->lua_path) argv[count] = args[3];
  struct process_options options = {
      .file = PROCESS_SELF,
      .argv = argv,
      .own_group = true, /* Ctrl-C at the terminal is for the driver alone */
      .descriptors = (int[]){log, log, session},
      .count = 3,
  };
  int rv = process_start(&options, &n->pid);
  if (rv == 0) return 0;
  n->pid = 0;
  return err_errno(e, "system", rv, "cannot start the local node");
}

/* ---- log ---- */

enum { LOG_READ_BYTES = 65536 };

/* Logs the whole lines, or `all` of the text. */
static void pass_lines(struct local_node *n, bool all)
{
  size_t whole = n->lines.len;
  while (!all && whole && n->lines.data[whole - 1] != '\n') whole--;
  if (!whole) return;
  log_raw((char *)n->lines.data, whole);
  buf_consume(&n->lines, whole);
}

/* Returns false at the end, or when there is no more for now. */
static bool read_log(struct local_node *n)
{
  uint8_t *to = buf_room(&n->lines, LOG_READ_BYTES);
  ssize_t got = to ? read(n->log.fd, to, LOG_READ_BYTES) : 0;
  if (got > 0) n->lines.len += (size_t)got;
  pass_lines(n, got <= 0 || n->lines.len > LOG_READ_BYTES);
  if (got == 0) loop_io_remove(n->loop, &n->log);
  return got > 0;
}

static void on_log(struct loop_io *io, uint32_t events)
{
  (void)events;
  read_log(CONTAINER_OF(io, struct local_node, log));
}

/* ---- start and stop ---- */

int local_node_start(struct local_node *n, struct loop *loop,
                     const struct local_node_options *options, struct err *e)
{
  int session[2] = {-1, -1}, log[2] = {-1, -1}, rc = -1;
  n->loop = loop;
  n->session = -1;
  buf_init(&n->lines, 2 * LOG_READ_BYTES);
  /* log: a busy driver does not block the node, whose lines are lost instead */
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, session) < 0 ||
      pipe2(log, O_CLOEXEC | O_NONBLOCK) < 0)
    err_errno(e, "system", errno, "cannot connect to a local node");
  n->session = session[0];
  n->log = (struct loop_io){.fd = log[0], .on_ready = on_log};
  if (log[0] >= 0 && loop_io_add(loop, &n->log, EPOLLIN, e) == 0)
    rc = spawn(n, options, session[1], log[1], e);
  if (session[1] >= 0) close(session[1]);
  if (log[1] >= 0) close(log[1]);
  if (rc < 0) local_node_stop(n);
  return rc;
}

int local_node_take_session(struct local_node *n)
{
  int fd = n->session;
  n->session = -1;
  return fd;
}

/* The node has nothing to lose and ends within milliseconds. */
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
  if (n->session > 0) close(n->session);
  n->session = -1;
  if (n->log.fd > 0) {
    while (read_log(n)) {
    }
    loop_io_remove(n->loop, &n->log);
    close(n->log.fd);
    n->log.fd = -1;
  }
  buf_free(&n->lines);
}
