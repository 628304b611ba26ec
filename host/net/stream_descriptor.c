/* SPDX-License-Identifier: MIT */
#include "net/stream_descriptor.h"

#include <nng/nng.h>

#include <dirent.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* What nng tells of a stream. */
struct traits {
  bool tcp;
  nng_sockaddr local, remote; /* of tcp */
  uint64_t pid;               /* of ipc: the process at the other end */
};

static bool same_address(const nng_sockaddr *a,
                         const struct sockaddr_storage *s)
{
  if (a->s_family == NNG_AF_INET) {
    const struct sockaddr_in *in = (const void *)s;
    return in->sin_family == AF_INET && in->sin_port == a->s_in.sa_port &&
           in->sin_addr.s_addr == a->s_in.sa_addr;
  }
  const struct sockaddr_in6 *in6 = (const void *)s;
  return in6->sin6_family == AF_INET6 && in6->sin6_port == a->s_in6.sa_port &&
         !memcmp(&in6->sin6_addr, a->s_in6.sa_addr, sizeof(in6->sin6_addr));
}

static bool has_traits(int fd, const struct traits *t)
{
  struct sockaddr_storage s = {0};
  socklen_t size = sizeof(s);
  if (!t->tcp) {
    struct ucred peer;
    socklen_t length = sizeof(peer);
    return getsockname(fd, (void *)&s, &size) == 0 && s.ss_family == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
           (uint64_t)peer.pid == t->pid;
  }
  if (getpeername(fd, (void *)&s, &size) || !same_address(&t->remote, &s))
    return false;
  size = sizeof(s);
  return getsockname(fd, (void *)&s, &size) == 0 && same_address(&t->local, &s);
}

static bool get_traits(nng_stream *stream, struct traits *t)
{
  t->tcp = false;
  if (!nng_stream_get_uint64(stream, NNG_OPT_IPC_PEER_PID, &t->pid))
    return true;
  if (nng_stream_get_addr(stream, NNG_OPT_LOCADDR, &t->local) ||
      nng_stream_get_addr(stream, NNG_OPT_REMADDR, &t->remote))
    return false;
  t->tcp =
      t->remote.s_family == NNG_AF_INET || t->remote.s_family == NNG_AF_INET6;
  return t->tcp && t->local.s_family == t->remote.s_family;
}

int stream_descriptor(nng_stream *stream)
{
  struct traits traits;
  int found = -1;
  DIR *folder = get_traits(stream, &traits) ? opendir("/proc/self/fd") : NULL;
  if (!folder) return -1;
  for (struct dirent *d; (d = readdir(folder));) {
    int fd = (int)strtol(d->d_name, NULL, 10); /* 0 for "." and "..", too */
    if (!has_traits(fd, &traits)) continue;
    if (found >= 0) {
      found = -1;
      break;
    }
    found = fd;
  }
  closedir(folder);
  return found;
}
