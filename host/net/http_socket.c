/* SPDX-License-Identifier: MIT */
#include "net/http_socket.h"

#include "base/container.h"

#include <curl/curl.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One per descriptor number; kept when the descriptor is closed, because the
 * number comes back. */
struct sock {
  struct loop_io io;
  struct http_socks *owner;
  uint32_t wanted;     /* what curl watches for now */
  uint32_t registered; /* what epoll watches for */
  bool lasting;        /* announced by http_socks_open */
};

struct http_socks {
  struct loop *loop;
  http_socks_ready *ready;
  void *arg;
  struct sock **by_fd;
  size_t room;
};

struct http_socks *http_socks_new(struct loop *loop, http_socks_ready *ready,
                                  void *arg, struct err *e)
{
  struct http_socks *s = calloc(1, sizeof(*s));
  if (!s) {
    err_set(e, "memory", "out of memory");
    return NULL;
  }
  s->loop = loop;
  s->ready = ready;
  s->arg = arg;
  return s;
}

void http_socks_free(struct http_socks *s)
{
  if (!s) return;
  for (size_t i = 0; i < s->room; i++) {
    struct sock *k = s->by_fd[i];
    if (k && k->registered) loop_io_remove(s->loop, &k->io);
    free(k);
  }
  free(s->by_fd);
  free(s);
}

static void forget(struct sock *k)
{
  if (k->registered) loop_io_remove(k->owner->loop, &k->io);
  k->registered = k->wanted = 0;
}

static void on_ready(struct loop_io *io, uint32_t events)
{
  struct sock *k = CONTAINER_OF(io, struct sock, io);
  int mask = 0;
  if (!k->wanted) {
    /* an idle connection that the server closed, or spoke on unasked: curl
     * finds out when it next considers the connection */
    forget(k);
    return;
  }
  if (events & EPOLLIN) mask |= CURL_CSELECT_IN;
  if (events & EPOLLOUT) mask |= CURL_CSELECT_OUT;
  if (events & (EPOLLERR | EPOLLHUP)) mask |= CURL_CSELECT_ERR;
  k->owner->ready(k->owner->arg, io->fd, mask);
}

static int grow(struct http_socks *s, size_t fd)
{
  size_t room = s->room ? s->room : 64;
  while (room <= fd) room *= 2;
  struct sock **by_fd = calloc(room, sizeof(struct sock *));
  if (!by_fd) return -1;
  if (s->by_fd) memcpy(by_fd, s->by_fd, s->room * sizeof(*by_fd));
  free(s->by_fd);
  s->by_fd = by_fd;
  s->room = room;
  return 0;
}

static struct sock *sock_at(struct http_socks *s, int fd)
{
  size_t at = (size_t)fd;
  if (at >= s->room && grow(s, at) < 0) return NULL;
  if (s->by_fd[at]) return s->by_fd[at];
  struct sock *k = calloc(1, sizeof(*k));
  if (!k) return NULL;
  k->io.fd = fd;
  k->io.on_ready = on_ready;
  k->owner = s;
  s->by_fd[at] = k;
  return k;
}

int http_socks_open(struct http_socks *s, int fd)
{
  struct sock *k = sock_at(s, fd);
  if (!k) return -1;
  k->lasting = true;
  return 0;
}

void http_socks_close(struct http_socks *s, int fd)
{
  struct sock *k = s->by_fd[fd];
  forget(k);
  k->lasting = false;
  close(fd);
}

int http_socks_watch(struct http_socks *s, int fd, int what, struct err *e)
{
  struct sock *k = sock_at(s, fd);
  if (!k) return err_set(e, "memory", "out of memory");
  if (what == CURL_POLL_REMOVE) {
    k->wanted = 0;
    if (!k->lasting) forget(k);
    return 0;
  }
  uint32_t want = 0;
  if (what & CURL_POLL_IN) want |= EPOLLIN;
  if (what & CURL_POLL_OUT) want |= EPOLLOUT;
  k->wanted = want;
  /* epoll is level-triggered: EPOLLOUT left on would fire all the time */
  if (want == k->registered) return 0;
  int rc = k->registered ? loop_io_set(s->loop, &k->io, want, e)
                         : loop_io_add(s->loop, &k->io, want, e);
  if (rc == 0) k->registered = want;
  return rc;
}
