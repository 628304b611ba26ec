/* SPDX-License-Identifier: MIT */
/* host/net/http.c where Lua does not reach: limits of the client itself,
 * cancelling at each stage, and giving up the client with calls alive. The
 * server is on the same loop: /ok answers, /half stops after half a body, /64
 * and /256 send so many MiB of zero bytes by gzip, all else gets no answer. */
#include "../test.h"
#include "base/container.h"
#include "lua/runtime.h"
#include "lua/task.h"
#include "net/http.h"
#include "bindings/lib.h"
#include "worker/worker.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

extern const struct test http_tests[];

enum { MAX_PEERS = 64, MAX_CALLS = 32, BODY = 8 << 20 };

struct peer {
  struct loop_io io;
  struct fixture *fixture;
};

struct call {
  struct fixture *fixture;
  struct http_call *http_call; /* NULL once done */
  struct call *cancels;        /* by its callback */
  int done;
  long status;
  struct err e;
  struct buf body;
};

/* A loop with a client and a server. */
struct fixture {
  struct test_run *t;
  struct loop *loop;
  struct http *http;
  struct loop_io listener;
  struct loop_timer deadline;
  struct peer peers[MAX_PEERS];
  int npeers;
  bool stop_at_request;
  int port;
  struct call calls[MAX_CALLS];
  int ncalls, awaited; /* the loop stops when this many are done */
  int ndone;
  int order[MAX_CALLS]; /* indexes of calls as they were done */
};

/* ---- the server ---- */

/* Sends this many MiB of zero bytes, each in about 1 KiB of gzip. */
static void send_zeros(struct fixture *b, int fd, int mib)
{
  static uint8_t zeros[1 << 20], part[4096];
  char head[128];
  z_stream z = {.next_in = zeros, .avail_in = sizeof(zeros)};
  z.next_out = part;
  z.avail_out = sizeof(part);
  CHECK_INT(b->t, deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY),
            Z_OK);
  CHECK_INT(b->t, deflate(&z, Z_FINISH), Z_STREAM_END);
  size_t size = sizeof(part) - z.avail_out;
  deflateEnd(&z);
  int n = snprintf(head, sizeof(head),
                   "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
                   "Content-Length: %zu\r\n\r\n",
                   size * (size_t)mib);
  CHECK(b->t, send(fd, head, (size_t)n, MSG_NOSIGNAL) == n);
  for (int i = 0; i < mib; i++)
    CHECK(b->t, send(fd, part, size, MSG_NOSIGNAL) == (ssize_t)size);
}

static void on_request(struct loop_io *io, uint32_t events)
{
  static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok";
  struct peer *p = CONTAINER_OF(io, struct peer, io);
  char request[4096];
  (void)events;
  ssize_t n = recv(io->fd, request, sizeof(request), 0);
  if (n <= 0) {
    loop_io_remove(p->fixture->loop, io);
    close(io->fd);
    io->fd = -1;
    return;
  }
  if (p->fixture->stop_at_request) loop_stop(p->fixture->loop);
  if (!memcmp(request, "GET /ok", 7))
    CHECK(p->fixture->t, send(io->fd, ok, strlen(ok), MSG_NOSIGNAL) > 0);
  if (!memcmp(request, "GET /64", 7)) send_zeros(p->fixture, io->fd, 64);
  if (!memcmp(request, "GET /256", 8)) send_zeros(p->fixture, io->fd, 256);
  if (!memcmp(request, "GET /half", 9))
    CHECK(p->fixture->t, send(io->fd, half, strlen(half), MSG_NOSIGNAL) > 0);
}

static void on_connection(struct loop_io *io, uint32_t events)
{
  struct fixture *b = CONTAINER_OF(io, struct fixture, listener);
  struct err e;
  (void)events;
  struct peer *p = &b->peers[b->npeers];
  p->io.fd = accept(io->fd, NULL, NULL);
  if (!CHECK(b->t, p->io.fd >= 0 && b->npeers < MAX_PEERS - 1)) return;
  b->npeers++;
  p->fixture = b;
  p->io.on_ready = on_request;
  CHECK_INT(b->t, loop_io_add(b->loop, &p->io, EPOLLIN, &e), 0);
}

/* ---- the fixture ---- */

static void on_deadline(struct loop_timer *timer)
{
  struct fixture *b = CONTAINER_OF(timer, struct fixture, deadline);
  CHECK_STR(b->t, "still waiting", "done");
  loop_stop(b->loop);
}

static void fixture_open(struct fixture *b, struct test_run *t,
                         const struct http_limits *limits)
{
  struct err e;
  struct sockaddr_in at = {.sin_family = AF_INET};
  socklen_t size = sizeof(at);
  memset(b, 0, sizeof(*b));
  b->t = t;
  CHECK_INT(t, http_global_init(&e), 0);
  b->loop = loop_new(&e);
  b->http = http_new(b->loop, limits, &e);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  b->listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  b->listener.on_ready = on_connection;
  bool ok = bind(b->listener.fd, (struct sockaddr *)&at, size) == 0 &&
            listen(b->listener.fd, 64) == 0 &&
            getsockname(b->listener.fd, (struct sockaddr *)&at, &size) == 0 &&
            loop_io_add(b->loop, &b->listener, EPOLLIN, &e) == 0;
  CHECK(t, ok && b->http);
  b->port = ntohs(at.sin_port);
  b->deadline.on_expire = on_deadline;
}

static void fixture_close(struct fixture *b)
{
  http_free(b->http);
  for (int i = 0; i < b->npeers; i++) {
    if (b->peers[i].io.fd < 0) continue;
    loop_io_remove(b->loop, &b->peers[i].io);
    close(b->peers[i].io.fd);
  }
  loop_io_remove(b->loop, &b->listener);
  close(b->listener.fd);
  for (int i = 0; i < b->ncalls; i++) buf_free(&b->calls[i].body);
  loop_free(b->loop);
}

static void on_done(void *arg, const struct http_response *r,
                    const struct err *e)
{
  struct call *c = arg;
  struct fixture *b = c->fixture;
  c->http_call = NULL;
  c->done++;
  c->status = r->status;
  if (r->body) buf_swap(&c->body, r->body);
  if (e) c->e = *e;
  if (c->cancels) {
    http_cancel(c->cancels->http_call);
    c->cancels->http_call = NULL;
  }
  b->order[b->ndone++] = (int)(c - b->calls);
  if (b->ndone >= b->awaited) loop_stop(b->loop);
}

static struct call *start(struct fixture *b, struct http_request *q)
{
  struct err e;
  struct call *c = &b->calls[b->ncalls++];
  c->fixture = b;
  c->http_call = http_start(b->http, q, on_done, c, &e);
  CHECK(b->t, c->http_call);
  CHECK_INT(b->t, c->done, 0);
  return c;
}

/* `host` NULL: the fixture's own server */
static struct call *get(struct fixture *b, const char *host, const char *path)
{
  char own[64], url[256];
  snprintf(own, sizeof(own), "127.0.0.1:%d", b->port);
  snprintf(url, sizeof(url), "http://%s%s", host ? host : own, path);
  struct http_request q = {.url = url, .url_len = strlen(url)};
  struct call *c = start(b, &q);
  memset(url, 'x', sizeof(url)); /* it was copied */
  return c;
}

/* Runs until this many calls are done. */
static void run(struct fixture *b, int done)
{
  struct err e;
  b->awaited = done;
  loop_timer_set(b->loop, &b->deadline, 60 * LOOP_S);
  CHECK_INT(b->t, loop_run(b->loop, &e), 0);
  loop_timer_clear(b->loop, &b->deadline);
}

/* ---- tests ---- */

static const struct http_limits loopback = {.allow_hosts = "loopback"};

static void test_loopback(struct test_run *t)
{
  static const char *const hosts[] = {
      "127.0.0.1", "127.9.9.9",          "localhost", "[::1]",
      "0x7f.1",    "[::ffff:127.0.0.1]", "2130706433"};
  struct fixture b;
  enum { N = sizeof(hosts) / sizeof(hosts[0]) };
  fixture_open(&b, t, NULL);
  for (int i = 0; i < N; i++) {
    char host[64];
    snprintf(host, sizeof(host), "%s:%d", hosts[i], b.port);
    get(&b, host, "/ok");
  }
  run(&b, N);
  for (int i = 0; i < N; i++) {
    CHECK_STR(t, b.calls[i].e.kind, "refused");
    CHECK(t, strstr(b.calls[i].e.text, "(loopback)"));
  }
  CHECK_INT(t, b.npeers, 0);
  fixture_close(&b);
}

static void test_responses(struct test_run *t)
{
  struct fixture b;
  fixture_open(&b, t, &loopback);
  for (int i = 0; i < 3; i++) {
    struct call *c = get(&b, NULL, "/ok");
    CHECK_INT(t, http_live(b.http), 1);
    run(&b, i + 1);
    CHECK_INT(t, c->status, 200);
    CHECK_BYTES(t, c->body.data, c->body.len, "ok", 2);
    CHECK_INT(t, http_live(b.http), 0);
  }
  CHECK_INT(t, b.npeers, 1); /* one connection, kept alive */
  fixture_close(&b);
}

/* The server closes a connection that is not in use. */
static void test_idle_close(struct test_run *t)
{
  struct fixture b;
  fixture_open(&b, t, &loopback);
  get(&b, NULL, "/ok");
  run(&b, 1);
  loop_io_remove(b.loop, &b.peers[0].io);
  close(b.peers[0].io.fd);
  b.peers[0].io.fd = -1;
  get(&b, NULL, "/ok");
  run(&b, 2);
  CHECK_INT(t, b.calls[1].status, 200);
  CHECK_INT(t, b.npeers, 2);
  fixture_close(&b);
}

static void test_cancel(struct test_run *t)
{
  struct http_limits limits = {.allow_hosts = "loopback", .per_origin = 2};
  struct fixture b;
  fixture_open(&b, t, &limits);
  struct call *silent = get(&b, NULL, "/silent");
  struct call *ok = get(&b, NULL, "/ok");
  struct call *waiting = get(&b, NULL, "/ok");
  struct call *last = get(&b, NULL, "/ok");
  http_cancel(waiting->http_call); /* before anything ran */
  ok->cancels = silent;            /* while it runs */
  run(&b, 2);
  CHECK_INT(t, last->status, 200);
  CHECK_INT(t, ok->status, 200);
  CHECK_INT(t, silent->done + waiting->done, 0);
  CHECK_INT(t, http_live(b.http), 0);
  fixture_close(&b);
}

/* Both are finished when the first callback runs. */
static void test_cancel_finished(struct test_run *t)
{
  struct fixture b;
  fixture_open(&b, t, NULL);
  struct call *one = get(&b, "127.0.0.1:1", "/");
  struct call *two = get(&b, "127.0.0.1:1", "/");
  one->cancels = two;
  two->cancels = one;
  run(&b, 1);
  CHECK_INT(t, one->done + two->done, 1);
  CHECK_INT(t, http_live(b.http), 0);
  fixture_close(&b);
}

static void test_free_alive(struct test_run *t)
{
  struct http_limits limits = {.allow_hosts = "loopback", .per_origin = 3};
  struct fixture b;
  fixture_open(&b, t, &limits);
  get(&b, NULL, "/silent");
  get(&b, NULL, "/half");
  get(&b, "nowhere.invalid", "/"); /* being resolved, or failed by then */
  get(&b, NULL, "/ok");
  for (int i = 0; i < 5; i++) get(&b, NULL, "/silent");
  run(&b, 1);
  CHECK(t, http_live(b.http) >= 7);
  fixture_close(&b);
  CHECK(t, b.ndone <= 2);
}

static struct call *digest_zeros(struct fixture *b, const char *path,
                                 uint64_t max_bytes)
{
  char url[64];
  snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", b->port, path);
  struct http_request q = {.url = url,
                           .url_len = strlen(url),
                           .keep = HTTP_BODY_SHA256,
                           .compressed = true,
                           .max_bytes = max_bytes};
  return start(b, &q);
}

/* A body that is far larger decoded is paused, and may then end, fail and be
 * cancelled. */
static void test_zeros(struct test_run *t)
{
  struct fixture b;
  fixture_open(&b, t, &loopback);
  struct call *whole = digest_zeros(&b, "/64", 64 << 20);
  struct call *cancelled = digest_zeros(&b, "/256", 0);
  struct call *large = digest_zeros(&b, "/64", 40 << 20);
  whole->cancels = cancelled;
  run(&b, 2);
  CHECK_INT(t, whole->status, 200);
  CHECK_STR(t, whole->e.kind, "");
  CHECK_STR(t, large->e.kind, "too_large");
  CHECK_INT(t, cancelled->done, 0);
  CHECK_INT(t, http_live(b.http), 0);
  get(&b, NULL, "/ok");
  run(&b, 3);
  CHECK_INT(t, b.calls[3].status, 200);
  digest_zeros(&b, "/256", 0); /* fixture_close cancels it */
  get(&b, NULL, "/ok");
  run(&b, 4);
  fixture_close(&b);
}

static void test_stall(struct test_run *t)
{
  struct http_limits limits = {.allow_hosts = "loopback", .stall_ms = 200};
  struct fixture b;
  fixture_open(&b, t, &limits);
  struct call *silent = get(&b, NULL, "/silent"); /* has only its timeout */
  struct call *half = get(&b, NULL, "/half");
  run(&b, 1);
  CHECK_STR(t, half->e.kind, "timeout");
  CHECK(t, strstr(half->e.text, "stalled"));
  CHECK(t, strstr(half->e.text, "after 2 bytes"));
  CHECK_INT(t, silent->done, 0);
  fixture_close(&b);
}

/* One transfer at a time: two origins take turns, whatever their queues. */
static void test_turns(struct test_run *t)
{
  static const int turns[] = {0, 4, 1, 5, 2, 3};
  struct http_limits limits = {.allow_hosts = "loopback", .in_flight = 1};
  struct fixture b;
  char other[64];
  fixture_open(&b, t, &limits);
  snprintf(other, sizeof(other), "127.0.0.2:%d",
           b.port); /* nothing listens there */
  for (int i = 0; i < 4; i++) get(&b, NULL, "/ok");
  for (int i = 0; i < 2; i++) get(&b, other, "/ok");
  run(&b, 6);
  CHECK_BYTES(t, b.order, sizeof(turns), turns, sizeof(turns));
  CHECK_STR(t, b.calls[4].e.kind, "connect");
  fixture_close(&b);
}

static void on_task_done(struct task *task, enum task_outcome outcome,
                         lua_State *L, int nresults, void *arg)
{
  (void)task, (void)L, (void)nresults;
  *(enum task_outcome *)arg = outcome;
}

struct lua_call {
  const struct fixture *fixture;
  struct task *task;
  enum task_outcome outcome;
};

/* The request borrows strings that only the task has. */
LJMP static int l_start(lua_State *L)
{
  struct lua_call *c = lua_touserdata(L, 1);
  luaL_Buffer body;
  luaopen_host_http(L);
  lua_getfield(L, -1, "request");
  lua_pushfstring(L, "http://127.0.0.1:%d/silent", c->fixture->port);
  lua_pushliteral(L, "buffer");
  lua_newtable(L);
  lua_pushliteral(L, "POST");
  lua_setfield(L, -2, "method");
  memset(luaL_buffinitsize(L, &body, BODY), 'x', BODY);
  luaL_pushresultsize(&body, BODY);
  lua_setfield(L, -2, "body");
  c->task = task_new(L, on_task_done, &c->outcome);
  lua_xmove(L, c->task->co, 4);
  task_start(c->task, 3);
  return 0;
}

/* The task is freed, by itself or with its state, while it waits for a
 * response. */
static void test_task_freed(struct test_run *t)
{
  for (int with_state = 0; with_state < 2; with_state++) {
    struct fixture b;
    struct err e;
    fixture_open(&b, t, &loopback);
    struct vm_host host = {.loop = b.loop, .http = b.http};
    struct vm_options options = {.host = &host, .modules = worker_modules};
    struct vm *vm = runtime_new(&options, &e);
    struct lua_call c = {.fixture = &b, .outcome = TASK_DONE};
    CHECK_INT(t, vm_pcall(vm, l_start, &c, &e), 0);
    b.stop_at_request = true;
    run(&b, 1);
    CHECK_INT(t, http_live(b.http), 1);
    if (!with_state) {
      task_cancel(c.task);
      CHECK_INT(t, http_live(b.http), 0);
    }
    runtime_free(vm);
    CHECK_INT(t, http_live(b.http), 0);
    CHECK_INT(t, c.outcome, TASK_CANCELLED);
    fixture_close(&b);
  }
}

/* A connection that only a privileged request may make is not reused. */
static void test_privileged_connections(struct test_run *t)
{
  struct fixture b;
  char url[64];
  unsetenv("http_proxy"); /* this machine's */
  fixture_open(&b, t, NULL);
  snprintf(url, sizeof(url), "http://127.0.0.1:%d/ok", b.port);
  struct http_request q = {.url = url, .url_len = strlen(url)};
  struct http_request privileged[] = {q, q};
  privileged[0].metadata = true;
  privileged[1].env_proxy = true;
  for (int i = 0; i < 2; i++) {
    struct call *asked = start(&b, &privileged[i]);
    run(&b, 2 * i + 1);
    CHECK_INT(t, asked->status, 200);
    struct call *plain = start(&b, &q);
    run(&b, 2 * i + 2);
    CHECK_STR(t, plain->e.kind, "refused");
  }
  CHECK_INT(t, b.npeers, 2);
  fixture_close(&b);
}

/* Gives host.http each option that only trusted states have. */
LJMP static int l_ask_trust(lua_State *L)
{
  static const char chunk[] =
      "local request = ...\n"
      "for name, value in pairs({ sign = {}, metadata = true,\n"
      "    proxy = 'environment' }) do\n"
      "  local ok, why = pcall(request, 'http://127.0.0.1/', 'buffer',\n"
      "    { [name] = value })\n"
      "  local unknown = \"unknown option '\" .. name .. \"'\"\n"
      "  assert(not ok and why:find(unknown, 1, true), why)\n"
      "end\n";
  if (luaL_loadstring(L, chunk) != LUA_OK) return lua_error(L);
  luaopen_host_http(L);
  lua_getfield(L, -1, "request");
  lua_remove(L, -2);
  lua_call(L, 1, 0);
  return 0;
}

static void test_trust(struct test_run *t)
{
  struct fixture b;
  struct err e = {{0}, {0}};
  fixture_open(&b, t, &loopback);
  struct vm_host host = {.loop = b.loop, .http = b.http};
  struct vm_options options = {.host = &host, .modules = worker_modules};
  struct vm *vm = runtime_new(&options, &e);
  CHECK_INT(t, vm_pcall(vm, l_ask_trust, NULL, &e), 0);
  CHECK_STR(t, e.text, "");
  runtime_free(vm);
  fixture_close(&b);
}

const struct test http_tests[] = {
    {"http: loopback is refused unless allowed", test_loopback},
    {"http: responses over one connection", test_responses},
    {"http: a connection closed while idle", test_idle_close},
    {"http: cancel waiting and running calls", test_cancel},
    {"http: cancel a finished call", test_cancel_finished},
    {"http: free with calls alive", test_free_alive},
    {"http: a body that is far larger decoded", test_zeros},
    {"http: a stalled response", test_stall},
    {"http: origins take turns", test_turns},
    {"http: the waiting task is freed", test_task_freed},
    {"http: connections of privileged requests", test_privileged_connections},
    {"http: a job's state is not trusted", test_trust},
    {NULL, NULL},
};
