/* SPDX-License-Identifier: MIT */
#include "base/notify.h"

#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { MESSAGE_SIZE = 1024 };
/* Seconds. A service manager that does not read must not hold up this process.
 */
enum { SEND_TIMEOUT = 1 };

static struct {
  struct sockaddr_un address;
  socklen_t len; /* 0: there is no service manager */
  uint64_t watchdog;
  bool failed;
} manager;

/* An address is a path, or the name of an abstract socket after an '@'. */
static bool take_address(const char *name)
{
  struct sockaddr_un *a = &manager.address;
  size_t len = strlen(name), room = sizeof(a->sun_path);
  bool is_abstract = *name == '@';
  /* a path has a NUL behind it, an abstract name one before it */
  if ((*name != '/' && !is_abstract) || len < 2 || len >= room) {
    log_warn("NOTIFY_SOCKET is not the address of a UNIX socket; the "
             "service manager is not notified",
             LOG_STR("address", name));
    return false;
  }
  a->sun_family = AF_UNIX;
  memcpy(a->sun_path, name, len + 1);
  if (is_abstract) a->sun_path[0] = 0;
  manager.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len +
                            (is_abstract ? 0 : 1));
  return true;
}

/* Of this process, unless WATCHDOG_PID names another one. */
static void take_watchdog(void)
{
  const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
  uint64_t interval = us ? strtoull(us, NULL, 10) : 0;
  if (pid && strtol(pid, NULL, 10) != getpid()) return;
  if (interval < UINT64_MAX / 1000) manager.watchdog = interval * 1000;
}

void notify_take(void)
{
  const char *name = getenv("NOTIFY_SOCKET");
  memset(&manager, 0, sizeof(manager));
  if (name && *name && take_address(name)) take_watchdog();
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_USEC");
  unsetenv("WATCHDOG_PID");
}

bool notify_is_wanted(void)
{
  return manager.len > 0;
}

uint64_t notify_watchdog(void)
{
  return manager.watchdog;
}

static int send_message(const char *text, size_t len)
{
  const struct timeval patience = {.tv_sec = SEND_TIMEOUT};
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  ssize_t sent;
  do {
    sent = sendto(fd, text, len, MSG_NOSIGNAL,
                  (const struct sockaddr *)&manager.address, manager.len);
  } while (sent < 0 && errno == EINTR);
  int reason = errno;
  close(fd);
  errno = reason;
  return sent < 0 ? -1 : 0;
}

void notify_send(const char *format, ...)
{
  char text[MESSAGE_SIZE];
  struct err e;
  va_list ap;
  if (!manager.len) return;
  va_start(ap, format);
  int len = vsnprintf(text, sizeof(text), format, ap);
  va_end(ap);
  if (len < 0 || len >= MESSAGE_SIZE) return;
  if (send_message(text, (size_t)len) == 0 || manager.failed) return;
  manager.failed = true;
  err_errno(&e, "system", errno, "cannot notify the service manager");
  log_warn(e.text);
}
