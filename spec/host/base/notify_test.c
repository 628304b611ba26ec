/* SPDX-License-Identifier: MIT */
/* Messages to a service manager, over real sockets of both kinds. */
#include "../test.h"
#include "base/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

extern const struct test notify_tests[];

enum { SIZE = 2048 };

/* Binds a socket to `name`, an abstract one if it begins with '@'. */
static int bind_manager(struct test_run *t, const char *name)
{
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  size_t len = strlen(name);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  memcpy(a.sun_path, name, len);
  if (*name == '@') a.sun_path[0] = 0;
  CHECK_INT(t,
            bind(fd, (const struct sockaddr *)&a,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
            0);
  return fd;
}

/* The next message, or "". */
static const char *receive(int fd, char text[SIZE])
{
  ssize_t n = recv(fd, text, SIZE - 1, 0);
  text[n > 0 ? n : 0] = 0;
  return text;
}

static bool take(const char *address, const char *us, const char *pid)
{
  setenv("NOTIFY_SOCKET", address, 1);
  unsetenv("WATCHDOG_USEC");
  unsetenv("WATCHDOG_PID");
  if (us) setenv("WATCHDOG_USEC", us, 1);
  if (pid) setenv("WATCHDOG_PID", pid, 1);
  notify_take();
  return notify_is_wanted();
}

static void talk(struct test_run *t, const char *address)
{
  char text[SIZE];
  int fd = bind_manager(t, address);
  CHECK(t, take(address, "500000", NULL));
  CHECK(t, !getenv("NOTIFY_SOCKET"));
  CHECK(t, !getenv("WATCHDOG_USEC"));
  CHECK_INT(t, notify_watchdog(), 500000000);
  notify_send("READY=%d\nSTATUS=%s", 1, "well");
  CHECK_STR(t, receive(fd, text), "READY=1\nSTATUS=well");
  notify_send("WATCHDOG=1");
  CHECK_STR(t, receive(fd, text), "WATCHDOG=1");
  CHECK_STR(t, receive(fd, text), "");
  close(fd);
  notify_send("READY=1"); /* it has gone: nothing happens */
  notify_take();
  CHECK(t, !notify_is_wanted());
}

static void test_path(struct test_run *t)
{
  char name[64];
  snprintf(name, sizeof(name), "/tmp/moonfleet-notify.%d", (int)getpid());
  talk(t, name);
  unlink(name);
}

static void test_abstract(struct test_run *t)
{
  char name[64];
  snprintf(name, sizeof(name), "@moonfleet-notify.%d", (int)getpid());
  talk(t, name);
}

static void test_longest(struct test_run *t)
{
  char name[110] = "@", text[SIZE];
  memset(name + 1, 'n', 106); /* all of sun_path but its last byte */
  int fd = bind_manager(t, name);
  CHECK(t, take(name, NULL, NULL));
  notify_send("READY=1");
  CHECK_STR(t, receive(fd, text), "READY=1");
  close(fd);
  memset(name + 1, 'n', 107);
  CHECK(t, !take(name, NULL, NULL));
}

static void test_none(struct test_run *t)
{
  static const char *const wrong[] = {"", "@", "/", "relative", "vsock:2:1"};
  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
    CHECK(t, !take(wrong[i], "500000", NULL));
    CHECK(t, !getenv("NOTIFY_SOCKET"));
    CHECK_INT(t, notify_watchdog(), 0);
    notify_send("READY=1");
  }
}

static void test_watchdog(struct test_run *t)
{
  char own[32];
  snprintf(own, sizeof(own), "%d", (int)getpid());
  CHECK(t, take("@none", "1000", own));
  CHECK_INT(t, notify_watchdog(), 1000000);
  CHECK(t, take("@none", "1000", "1"));
  CHECK_INT(t, notify_watchdog(), 0);
  CHECK(t, take("@none", "many", NULL));
  CHECK_INT(t, notify_watchdog(), 0);
  CHECK(t, take("@none", "18446744073709551615", NULL));
  CHECK_INT(t, notify_watchdog(), 0);
  unsetenv("NOTIFY_SOCKET");
  notify_take();
  CHECK(t, !notify_is_wanted());
}

const struct test notify_tests[] = {
    {"notify: a socket with a path", test_path},
    {"notify: an abstract socket", test_abstract},
    {"notify: the longest address, and one too long", test_longest},
    {"notify: no service manager", test_none},
    {"notify: the watchdog's interval", test_watchdog},
    {NULL, NULL},
};
