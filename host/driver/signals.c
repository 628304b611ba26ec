/* SPDX-License-Identifier: MIT */
#include "driver/signals.h"

#include "base/container.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void on_ready(struct loop_io *io, uint32_t events)
{
  (void)events;
  struct signals *s = CONTAINER_OF(io, struct signals, io);
  struct signalfd_siginfo info;
  while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
    s->pending = (int)info.ssi_signo;
    if (s->handled) {
      task_wake(&s->wait);
    } else {
      s->ended_by = s->pending;
      loop_stop(s->loop);
    }
  }
}

int signals_open(struct signals *s, struct loop *loop, struct err *e)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  *s = (struct signals){.loop = loop};
  s->io.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  s->io.on_ready = on_ready;
  if (s->io.fd < 0) return err_errno(e, "system", errno, "signalfd");
  return loop_io_add(loop, &s->io, EPOLLIN, e);
}

void signals_close(struct signals *s)
{
  if (s->io.fd <= 0) return;
  loop_io_remove(s->loop, &s->io);
  close(s->io.fd);
  s->io.fd = -1;
}
