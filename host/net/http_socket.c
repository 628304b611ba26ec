/* SPDX-License-Identifier: MIT */
#include "net/http_socket.h"

#include "base/buf.h"
#include "base/container.h"

#include <curl/curl.h>

#include <stdlib.h>
#include <unistd.h>

enum {
  /* for everything else in the process: one in 8, and at least */
  OTHER_FILES = 40,
  /* of a lookup: curl's pair of sockets to its thread, and what the thread has
   * open, a file or a socket, two for a moment */
  FILES_OF_LOOKUP = 4,
};

/* One per descriptor number; kept when the descriptor is closed, because the
 * number comes back. */
struct sock {
  struct loop_io io;
  struct http_sockets *owner;
  uint32_t wanted;     /* what curl watches for now */
  uint32_t registered; /* what epoll watches for */
  bool lasting;        /* announced by http_sockets_open */
};

struct http_sockets {
  struct loop *loop;
  http_sockets_ready *ready;
  void *arg;
  struct buf by_fd; /* of struct sock *, NULL where there is none */
};

struct http_sockets *http_sockets_new(struct loop *loop,
                                      http_sockets_ready *ready, void *arg,
                                      struct err *e)
{
  struct http_sockets *s = err_calloc(sizeof(*s), "sockets", e);
  if (!s) return NULL;
  s->loop = loop;
  s->ready = ready;
  s->arg = arg;
  buf_init(&s->by_fd, SIZE_MAX);
  return s;
}

void http_sockets_free(struct http_sockets *s)
{
  if (!s) return;
  struct sock **all = (struct sock **)(void *)s->by_fd.data;
  for (size_t i = 0; i < s->by_fd.len / sizeof(*all); i++) {
    if (all[i] && all[i]->registered) loop_io_remove(s->loop, &all[i]->io);
    free(all[i]);
  }
  buf_free(&s->by_fd);
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
    /* an idle connection that the server closed, or sent something on: curl
     * notices when it next considers the connection */
    forget(k);
    return;
  }
  if (events & EPOLLIN) mask |= CURL_CSELECT_IN;
  if (events & EPOLLOUT) mask |= CURL_CSELECT_OUT;
  if (events & (EPOLLERR | EPOLLHUP)) mask |= CURL_CSELECT_ERR;
  k->owner->ready(k->owner->arg, io->fd, mask);
}

static struct sock *sock_at(struct http_sockets *s, int fd)
{
  struct sock *k = NULL;
  while (s->by_fd.len <= (size_t)fd * sizeof(k)) {
    if (buf_add(&s->by_fd, &k, sizeof(k)) == 0) continue;
    s->by_fd.failed = false; /* the next descriptor may find memory */
    return NULL;
  }
  struct sock **all = (struct sock **)(void *)s->by_fd.data;
  k = all[fd];
  if (k) return k;
  k = all[fd] = calloc(1, sizeof(*k));
  if (!k) return NULL;
  k->io.fd = fd;
  k->io.on_ready = on_ready;
  k->owner = s;
  return k;
}

int http_sockets_open(struct http_sockets *s, int fd)
{
  struct sock *k = sock_at(s, fd);
  if (!k) return -1;
  /* curl 7.88 closes a socket by itself when the time to connect is over: then
   * its number comes back here although http_sockets_close was not called
   * (findings/curl-close-callback.sh) */
  forget(k);
  k->lasting = true;
  return 0;
}

void http_sockets_close(struct http_sockets *s, int fd)
{
  struct sock *k = sock_at(s, fd); /* since http_sockets_open */
  forget(k);
  k->lasting = false;
  close(fd);
}

int http_sockets_watch(struct http_sockets *s, int fd, int what, struct err *e)
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

struct http_files http_files_divide(size_t open_files)
{
  size_t others = open_files / 8 > OTHER_FILES ? open_files / 8 : OTHER_FILES;
  size_t ours = open_files > others ? open_files - others : 0;
  size_t lookups = ours / (2 * FILES_OF_LOOKUP);
  if (lookups == 0) lookups = 1;
  size_t taken = lookups * FILES_OF_LOOKUP;
  return (struct http_files){.connections = ours > taken ? ours - taken : 1,
                             .lookups = lookups};
}
