/* SPDX-License-Identifier: MIT */
#include "net/nng_workaround.h"

#include <nng/nng.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Before 1.6, when a peer leaves before the handshake, nng mistakes the EPIPE
 * for the end of the listener, which then accepts no connection any more (nng
 * #1518). This returns an error that nng takes for the peer's own; to other
 * callers the two mean the same. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
  ssize_t n = syscall(SYS_sendmsg, fd, message, flags);
  if (n < 0 && errno == EPIPE) errno = ECONNRESET;
  return n;
}

#if NNG_MAJOR_VERSION == 1 && !defined(NNG_STATIC_LIB)

typedef void operation(nng_stream *stream, nng_aio *aio);

/* nng's own functions, set once, by nng_workaround_init. */
static operation *own_recv, *own_send;

static operation *find(const char *name)
{
  operation *f;
  void *symbol = dlsym(RTLD_NEXT, name);
  memcpy(&f, &symbol, sizeof(f));
  return f;
}

static void find_own(void)
{
  own_recv = find("nng_stream_recv");
  own_send = find("nng_stream_send");
}

void nng_workaround_init(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, find_own);
}

/* A transport receives and sends a message in several operations. When the
 * connection is closed between two of them, the next begins on a stopped aio,
 * and nng ignores it: the message is waited for forever, which also blocks
 * nng's only thread that reaps closed connections, and nng_close. Ended with an
 * error, the operation is handled as on any other broken connection. Only an
 * ignored operation has the result ECANCELED here: no callback can have run,
 * since the transport holds the lock that it needs, and a connection is closed
 * (ECLOSED) before it is stopped. */
static void end_if_ignored(nng_aio *aio)
{
  if (nng_aio_result(aio) == NNG_ECANCELED) nng_aio_finish(aio, NNG_ECLOSED);
}

void nng_stream_recv(nng_stream *stream, nng_aio *aio)
{
  own_recv(stream, aio);
  end_if_ignored(aio);
}

void nng_stream_send(nng_stream *stream, nng_aio *aio)
{
  own_send(stream, aio);
  end_if_ignored(aio);
}

#else

void nng_workaround_init(void)
{
}

#endif
