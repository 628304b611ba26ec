/* SPDX-License-Identifier: MIT */
/* A listener and dialers on one loop, and strangers that leave, say something
 * else, or nothing at all. */
#include "../test.h"
#include "base/container.h"
#include "net/dialer.h"
#include "net/listener.h"
#include "net/tls_identity.h"
#include "test_keys.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

extern const struct test listener_tests[];

enum kind { TCP, IPC, TLS, KINDS };
static const char *const names[] = {"tcp", "ipc", "tls"};

enum { SILENT = 40, STRANGERS = 100, DIALERS = 12, MAX_CHANNELS = 64 };

struct bed {
  struct loop *loop;
  struct loop_timer timer;
  char url[128];
  uint16_t port; /* of tcp */
  struct listener *listener;
  struct channel *channels[MAX_CHANNELS]; /* of the listener's side */
  int arrived, ended;
  bool refuses;
  struct test_key *ca;
  struct tls_identity *node, *driver; /* of TLS */
};

/* One who dials. */
struct client {
  struct dialer *dialer;
  struct channel *channel;
  struct err error;
  int done, replies;
};

static void on_time(struct loop_timer *timer)
{
  loop_stop(CONTAINER_OF(timer, struct bed, timer)->loop);
}

static void run_for(struct bed *b, uint64_t ns)
{
  struct err e;
  loop_timer_set(b->loop, &b->timer, ns);
  loop_run(b->loop, &e);
}

#define RUN_UNTIL(b, condition)                                                \
  for (int turns = 0; !(condition) && turns < 10000; turns++)                  \
  run_for((b), LOOP_MS)

/* ---- the node's side ---- */

static void on_ready(void *arg)
{
  (void)arg;
}

static void on_request(void *arg, uint32_t id, const uint8_t *data, size_t len)
{
  struct channel **place = arg;
  channel_reply(*place, id, data, len);
}

static void on_end(void *arg, const struct err *reason)
{
  struct channel **place = arg;
  (void)reason;
  channel_close(*place);
  *place = NULL;
}

static const struct channel_events echo = {on_ready, on_request, on_end};

static void *on_channel(void *arg, struct channel *c)
{
  struct bed *b = arg;
  b->arrived++;
  for (int i = 0; i < MAX_CHANNELS && !b->refuses; i++)
    if (!b->channels[i]) {
      b->channels[i] = c;
      return &b->channels[i];
    }
  return NULL;
}

static uint16_t free_port(void)
{
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof(a);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(fd, (struct sockaddr *)&a, len) == 0)
    getsockname(fd, (struct sockaddr *)&a, &len);
  close(fd);
  return ntohs(a.sin_port);
}

static struct tls_identity *identity(struct test_key *ca, const char *role,
                                     enum certificate_role r)
{
  struct err e;
  return tls_identity_load(test_folder(ca, test_member(ca, role, "search")), r,
                           "test", &e);
}

static bool bed_open(struct test_run *t, struct bed *b, enum kind kind)
{
  struct err e;
  memset(b, 0, sizeof(*b));
  if (kind == TLS) {
    b->ca = test_authority("search CA");
    b->node = identity(b->ca, "node", CERTIFICATE_NODE);
    b->driver = identity(b->ca, "driver", CERTIFICATE_DRIVER);
  }
  b->timer.on_expire = on_time;
  b->loop = loop_new(&e);
  if (!CHECK(t, b->loop)) return false;
  b->port = kind == IPC ? 0 : free_port();
  if (b->port)
    snprintf(b->url, sizeof(b->url), "tcp://127.0.0.1:%d", b->port);
  else
    snprintf(b->url, sizeof(b->url), "ipc:///tmp/moonfleet-ctest-%d",
             (int)getpid());
  const char *const urls[] = {b->url, NULL};
  const struct listener_options o = {
      .loop = b->loop, .urls = urls, .ipc_mode = 0600, .tls = b->node};
  b->listener = listener_new(&o, &echo, on_channel, b, &e);
  return CHECK(t, b->listener);
}

static void bed_close(struct bed *b)
{
  listener_free(b->listener);
  for (int i = 0; i < MAX_CHANNELS; i++) channel_close(b->channels[i]);
  tls_identity_free(b->node);
  tls_identity_free(b->driver);
  test_keys_remove();
  loop_timer_clear(b->loop, &b->timer);
  loop_free(b->loop);
}

/* ---- dialing ---- */

static void client_end(void *arg, const struct err *reason)
{
  struct client *c = arg;
  c->error = *reason;
  channel_close(c->channel);
  c->channel = NULL;
}

static const struct channel_events client_events = {on_ready, on_request,
                                                    client_end};

static void on_done(void *arg, struct channel *channel, const struct err *e)
{
  struct client *c = arg;
  c->done++;
  c->dialer = NULL;
  c->channel = channel;
  if (e) c->error = *e;
}

static bool dial(struct bed *b, struct client *c, const char *url,
                 uint64_t timeout)
{
  const struct dialer_options o = {
      .loop = b->loop, .url = url, .timeout = timeout, .tls = b->driver};
  memset(c, 0, sizeof(*c));
  c->dialer = dialer_dial(&o, &client_events, c, on_done, c, &c->error);
  return c->dialer;
}

static void on_reply(void *arg, const uint8_t *data, size_t len,
                     const struct err *e)
{
  struct client *c = arg;
  if (!e && len == 5 && !memcmp(data, "hello", 5)) c->replies++;
}

/* A good driver is served, within a second. */
static bool is_served(struct bed *b)
{
  struct client c;
  struct err e;
  uint64_t began = loop_clock();
  if (!dial(b, &c, b->url, LOOP_S)) return false;
  RUN_UNTIL(b, c.done);
  if (c.channel) channel_request(c.channel, "hello", 5, on_reply, &c, &e);
  RUN_UNTIL(b, c.replies || !c.channel);
  if (!c.replies) printf("not served: %s\n", c.error.text);
  channel_close(c.channel);
  return c.replies && loop_clock() - began < LOOP_S;
}

static void check_refused(struct test_run *t, struct bed *b, const char *kind,
                          const char *text)
{
  struct client c;
  CHECK(t, dial(b, &c, b->url, LOOP_S));
  RUN_UNTIL(b, c.done);
  CHECK(t, !c.channel);
  CHECK_STR(t, c.error.kind, kind);
  if (!CHECK(t, strstr(c.error.text, text)) ||
      !CHECK(t, !strncmp(c.error.text, b->url, strlen(b->url))))
    printf("  it is: %s\n", c.error.text);
}

/* ---- strangers ---- */

static int stranger(const struct bed *b)
{
  struct sockaddr_in in = {.sin_family = AF_INET,
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                           .sin_port = htons(b->port)};
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof(un.sun_path), "%s", b->url + strlen("ipc://"));
  int fd = socket(b->port ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
  bool ok = (b->port ? connect(fd, (struct sockaddr *)&in, sizeof(in))
                     : connect(fd, (struct sockaddr *)&un, sizeof(un))) == 0;
  if (ok) return fd;
  close(fd);
  return -1;
}

static void say(int fd, const void *data, size_t len)
{
  (void)!send(fd, data, len, MSG_NOSIGNAL);
}

static void reset_on_close(int fd)
{
  struct linger l = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

static const char old_driver[] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};

enum manner {
  AT_ONCE,
  WITH_RESET,
  HALF_CLOSED,
  GARBAGE,
  HALF_PREFACE,
  PREFACE,
  HALF_FRAME,
  OTHER_VERSION,
  HALF_GREETING,
  GREETING,
  HALF_HELLO,
  MANNERS
};

static void leave_as(int fd, enum manner manner)
{
  switch (manner) {
  case WITH_RESET: reset_on_close(fd); break;
  case HALF_CLOSED:
    shutdown(fd, SHUT_WR);
    reset_on_close(fd);
    break;
  case GARBAGE: say(fd, "GET / HTTP/1.0\r\n\r\n", 18); break;
  case HALF_PREFACE: say(fd, "moonfl", 6); break;
  case PREFACE: say(fd, "moonfleet/5\n", 12); break;
  case HALF_FRAME: say(fd, "moonfleet/5\n\x40\0\0\1abc", 19); break;
  case OTHER_VERSION: say(fd, "moonfleet/99\n", 13); break;
  case HALF_GREETING: say(fd, old_driver, 3); break;
  case GREETING: say(fd, old_driver, sizeof(old_driver)); break;
  case HALF_HELLO: say(fd, "\x16\3\1\2\0\1\0\1\xfc\3\3", 11); break;
  default: break;
  }
  close(fd);
}

static int descriptors(void)
{
  DIR *d = opendir("/proc/self/fd");
  int n = 0;
  while (d && readdir(d)) n++;
  if (d) closedir(d);
  return n;
}

/* Reads what comes within a second; the number of bytes at its end, or -1. */
static ssize_t hear(struct bed *b, int fd, char *to, size_t size)
{
  size_t len = 0;
  for (int i = 0; i < 1000; i++) {
    run_for(b, LOOP_MS);
    ssize_t n = recv(fd, to + len, size - len, MSG_DONTWAIT);
    if (n == 0) return (ssize_t)len;
    if (n > 0) len += (size_t)n;
    if (n < 0 && errno != EAGAIN) return -1;
  }
  return -1;
}

/* ---- tests ---- */

static void test_serves(struct test_run *t)
{
  struct bed b;
  for (enum kind kind = 0; kind < KINDS; kind++) {
    if (!bed_open(t, &b, kind)) continue;
    struct client clients[DIALERS];
    for (int i = 0; i < DIALERS; i++)
      CHECK(t, dial(&b, &clients[i], b.url, LOOP_S));
    for (int i = 0; i < DIALERS; i++) {
      RUN_UNTIL(&b, clients[i].done);
      CHECK(t, clients[i].channel);
      channel_close(clients[i].channel);
    }
    CHECK(t, is_served(&b));
    b.refuses = true; /* the channel is closed */
    struct client c;
    dial(&b, &c, b.url, LOOP_S);
    RUN_UNTIL(&b, c.done && !c.channel);
    CHECK_STR(t, c.error.kind, "lost");
    bed_close(&b);
  }
}

static void test_strangers(struct test_run *t)
{
  struct bed b;
  for (enum kind kind = 0; kind < KINDS; kind++) {
    if (!bed_open(t, &b, kind)) continue;
    CHECK(t, is_served(&b));
    run_for(&b, 20 * LOOP_MS);
    int before = descriptors();
    for (enum manner m = 0; m < MANNERS; m++) {
      for (int i = 0; i < STRANGERS; i++) {
        int fd = stranger(&b);
        if (i % 3 == 0) run_for(&b, LOOP_MS / 4);
        leave_as(fd, m);
        if (i % 3 == 1) run_for(&b, LOOP_MS / 4);
      }
      if (!CHECK(t, is_served(&b)))
        printf("over %s, after manner %d\n", names[kind], m);
    }
    RUN_UNTIL(&b, descriptors() <= before);
    CHECK_INT(t, descriptors(), before);
    bed_close(&b);
  }
}

/* Silent ones make room for others at once, and are gone in time. */
static void test_silent(struct test_run *t)
{
  struct bed b;
  int fds[SILENT], open = 0;
  char byte;
  if (!bed_open(t, &b, TCP)) return;
  uint64_t began = loop_clock();
  for (int i = 0; i < SILENT; i++) {
    fds[i] = stranger(&b);
    CHECK(t, fds[i] >= 0);
    if (i % 2) say(fds[i], "moon", 4);
    if (i % 8 == 7) run_for(&b, LOOP_MS);
  }
  CHECK(t, is_served(&b));
  for (int i = 0; i < SILENT; i++)
    if (recv(fds[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN)
      open++;
  CHECK(t, open <= LISTENER_MAX_PER_ADDRESS);
  for (uint64_t last = 0; loop_clock() - began < LISTENER_HANDSHAKE_TIMEOUT;) {
    run_for(&b, 20 * LOOP_MS);
    if (loop_clock() - last < LOOP_S) continue;
    last = loop_clock(); /* one trickles */
    say(fds[SILENT - 1], "f", 1);
  }
  run_for(&b, 500 * LOOP_MS);
  for (int i = 0; i < SILENT; i++) {
    /* what was sent after the preface began may leave a reset */
    ssize_t n;
    do n = recv(fds[i], &byte, 1, MSG_DONTWAIT);
    while (n > 0);
    CHECK(t, n == 0 || errno == ECONNRESET);
    close(fds[i]);
  }
  CHECK(t, is_served(&b));
  bed_close(&b);
}

/* A driver of protocol 4 or older is told in its own terms. */
static void test_old_driver(struct test_run *t)
{
  static const char tcp_request[] = "\0\0\0\0\0\0\0\7"
                                    "\x80\0\0\1"
                                    "abc";
  static const char ipc_request[] = "\1\0\0\0\0\0\0\0\7"
                                    "\x80\0\0\1"
                                    "abc";
  struct bed b;
  for (enum kind kind = 0; kind <= IPC; kind++) {
    if (!bed_open(t, &b, kind)) continue;
    char got[512] = "";
    int fd = stranger(&b);
    const char *request = kind == TCP ? tcp_request : ipc_request;
    size_t head = kind == TCP ? 8 : 9, len = head + 7;
    say(fd, old_driver, 3);
    run_for(&b, 5 * LOOP_MS);
    say(fd, old_driver + 3, sizeof(old_driver) - 3);
    run_for(&b, 5 * LOOP_MS);
    say(fd, request, 4);
    run_for(&b, 5 * LOOP_MS);
    say(fd, request + 4, len - 4);
    ssize_t n = hear(&b, fd, got, sizeof(got));
    if (CHECK(t, n > (ssize_t)head + 24)) {
      CHECK_BYTES(t, got, 8, "\0SP\0\0\x31\0\0", 8);
      CHECK_INT(t, (uint8_t)got[8 + head - 1], n - 8 - (ssize_t)head);
      CHECK_BYTES(t, got + 8 + head, 4, "\x80\0\0\1", 4);
      CHECK_BYTES(t, got + 12 + head, 12,
                  "\x93\xa5"
                  "error\xa4skew",
                  12);
      CHECK(t, memmem(got, (size_t)n, "speaks protocol 5", 17));
    }
    close(fd);
    CHECK_INT(t, b.arrived, 0);
    bed_close(&b);
  }
}

/* What else may be at an address: bytes that it answers with, and the error. */
static void test_dials_others(struct test_run *t)
{
  static const struct {
    const char *bytes;
    size_t len;
    const char *kind, *text;
  } others[] = {
      {"moonfleet/4\n", 12, "skew", "it speaks protocol 4"},
      {"\0SP\0\0\x31\0\0", 8, "skew", "protocol 4 or older"},
      {"220 mail\r\n", 10, "connect", "it is not moonfleet"},
      {"\x15\3\1\0\2\2\x46", 7, "connect", "--tls"},
      {NULL, 0, "lost", "closed the connection at once"},
      {"", 0, "connect", "no moonfleet node answers there"},
  };
  struct bed b;
  if (!bed_open(t, &b, IPC)) return;
  for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
    struct client c;
    char url[64];
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(t, !bind(fd, (struct sockaddr *)&a, len) && !listen(fd, 1));
    getsockname(fd, (struct sockaddr *)&a, &len);
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", ntohs(a.sin_port));
    CHECK(t, dial(&b, &c, url, LOOP_S / 2));
    int other = accept(fd, NULL, NULL);
    run_for(&b, 5 * LOOP_MS);
    if (others[i].len) say(other, others[i].bytes, others[i].len);
    if (!others[i].bytes) shutdown(other, SHUT_WR);
    RUN_UNTIL(&b, c.done);
    CHECK_STR(t, c.error.kind, others[i].kind);
    if (!CHECK(t, strstr(c.error.text, others[i].text)) ||
        !CHECK(t, !strncmp(c.error.text, url, strlen(url))))
      printf("%zu: %s\n", i, c.error.text);
    close(other);
    close(fd);
  }
  bed_close(&b);
}

/* Ends of which only one has keys, or those of another authority. */
static void test_tls_refusals(struct test_run *t)
{
  struct bed b;
  if (!bed_open(t, &b, TLS)) return;
  struct tls_identity *driver = b.driver;
  struct tls_identity *other =
      identity(test_authority("other CA"), "driver", CERTIFICATE_DRIVER);
  struct tls_identity *observer =
      identity(b.ca, "observer", CERTIFICATE_DRIVER);
  CHECK(t, is_served(&b));
  b.driver = observer;
  CHECK(t, is_served(&b)); /* what it may do is for the owner to decide */
  b.driver = NULL;
  check_refused(t, &b, "lost", "does it need --tls?");
  b.driver = other;
  check_refused(t, &b, "tls",
                "its certificate is not signed by our CA (issuer: search CA)");
  b.driver = driver;
  listener_free(b.listener);
  const char *const urls[] = {b.url, NULL};
  const struct listener_options o = {.loop = b.loop, .urls = urls};
  struct err e;
  run_for(&b, 20 * LOOP_MS);
  b.listener = listener_new(&o, &echo, on_channel, &b, &e);
  if (CHECK(t, b.listener)) check_refused(t, &b, "tls", "answers without TLS");
  listener_free(b.listener);
  b.listener = NULL;
  run_for(&b, 20 * LOOP_MS);
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                          .sin_port = htons(b.port)};
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  CHECK(t, !bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, 1));
  check_refused(t, &b, "timeout", "no TLS answer within 1 s");
  close(fd);
  tls_identity_free(other);
  tls_identity_free(observer);
  b.driver = driver;
  bed_close(&b);
}

/* A node of an older protocol does not wait for our preface, and closes when it
 * comes, which may discard its own greeting. */
static void test_dials_old_node(struct test_run *t)
{
  struct bed b;
  struct client c;
  char url[64], preface[16];
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof(a);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (!bed_open(t, &b, IPC)) return;
  CHECK(t, !bind(fd, (struct sockaddr *)&a, len) && !listen(fd, 2));
  getsockname(fd, (struct sockaddr *)&a, &len);
  snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", ntohs(a.sin_port));
  CHECK(t, dial(&b, &c, url, LOOP_S));
  int first = accept(fd, NULL, NULL);
  run_for(&b, 5 * LOOP_MS);
  CHECK_INT(t, recv(first, preface, sizeof(preface), 0), 12);
  reset_on_close(first);
  close(first);
  run_for(&b, 5 * LOOP_MS);
  int second = accept(fd, NULL, NULL);
  say(second, "\0SP\0\0\x31\0\0", 8);
  RUN_UNTIL(&b, c.done);
  CHECK_STR(t, c.error.kind, "skew");
  CHECK_INT(t, recv(second, preface, sizeof(preface), 0), 0);
  close(second);
  close(fd);
  bed_close(&b);
}

static void test_cannot_dial(struct test_run *t)
{
  struct bed b;
  struct client c;
  char url[64];
  if (!bed_open(t, &b, IPC)) return;
  CHECK(t, !dial(&b, &c, "http://127.0.0.1:80", LOOP_S));
  CHECK_STR(t, c.error.kind, "usage");
  CHECK(t, strstr(c.error.text, "not an address moonfleet can use"));
  CHECK(t, !dial(&b, &c, "tcp://10.0.1.5:5440", LOOP_S));
  CHECK_STR(t, c.error.text,
            "10.0.1.5:5440: reachable only with --tls DIR or --ssh");
  snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", free_port());
  CHECK(t, dial(&b, &c, url, LOOP_S));
  RUN_UNTIL(&b, c.done);
  CHECK_STR(t, c.error.kind, "connect");
  CHECK(t, strstr(c.error.text, "connection refused; is moonfleet serve"));
  /* cancelled at any moment, it does not call back */
  for (int i = 0; i < 40; i++) {
    CHECK(t, dial(&b, &c, i % 2 ? b.url : url, LOOP_S));
    if (i % 4 > 1) run_for(&b, (uint64_t)i * 20000);
    if (c.dialer) dialer_cancel(c.dialer);
    int done = c.done;
    run_for(&b, LOOP_MS / 4);
    CHECK_INT(t, c.done, done);
    channel_close(c.channel);
  }
  bed_close(&b);
}

static void test_cannot_listen(struct test_run *t)
{
  struct bed b;
  struct err e;
  if (!bed_open(t, &b, TCP)) return;
  const char *const urls[] = {"ipc:///tmp/moonfleet-ctest-other", b.url, NULL};
  struct listener_options o = {.loop = b.loop, .urls = urls};
  CHECK(t, !listener_new(&o, &echo, on_channel, &b, &e));
  CHECK_STR(t, e.kind, "system"); /* it may be free soon */
  CHECK(t, strstr(e.text, "the address is in use; stop what uses it or"));
  CHECK(t, access("/tmp/moonfleet-ctest-other", F_OK) < 0);
  const char *const unknown[] = {"udp://127.0.0.1:1", NULL};
  o.urls = unknown;
  CHECK(t, !listener_new(&o, &echo, on_channel, &b, &e));
  CHECK(t, strstr(e.text, "cannot listen on udp://127.0.0.1:1"));
  bed_close(&b);
}

/* Over descriptors what a login shell prints comes first. */
static void test_descriptors(struct test_run *t)
{
  struct bed b;
  struct client c = {0};
  int fds[2];
  char got[32];
  if (!bed_open(t, &b, IPC)) return;
  CHECK(t, !socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
  struct dialer_options o = {.loop = b.loop,
                             .in = fds[0],
                             .out = fds[0],
                             .name = "ssh build1",
                             .timeout = LOOP_S};
  c.dialer = dialer_dial(&o, &client_events, &c, on_done, &c, &c.error);
  CHECK(t, c.dialer);
  say(fds[1], "Welcome to moonfleet country\nmoonfleet/5\n", 41);
  RUN_UNTIL(&b, c.done);
  if (CHECK(t, c.channel)) CHECK_STR(t, channel_peer(c.channel), "ssh build1");
  CHECK_INT(t, recv(fds[1], got, sizeof(got), MSG_DONTWAIT), 12);
  CHECK_BYTES(t, got, 12, "moonfleet/5\n", 12);
  channel_close(c.channel);
  CHECK_INT(t, recv(fds[1], got, sizeof(got), 0), 0);
  close(fds[1]);
  CHECK(t, !socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
  o.in = o.out = fds[0];
  memset(&c, 0, sizeof(c));
  c.dialer = dialer_dial(&o, &client_events, &c, on_done, &c, &c.error);
  say(fds[1], "Bye", 3);
  close(fds[1]);
  RUN_UNTIL(&b, c.done);
  CHECK_STR(t, c.error.kind, "lost");
  CHECK(t, !strncmp(c.error.text, "ssh build1: the connection ", 27));
  bed_close(&b);
}

const struct test listener_tests[] = {
    {"listener serves dialers", test_serves},
    {"listener survives strangers", test_strangers},
    {"listener makes room among silent ones", test_silent},
    {"listener answers old drivers", test_old_driver},
    {"listener and dialer refuse each other by TLS", test_tls_refusals},
    {"dialer says what else answers", test_dials_others},
    {"dialer knows a node of an older protocol", test_dials_old_node},
    {"dialer says why it cannot connect", test_cannot_dial},
    {"listener says why it cannot listen", test_cannot_listen},
    {"dialer takes descriptors", test_descriptors},
    {NULL, NULL},
};
