/* SPDX-License-Identifier: MIT */
#include "net/http.h"

#include "base/container.h"
#include "base/log.h"
#include "net/http_transfer.h"
#include "net/http_url.h"

#include <locale.h>
#include <search.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <sys/queue.h>

enum {
  DEFAULT_PER_ORIGIN = 64,
  DEFAULT_IN_FLIGHT = 512,
  DEFAULT_STALL_MS = 30000,
  MAX_OPEN_FILES = 1 << 20, /* larger limits count as this */
};

/* A scheme://host:port that has calls, as written: "host" and "host:80" count
 * apart. Calls are queued per origin, and origins that may start one take
 * turns: a slow one delays only its own calls.
 *
 * curl's own CURLMOPT_MAX_HOST_CONNECTIONS cannot replace this: the time limits
 * of a transfer that is queued in curl run already, no callback tells when it
 * starts, each needs about 10 KiB, and one queue serves all origins. */
struct origin {
  TAILQ_ENTRY(origin) entry; /* of http.ready */
  TAILQ_HEAD(waiting, http_call) waiting;
  size_t active, calls;
  bool is_ready; /* is in http.ready */
  char name[];   /* of the first call, any case */
};

struct http_call {
  LIST_ENTRY(http_call) all;
  TAILQ_ENTRY(http_call) place; /* in origin.waiting, until it runs */
  struct http *http;
  struct origin *origin;
  struct http_transfer *transfer; /* once it runs */
  struct http_request request;
  char *url; /* of the request */
  http_done *done;
  void *arg;
};

struct http {
  struct loop *loop;
  struct http_limits limits;
  struct http_transfer_env env;
  locale_t utf8;           /* or 0: there is none */
  struct http_files files; /* limits */
  LIST_HEAD(calls, http_call) calls;
  size_t active;
  TAILQ_HEAD(ready, origin) ready; /* those that may start a call */
  void *origins;                   /* tsearch */
  struct loop_timer pump;          /* runs on_pump from a fresh stack */
  struct loop_timer curl_timer;    /* curl's own timeouts */
  bool timeout_is_due;             /* one of them is; on_pump handles it */
  struct loop_timer stall_timer;   /* checks for stalled responses */
};

/* ---- origins ---- */

static int compare_origins(const void *one, const void *other)
{
  const struct origin *a = one, *b = other;
  return strcasecmp(a->name, b->name);
}

/* Finds or makes the origin, counting a call; NULL when memory is out. */
static struct origin *origin_join(struct http *h, const char *name, size_t len,
                                  struct err *e)
{
  struct origin *made = err_calloc(sizeof(*made) + len + 1, "an HTTP call", e);
  if (!made) return NULL;
  memcpy(made->name, name, len);
  TAILQ_INIT(&made->waiting);
  struct origin **at = tsearch(made, &h->origins, compare_origins);
  struct origin *o = at ? *at : NULL;
  if (o != made) free(made);
  if (o)
    o->calls++;
  else
    err_set(e, "memory", "out of memory for an HTTP call");
  return o;
}

/* Puts the origin at the end of the ready ones, or takes it out. */
static void update_ready(struct http *h, struct origin *o)
{
  bool wants = !TAILQ_EMPTY(&o->waiting) && o->active < h->limits.per_origin;
  if (wants == o->is_ready) return;
  o->is_ready = wants;
  if (wants)
    TAILQ_INSERT_TAIL(&h->ready, o, entry);
  else
    TAILQ_REMOVE(&h->ready, o, entry);
}

static void origin_leave(struct http *h, struct origin *o)
{
  update_ready(h, o);
  if (--o->calls) return;
  tdelete(o, &h->origins, compare_origins);
  free(o);
}

/* ---- calls ---- */

static void pump_soon(struct http *h)
{
  if (!h->pump.slot) loop_timer_set(h->loop, &h->pump, 0);
}

static void set_stall_timer(struct http *h)
{
  if (!h->stall_timer.slot)
    loop_timer_set(h->loop, &h->stall_timer, h->limits.stall_ms * LOOP_MS / 4);
}

/* Takes the call out of everything but its own memory. */
static void call_detach(struct http_call *c)
{
  struct http *h = c->http;
  if (c->transfer) {
    c->origin->active--;
    h->active--;
    pump_soon(h); /* there is room for another */
  } else {
    TAILQ_REMOVE(&c->origin->waiting, c, place);
  }
  LIST_REMOVE(c, all);
  origin_leave(h, c->origin);
}

static void call_free(struct http_call *c)
{
  http_transfer_free(c->transfer);
  free(c->url);
  free(c);
}

/* Calls back and frees the call. */
static void call_end(struct http_call *c, const struct http_response *r,
                     const struct err *e)
{
  call_detach(c);
  c->done(c->arg, r, e);
  call_free(c);
}

static void call_fail(struct http_call *c, const struct err *e)
{
  call_end(c, &(struct http_response){0}, e);
}

/* The transfer has ended. */
static void on_end(void *call, CURLcode code)
{
  struct http_call *c = call;
  struct http_response r;
  struct err e;
  bool ok = http_transfer_outcome(c->transfer, code, &r, &e) == 0;
  call_end(c, &r, ok ? NULL : &e);
}

static bool may_start(const struct http *h)
{
  return h->active < h->limits.in_flight &&
         h->env.starting < h->files.lookups && !TAILQ_EMPTY(&h->ready);
}

static void start_waiting(struct http *h)
{
  struct err e;
  while (may_start(h)) {
    struct origin *o = TAILQ_FIRST(&h->ready);
    struct http_call *c = TAILQ_FIRST(&o->waiting);
    struct http_transfer *t = http_transfer_new(&h->env, &c->request, c, &e);
    if (!t) {
      call_fail(c, &e);
      continue;
    }
    TAILQ_REMOVE(&o->waiting, c, place);
    c->transfer = t;
    o->active++;
    h->active++;
    TAILQ_REMOVE(&h->ready, o, entry);
    o->is_ready = false;
    update_ready(h, o);
    set_stall_timer(h);
  }
}

/* ---- curl and the loop ---- */

static void end_finished(struct http *h)
{
  int left;
  for (CURLMsg *m; (m = curl_multi_info_read(h->env.multi, &left));) {
    char *call = NULL;
    curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &call);
    on_end(call, m->data.result);
  }
}

/* A running call for which `test` holds, or any. */
static struct http_call *find_running(struct http *h,
                                      bool (*test)(struct http_call *))
{
  struct http_call *c = LIST_FIRST(&h->calls);
  while (c && !(c->transfer && (!test || test(c)))) c = LIST_NEXT(c, all);
  return c;
}

/* Lets curl handle a descriptor, or its timeouts. */
static void perform(void *http, curl_socket_t fd, int mask)
{
  struct http *h = http;
  int running = 0;
  /* a redirect may lead to a name beyond ASCII, which libidn2 reads, for curl,
   * in the charset of the locale */
  locale_t before = h->utf8 ? uselocale(h->utf8) : (locale_t)0;
  CURLMcode rc = curl_multi_socket_action(h->env.multi, fd, mask, &running);
  if (h->utf8) uselocale(before);
  if (rc != CURLM_OK) {
    /* memory is out, or on_watch failed: the state of each call is uncertain */
    struct err e;
    log_error("http client failed", LOG_STR("why", curl_multi_strerror(rc)));
    err_set(&e, "memory", "the HTTP client failed: %s",
            curl_multi_strerror(rc));
    for (struct http_call *c; (c = find_running(h, NULL));) call_fail(c, &e);
  }
  bool paused = !TAILQ_EMPTY(&h->env.paused);
  if ((size_t)running < h->active || paused || may_start(h)) pump_soon(h);
}

static void on_pump(struct loop_timer *timer)
{
  struct http *h = CONTAINER_OF(timer, struct http, pump);
  end_finished(h);
  if (http_transfer_resume(&h->env, on_end)) pump_soon(h);
  start_waiting(h);
  if (h->timeout_is_due) {
    h->timeout_is_due = false;
    perform(h, CURL_SOCKET_TIMEOUT, 0);
  }
}

static void on_curl_timer(struct loop_timer *timer)
{
  perform(CONTAINER_OF(timer, struct http, curl_timer), CURL_SOCKET_TIMEOUT, 0);
}

static bool is_stalled(struct http_call *c)
{
  return http_transfer_is_stalled(c->transfer, c->http->limits.stall_ms);
}

static void on_stall_timer(struct loop_timer *timer)
{
  struct http *h = CONTAINER_OF(timer, struct http, stall_timer);
  for (struct http_call *c; (c = find_running(h, is_stalled));)
    on_end(c, CURLE_OPERATION_TIMEDOUT);
  if (h->active) set_stall_timer(h);
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
  struct http *h = arg;
  (void)multi;
  loop_timer_clear(h->loop, &h->curl_timer);
  /* handled later: curl is on the stack */
  h->timeout_is_due = ms == 0;
  if (ms == 0)
    pump_soon(h);
  else if (ms > 0)
    return loop_timer_set(h->loop, &h->curl_timer, (uint64_t)ms * LOOP_MS);
  return 0;
}

static int on_watch(CURL *easy, curl_socket_t fd, int what, void *arg,
                    void *unused)
{
  struct http *h = arg;
  struct err e;
  (void)easy, (void)unused;
  if (http_sockets_watch(h->env.sockets, fd, what, &e) == 0) return 0;
  log_error("cannot watch a socket", LOG_STR("why", e.text));
  return -1;
}

/* ---- interface ---- */

int http_global_init(struct err *e)
{
  /* OpenSSL writes to sockets with write(2) */
  signal(SIGPIPE, SIG_IGN);
  if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) return 0;
  return err_set(e, "memory", "libcurl cannot be initialised");
}

#define MULTI_SET(multi, option, value)                                        \
  (curl_multi_setopt(multi, CURLMOPT_##option, value) != CURLM_OK)

static int set_up(struct http *h)
{
  CURLM *m = h->env.multi = curl_multi_init();
  CURLSH *share = h->env.share = curl_share_init();
  if (!m || !share) return -1;
  bool bad = curl_share_setopt(share, CURLSHOPT_SHARE,
                               CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK;
  bad |= MULTI_SET(m, SOCKETFUNCTION, on_watch);
  bad |= MULTI_SET(m, SOCKETDATA, h);
  bad |= MULTI_SET(m, TIMERFUNCTION, on_timer);
  bad |= MULTI_SET(m, TIMERDATA, h);
  /* never more transfers run: one that needs a connection always finds room,
   * or a kept one to close */
  bad |= MULTI_SET(m, MAX_TOTAL_CONNECTIONS, (long)h->files.connections);
  bad |= MULTI_SET(m, MAXCONNECTS, (long)h->limits.in_flight);
  return bad ? -1 : 0;
}

const char *http_library_version(void)
{
  return curl_version_info(CURLVERSION_NOW)->version;
}

struct http *http_new(struct loop *loop, const struct http_limits *limits,
                      struct err *e)
{
  struct http *h = err_calloc(sizeof(*h), "the HTTP client", e);
  if (!h) return NULL;
  h->loop = loop;
  if (limits) h->limits = *limits;
  if (!h->limits.per_origin) h->limits.per_origin = DEFAULT_PER_ORIGIN;
  if (!h->limits.in_flight) h->limits.in_flight = DEFAULT_IN_FLIGHT;
  long files = sysconf(_SC_OPEN_MAX);
  if (files < 0 || files > MAX_OPEN_FILES) files = MAX_OPEN_FILES;
  h->files = http_files_divide((size_t)files);
  if (h->limits.in_flight > h->files.connections)
    h->limits.in_flight = h->files.connections;
  h->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
  if (!h->limits.stall_ms) h->limits.stall_ms = DEFAULT_STALL_MS;
  LIST_INIT(&h->calls);
  TAILQ_INIT(&h->env.paused);
  TAILQ_INIT(&h->ready);
  h->pump.on_expire = on_pump;
  h->curl_timer.on_expire = on_curl_timer;
  h->stall_timer.on_expire = on_stall_timer;
  h->env.sockets = http_sockets_new(loop, perform, h, e);
  if (!h->env.sockets || set_up(h) < 0) {
    err_set(e, "memory", "out of memory for the HTTP client");
    goto fail;
  }
  if (http_filter_parse(h->limits.allow_hosts, &h->env.filter, e) < 0)
    goto fail;
  h->limits.allow_hosts = NULL; /* it was borrowed */
  return h;
fail:
  http_free(h);
  return NULL;
}

void http_free(struct http *h)
{
  if (!h) return;
  while (!LIST_EMPTY(&h->calls)) http_cancel(LIST_FIRST(&h->calls));
  curl_multi_cleanup(h->env.multi);
  curl_share_cleanup(h->env.share);
  http_sockets_free(h->env.sockets);
  if (h->utf8) freelocale(h->utf8);
  loop_timer_clear(h->loop, &h->pump);
  loop_timer_clear(h->loop, &h->curl_timer);
  loop_timer_clear(h->loop, &h->stall_timer);
  free(h);
}

struct http_call *http_start(struct http *h, const struct http_request *req,
                             http_done *done, void *arg, struct err *e)
{
  size_t origin;
  char *url = http_url_normalise(req->url, req->url_len, &origin, e);
  if (!url) return NULL;
  struct http_call *c = err_calloc(sizeof(*c), "an HTTP call", e);
  if (!c) goto fail;
  c->http = h;
  c->done = done;
  c->arg = arg;
  c->request = *req;
  c->request.url = c->url = url;
  http_request_set_defaults(&c->request);
  c->origin = origin_join(h, url, origin, e);
  if (!c->origin) goto fail;
  TAILQ_INSERT_TAIL(&c->origin->waiting, c, place);
  LIST_INSERT_HEAD(&h->calls, c, all);
  update_ready(h, c->origin);
  pump_soon(h);
  return c;
fail:
  free(c);
  free(url);
  return NULL;
}

void http_cancel(struct http_call *call)
{
  call_detach(call);
  call_free(call);
}

size_t http_live(const struct http *h)
{
  size_t n = 0;
  const struct http_call *c;
  LIST_FOREACH (c, &h->calls, all) n++;
  return n;
}
