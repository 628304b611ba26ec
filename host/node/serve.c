/* SPDX-License-Identifier: MIT */
#include "node/serve.h"

#include "base/container.h"
#include "base/log.h"
#include "event/loop.h"
#include "net/address.h"
#include "net/carrier_fd.h"
#include "net/listener.h"
#include "node/audit.h"
#include "node/instance_monitor.h"
#include "node/node.h"
#include "node/requests.h"
#include "node/rotation.h"
#include "node/service.h"
#include "node/worker_events.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

struct serve {
  const struct serve_options *options;
  struct loop *loop;
  struct listener *listener;
  struct rotation *keys; /* of tcp addresses; NULL: none */
  struct loop_io signals;
  struct node node;
  struct instance_monitor *monitor;
  struct service service;
  bool is_open;    /* it listens, and has workers */
  bool has_failed; /* `failure` says why it ends */
  struct err failure;
};

static void on_hangup(struct serve *s)
{
  service_reloading(&s->service);
  if (s->node.audit) audit_reopen(s->node.audit);
  if (s->keys) rotation_check(s->keys);
  if (s->monitor) instance_monitor_hangup(s->monitor);
  if (!s->node.audit && !s->keys)
    log_info("SIGHUP ignored: there is no file to open again");
  service_reloaded(&s->service);
}

static void on_signal(struct loop_io *io, uint32_t events)
{
  (void)events;
  struct serve *s = CONTAINER_OF(io, struct serve, signals);
  struct signalfd_siginfo info;
  while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo == SIGCHLD) {
      if (s->node.workers) workers_reap(s->node.workers);
    } else if (info.ssi_signo == SIGHUP) {
      on_hangup(s);
    } else if (s->is_open) {
      node_stop(&s->node);
      service_report(&s->service);
    } else {
      loop_stop(s->loop);
    }
  }
}

static int watch_signals(struct serve *s, struct err *e)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  /* From a closed terminal, or because a file was renamed or keys are new. It
   * ends drivers, so it is blocked only here; workers inherit that it is
   * ignored. */
  sigaddset(&set, SIGHUP);
  signal(SIGHUP, SIG_IGN);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  s->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  s->signals.on_ready = on_signal;
  if (s->signals.fd < 0) return err_errno(e, "system", errno, "signalfd");
  return loop_io_add(s->loop, &s->signals, EPOLLIN, e);
}

static int check_listen(const struct serve *s, struct err *e)
{
  for (const char *const *url = s->options->listen; *url; url++) {
    const char *host = strncmp(*url, "tcp://", 6) ? *url : *url + 6;
    const char *port = strrchr(host, ':');
    int len = port ? (int)(port - host) : (int)strlen(host);
    if (s->options->tls || address_is_local(*url)) continue;
    if (address_kind(*url) == ADDRESS_UNKNOWN) continue; /* see listener_new */
    if (!s->options->insecure)
      return err_set(
          e, "usage",
          "will not listen on %.*s without --tls DIR: anyone who can "
          "connect could run code here; `moonfleet keygen DIR` makes "
          "keys",
          len, host);
    log_warn("--insecure: anyone who can connect may run code as this user",
             LOG_STR("address", *url), LOG_INT("uid", geteuid()));
  }
  return 0;
}

/* The one channel of a private or launched node. */
static int open_channel(struct serve *s, struct err *e)
{
  const struct serve_options *o = s->options;
  const struct channel_options options = {.loop = s->loop};
  struct carrier *carrier =
      carrier_fd_new(s->loop, o->in_fd, o->out_fd, "driver", e);
  if (!carrier) return -1;
  struct channel *c =
      channel_new(carrier, &options, &requests_channel_events, NULL, e);
  struct peer *peer = c ? requests_on_channel(&s->node, c) : NULL;
  if (c && !peer) {
    channel_close(c);
    return err_set(e, "memory", "out of memory for a channel");
  }
  if (c) channel_set_events(c, &requests_channel_events, peer);
  return c ? 0 : -1;
}

static void *on_channel(void *arg, struct channel *c)
{
  struct serve *s = arg;
  if (s->keys && !rotation_accepts(s->keys, c)) return NULL;
  return requests_on_channel(&s->node, c);
}

static int listen_to_all(struct serve *s, struct err *e)
{
  const struct listener_options options = {.loop = s->loop,
                                           .urls = s->options->listen,
                                           .ipc_mode = s->options->ipc_mode,
                                           .tls = rotation_identity(s->keys),
                                           .unfinished = &s->node.unfinished};
  s->listener =
      listener_new(&options, &requests_channel_events, on_channel, s, e);
  return s->listener ? 0 : -1;
}

static void log_ready(const struct serve *s)
{
  const struct serve_options *o = s->options;
  if (!*o->listen)
    log_info("node ready", LOG_STR("name", o->name),
             LOG_INT("workers", o->workers), LOG_STR("release", o->release));
  for (const char *const *url = o->listen; *url; url++) {
    log_info("node ready", LOG_STR("name", o->name), LOG_STR("address", *url),
             LOG_INT("workers", o->workers), LOG_STR("release", o->release));
    /* over TCP the kernel does not tell the account of a connection */
    if (!o->tls && !strncmp(*url, "tcp://", 6) && address_is_local(*url))
      log_warn("every account of this machine may run code as this user; "
               "--listen ipc:///PATH is for this user alone",
               LOG_STR("address", *url), LOG_INT("uid", geteuid()));
  }
}

/* Begins to serve; `keys` are those of a store, or NULL. */
static int open_node(struct serve *s, const struct buf *keys, struct err *e)
{
  const struct serve_options *o = s->options;
  if (keys)
    s->keys = rotation_new_text(&s->node, o->tls, keys, e);
  else if (o->tls)
    s->keys = rotation_new(&s->node, o->tls, e);
  if (o->tls && !s->keys) return -1;
  s->node.sessions.events = &requests_session_events;
  if (!*o->listen && open_channel(s, e) < 0) return -1;
  if (*o->listen && listen_to_all(s, e) < 0) return -1;
  s->node.workers = workers_new(s->loop, o, &worker_events, &s->node, e);
  if (!s->node.workers) return -1;
  s->is_open = true;
  log_ready(s);
  service_ready(&s->service);
  return 0;
}

/* ---- what the monitor does ---- */

static int on_open(void *arg, const struct buf *keys, struct err *e)
{
  return open_node(arg, keys, e);
}

static void on_take_keys(void *arg, const struct buf *keys)
{
  const struct serve *s = arg;
  if (s->keys) rotation_take(s->keys, keys);
}

static bool on_keys_failed(void *arg)
{
  const struct serve *s = arg;
  return s->keys && tls_identity_failed(rotation_identity(s->keys));
}

static void on_fail(void *arg, const struct err *why)
{
  struct serve *s = arg;
  s->has_failed = true;
  s->failure = *why;
  loop_stop(s->loop);
}

static const struct instance_monitor_events monitor_events = {
    on_open, on_take_keys, on_keys_failed, on_fail};

/* ---- start and end ---- */

static int start(struct serve *s, struct err *e)
{
  const struct serve_options *o = s->options;
  if (check_listen(s, e) < 0) return -1;
  if (o->audit && !(s->node.audit = audit_open(o->audit, e))) return -1;
  s->loop = loop_new(e);
  if (!s->loop || watch_signals(s, e) < 0 ||
      node_init(&s->node, o, s->loop, e) < 0)
    return -1;
  if (*o->listen) service_init(&s->service, &s->node);
  bool waits = o->tls_stored || o->standby;
  if (waits) service_starting(&s->service);
  if (!waits && open_node(s, NULL, e) < 0) return -1;
  if (!waits && !o->monitor_instance && !o->http_host) return 0;
  s->monitor = instance_monitor_new(&s->node, &monitor_events, s, e);
  return s->monitor ? 0 : -1;
}

static void finish(struct serve *s)
{
  instance_monitor_free(s->monitor);
  node_free(&s->node);
  listener_free(s->listener);
  rotation_free(s->keys);
  audit_close(s->node.audit);
  if (s->loop && s->signals.fd > 0) {
    loop_io_remove(s->loop, &s->signals);
    close(s->signals.fd);
  }
  workers_free(s->node.workers);
  loop_free(s->loop);
}

/* Whether a channel can use it: a pipe, a socket, or a terminal that passes on
 * every byte unchanged, as Slurm's `srun --unbuffered` opens one for the
 * output. A user's terminal does not. */
static bool is_channel(int fd)
{
  struct stat st;
  struct termios mode;
  if (fstat(fd, &st) < 0) return false;
  return S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) ||
         (fd == STDOUT_FILENO && tcgetattr(fd, &mode) == 0 &&
          !(mode.c_oflag & OPOST));
}

/* Takes standard input and output for the channel, so that nothing else reads
 * or writes them, nor inherits them. */
static int take_stdio(struct serve_options *o, struct err *e)
{
  static const char *const names[] = {"input", "output"};
  for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++) {
    if (!is_channel(fd))
      return err_set(e, "usage",
                     "--stdio: standard %s is neither a pipe nor a socket; a "
                     "driver starts this command (--launch, --ssh)",
                     names[fd]);
  }
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  o->in_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  o->out_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (null < 0 || o->in_fd < 0 || o->out_fd < 0 ||
      dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
    return err_errno(e, "system", errno, "--stdio");
  close(null);
  return 0;
}

int serve_run(const struct serve_options *options, struct err *e)
{
  struct serve_options o = *options;
  if (o.in_fd == STDIN_FILENO && take_stdio(&o, e) < 0) return -1;
  struct serve s = {.options = &o};
  int rc = start(&s, e);
  if (rc == 0) {
    rc = loop_run(s.loop, e);
    service_end(&s.service);
  }
  finish(&s);
  if (rc == 0 && s.has_failed) {
    *e = s.failure;
    rc = -1;
  }
  if (rc == 0) log_info("node stopped", LOG_STR("name", o.name));
  return rc;
}
