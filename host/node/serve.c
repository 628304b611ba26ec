/* SPDX-License-Identifier: MIT */
#include "node/serve.h"

#include "base/container.h"
#include "base/log.h"
#include "event/loop.h"
#include "net/rpc.h"
#include "node/instance_monitor.h"
#include "node/node.h"
#include "node/requests.h"
#include "node/worker_events.h"
#include "wire/protocol.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct serve {
  const struct serve_options *options;
  struct loop *loop;
  struct rpc_server *server;
  struct loop_io signals;
  struct node node;
  struct instance_monitor *monitor;
};

static void on_signal(struct loop_io *io, uint32_t events)
{
  (void)events;
  struct serve *s = CONTAINER_OF(io, struct serve, signals);
  struct signalfd_siginfo info;
  while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo == SIGCHLD)
      workers_reap(s->node.workers);
    else if (info.ssi_signo == SIGHUP)
      log_info("SIGHUP ignored: there is no configuration to read again");
    else
      node_drain(&s->node);
  }
}

static int watch_signals(struct serve *s, struct err *e)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  /* From a closed terminal, or a service manager that wants a reload. It ends
   * drivers, so it is blocked only here; workers inherit that it is ignored. */
  sigaddset(&set, SIGHUP);
  signal(SIGHUP, SIG_IGN);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  s->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  s->signals.on_ready = on_signal;
  if (s->signals.fd < 0) return err_errno(e, "system", errno, "signalfd");
  return loop_io_add(s->loop, &s->signals, EPOLLIN, e);
}

static int check_listen(const struct serve_options *o, struct err *e)
{
  for (const char *const *url = o->listen; *url; url++)
    if (!rpc_is_local(*url))
      return err_set(e, "usage",
                     "cannot listen on %s: without TLS a node accepts loopback "
                     "and ipc addresses only (tcp://127.0.0.1:5440)",
                     *url);
  return 0;
}

static int start(struct serve *s, struct err *e)
{
  static const struct rpc_handlers handlers = {
      requests_on_request, requests_on_disconnect, PROTOCOL_MAX_REQUEST};
  const struct serve_options *o = s->options;
  if (check_listen(o, e) < 0) return -1;
  s->loop = loop_new(e);
  if (!s->loop || watch_signals(s, e) < 0 ||
      node_init(&s->node, o, s->loop, e) < 0)
    return -1;
  s->server =
      rpc_listen(s->loop, o->listen, o->ipc_mode, &handlers, &s->node, e);
  if (!s->server) return -1;
  s->node.workers = workers_new(s->loop, o, &worker_events, &s->node, e);
  if (!s->node.workers) return -1;
  if (o->monitor_instance) s->monitor = instance_monitor_new(&s->node, e);
  return o->monitor_instance && !s->monitor ? -1 : 0;
}

/* The socket of a private node is in a folder made for it, which nobody else
 * removes when the driver was killed. */
static void remove_folder(const struct serve_options *o)
{
  char folder[128];
  const char *url = o->listen[0];
  if (!o->parent || strncmp(url, "ipc://", 6)) return;
  snprintf(folder, sizeof(folder), "%s", url + 6);
  char *slash = strrchr(folder, '/');
  if (!slash) return;
  unlink(folder);
  *slash = 0;
  rmdir(folder); /* only ever an empty one */
}

static void finish(struct serve *s)
{
  instance_monitor_free(s->monitor);
  node_free(&s->node);
  rpc_server_close(s->server);
  if (s->loop && s->signals.fd > 0) {
    loop_io_remove(s->loop, &s->signals);
    close(s->signals.fd);
  }
  workers_free(s->node.workers);
  loop_free(s->loop);
  remove_folder(s->options);
}

static void log_addresses(const struct serve_options *o)
{
  for (const char *const *url = o->listen; *url; url++) {
    log_info("node ready", LOG_STR("name", o->name), LOG_STR("address", *url),
             LOG_INT("workers", o->workers), LOG_STR("release", o->release));
    /* over TCP the kernel does not tell the account of a connection */
    if (!strncmp(*url, "tcp://", 6))
      log_warn("every account of this machine may run code as this user; "
               "--listen ipc:///PATH is for this user alone",
               LOG_STR("address", *url), LOG_INT("uid", geteuid()));
  }
}

int serve_run(const struct serve_options *options, struct err *e)
{
  if (options->parent) {
    /* end with the driver; now, if it has ended before this line */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != options->parent) {
      remove_folder(options);
      return 0;
    }
  }
  struct serve s = {.options = options};
  int rc = start(&s, e);
  if (rc == 0) {
    log_addresses(options);
    if (options->ready_fd >= 0) {
      if (write(options->ready_fd, "ready\n", 6) < 0)
        log_warn("cannot report to the driver that the node is ready");
      close(options->ready_fd);
    }
    rc = loop_run(s.loop, e);
  }
  finish(&s);
  if (rc == 0) log_info("node stopped", LOG_STR("name", options->name));
  return rc;
}
