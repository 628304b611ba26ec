/* SPDX-License-Identifier: MIT */
#include "net/http_transfer.h"

#include "net/http_answer.h"
#include "net/http_decode.h"
#include "net/http_filter.h"
#include "net/http_url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  TOO_LARGE = 100, /* CURLE_TOO_LARGE, of curl 8.6 and later */
  /* below 64 KiB: beyond, each free() would consolidate the heap */
  RECEIVE_BYTES = 48 * 1024,
  DECODE_SLICE_MS = 10, /* curl hands out 16 KiB at a time: some 20 ms more */
};

struct http_transfer {
  TAILQ_ENTRY(http_transfer) place; /* in env.paused */
  bool paused;
  CURL *easy;
  struct http_transfer_env *env;
  void *owner;
  const struct http_order *order;
  struct http_answer answer;
  struct http_url last; /* after redirects, where its host is not ASCII */
  uint64_t started;     /* loop_clock of begin */
  bool starting;        /* see http_transfer_env */
  uint64_t mark_bytes, mark_time; /* see http_transfer_stalled */
  struct http_transfer_options options;
  bool custom;      /* CURLOPT_CUSTOMREQUEST is set */
  char refused[96]; /* address and class that the guard refused, or "" */
  char text[CURL_ERROR_SIZE];
};

/* ---- callbacks: C only; they note what went wrong and end the transfer ----
 */

static size_t take(struct http_transfer *t, const char *data, size_t n)
{
  return http_answer_data(&t->answer, data, n) == 0 ? n : 0;
}

static size_t on_body(char *data, size_t one, size_t n, void *arg)
{
  struct http_transfer *t = arg;
  struct http_transfer_env *env = t->env;
  (void)one;
  if (!t->answer.decoder) return take(t, data, n);
  if (env->decoding > DECODE_SLICE_MS * LOOP_MS) {
    TAILQ_INSERT_TAIL(&env->paused, t, place);
    t->paused = true;
    return CURL_WRITEFUNC_PAUSE; /* the same data come again */
  }
  uint64_t began = loop_clock();
  size_t taken = take(t, data, n);
  env->decoding += loop_clock() - began;
  return taken;
}

static size_t on_header(char *data, size_t one, size_t n, void *arg)
{
  struct http_transfer *t = arg;
  (void)one;
  if (http_answer_line(&t->answer, data, n) < 0) return 0;
  /* 303 means GET, also where the method was set by name, which curl would
   * keep (and drop the body) */
  if (t->custom && t->answer.phase == HTTP_MOVED && t->answer.status == 303) {
    curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, NULL);
    t->custom = false;
  }
  return n;
}

static void leave_start(struct http_transfer *t)
{
  if (t->starting) t->env->starting--;
  t->starting = false;
}

/* A connection stands, a new one or one that was kept. */
static int on_connected(void *arg, char *remote, char *local, int remote_port,
                        int local_port)
{
  (void)remote, (void)local, (void)remote_port, (void)local_port;
  leave_start(arg);
  return CURL_PREREQFUNC_OK;
}

static void note_refused(struct http_transfer *t, const struct sockaddr *addr,
                         const char *class)
{
  char text[INET6_ADDRSTRLEN] = "?";
  if (addr->sa_family == AF_INET) {
    struct sockaddr_in in;
    memcpy(&in, addr, sizeof(in));
    inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
  } else if (addr->sa_family == AF_INET6) {
    struct sockaddr_in6 in;
    memcpy(&in, addr, sizeof(in));
    inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof(text));
  }
  snprintf(t->refused, sizeof(t->refused), "%s (%s)", text, class);
}

/* The door every connection passes, redirects and each of a name's addresses
 * included; a connection that is used again has passed it before. */
static curl_socket_t on_open(void *arg, curlsocktype purpose,
                             struct curl_sockaddr *to)
{
  struct http_transfer *t = arg;
  (void)purpose;
  const struct http_order *o = t->order;
  unsigned allow = t->env->allow_loopback || o->env_proxy || o->metadata
                       ? HTTP_GUARD_LOOPBACK
                       : 0;
  if (o->metadata) allow |= HTTP_GUARD_INSTANCE;
  const char *class = http_guard(&to->addr, allow);
  if (class) {
    note_refused(t, &to->addr, class);
    return CURL_SOCKET_BAD;
  }
  t->refused[0] = '\0';
  leave_start(t);
  int fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
  if (fd < 0 && (errno == EMFILE || errno == ENFILE))
    err_errno(&t->answer.failure, "connect", errno, "cannot make a socket");
  if (fd >= 0 && http_socks_open(t->env->socks, fd) < 0) {
    close(fd);
    fd = -1;
  }
  return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* Outlives the transfer that opened the connection: `arg` is of the client. */
static int on_close(void *arg, curl_socket_t fd)
{
  http_socks_close(arg, fd);
  return 0;
}

/* ---- easy handles ----
 * Each is used once, which costs less than a microsecond: nothing of a request,
 * its secrets, cookies and rules, can meet another, and libcurl before 8.1.0
 * keeps in it a pointer to a header that it has freed. */

/* What holds for every transfer. */
static int set_up(struct http_transfer *t)
{
  CURL *c = t->easy;
  int bad = 0;
  bad |= curl_easy_setopt(c, CURLOPT_PRIVATE, t) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->text) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) != CURLE_OK;
  if (!t->order->special)
    bad |= curl_easy_setopt(c, CURLOPT_SHARE, t->env->share) != CURLE_OK;
  /* a cancelled lookup must not block the loop until its thread is done */
  bad |= curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https") !=
         CURLE_OK;
  /* never by a proxy from the environment: the guard would see its address */
  bad |= curl_easy_setopt(c, CURLOPT_PROXY, "") != CURLE_OK;
  /* what a proxy says of a tunnel is no answer of the server */
  bad |= curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_USERAGENT, t->env->user_agent) != CURLE_OK;
  bad |=
      curl_easy_setopt(c, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_WRITEDATA, t) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_HEADERDATA, t) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_open) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, t) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_connected) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_PREREQDATA, t) != CURLE_OK;
  /* bodies are decoded by http_answer.c */
  bad |= curl_easy_setopt(c, CURLOPT_HTTP_CONTENT_DECODING, 0L) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_CLOSESOCKETFUNCTION, on_close) != CURLE_OK;
  bad |=
      curl_easy_setopt(c, CURLOPT_CLOSESOCKETDATA, t->env->socks) != CURLE_OK;
  return bad ? -1 : 0;
}

struct http_transfer *http_transfer_new(struct http_transfer_env *env,
                                        struct err *e)
{
  struct http_transfer *t = calloc(1, sizeof(*t));
  if (!t) goto fail;
  t->env = env;
  if (http_answer_init(&t->answer, e) < 0) goto fail;
  return t;
fail:
  http_transfer_free(t);
  err_set(e, "memory", "out of memory for an HTTP transfer");
  return NULL;
}

void http_transfer_free(struct http_transfer *t)
{
  if (!t) return;
  curl_easy_cleanup(t->easy);
  http_answer_free(&t->answer);
  http_url_free(&t->last);
  free(t);
}

CURL *http_transfer_easy(const struct http_transfer *t)
{
  return t->easy;
}

void *http_transfer_owner(CURL *easy)
{
  char *t = NULL;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &t);
  return ((struct http_transfer *)(void *)t)->owner;
}

/* What may be sent twice without more coming of it than once (RFC 9110, 9.2.2).
 */
static bool may_repeat(const struct http_order *o)
{
  static const char *const methods[] = {"GET",     "HEAD",  "PUT", "DELETE",
                                        "OPTIONS", "TRACE", NULL};
  if (!o->method[0]) return true;
  for (const char *const *m = methods; *m; m++)
    if (http_order_has_method(o, *m)) return true;
  return false;
}

static int set_method(struct http_transfer *t, const struct http_order *o)
{
  CURL *c = t->easy;
  int bad = 0;
  const char *custom = o->method[0] ? o->method : NULL;
  /* in this order: each of these options also sets the method */
  bad |= curl_easy_setopt(c, CURLOPT_NOBODY, 0L) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_POSTFIELDS, NULL) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_HTTPGET, 1L) != CURLE_OK;
  if (http_order_has_method(o, "HEAD")) {
    bad |= curl_easy_setopt(c, CURLOPT_NOBODY, 1L) != CURLE_OK;
    custom = NULL;
  } else if (http_order_sends_body(o)) {
    bad |= curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE,
                            (curl_off_t)o->body_len) != CURLE_OK;
    bad |= curl_easy_setopt(c, CURLOPT_POSTFIELDS, o->body ? o->body : "") !=
           CURLE_OK;
    if (!custom) custom = "GET";
    if (http_order_has_method(o, "POST")) custom = NULL;
  }
  bad |= curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, custom) != CURLE_OK;
  t->custom = custom != NULL;
  /* as browsers do: a redirected POST goes on as GET, a PUT as PUT */
  long keep = custom ? CURL_REDIR_POST_301 | CURL_REDIR_POST_302 : 0L;
  bad |= curl_easy_setopt(c, CURLOPT_POSTREDIR, keep) != CURLE_OK;
  return bad ? -1 : 0;
}

static int set_options(struct http_transfer *t, const struct http_order *o)
{
  CURL *c = t->easy;
  const struct http_transfer_options *p = &o->options;
  int bad = set_method(t, o) < 0;
  /* curl sends a request again, and does not say so, when the connection that
   * it reused dies before a word of the answer */
  bad |= curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, may_repeat(o) ? 0L : 1L) !=
         CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_HTTPHEADER, o->headers) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, p->timeout_ms) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS,
                          p->connect_timeout_ms) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION,
                          p->max_redirects ? 1L : 0L) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_MAXREDIRS, p->max_redirects) != CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, p->insecure ? 0L : 1L) !=
         CURLE_OK;
  bad |= curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, p->insecure ? 0L : 2L) !=
         CURLE_OK;
  bad |=
      curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING,
                       p->compressed ? HTTP_DECODE_ACCEPTED : NULL) != CURLE_OK;
  t->options = *p;
  return bad ? -1 : 0;
}

static int set_special(struct http_transfer *t, const struct http_order *o,
                       struct err *e)
{
  CURL *c = t->easy;
  int bad = 0;
  if (o->env_proxy) bad |= curl_easy_setopt(c, CURLOPT_PROXY, NULL) != CURLE_OK;
  if (o->metadata || !t->env->allow_loopback) {
    /* a later request would not be asked where the connection leads */
    bad |= curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L) != CURLE_OK;
    bad |= curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L) != CURLE_OK;
  }
  if (o->sign) {
    if (curl_easy_setopt(c, CURLOPT_AWS_SIGV4, o->sign) != CURLE_OK)
      return err_set(e, "system",
                     "this libcurl cannot sign requests for AWS: it needs "
                     "7.75 or later, built with SigV4");
    bad |= curl_easy_setopt(c, CURLOPT_USERNAME, o->key) != CURLE_OK;
    bad |= curl_easy_setopt(c, CURLOPT_PASSWORD, o->secret) != CURLE_OK;
  }
  return bad ? err_set(e, "memory", "out of memory for an HTTP transfer") : 0;
}

int http_transfer_begin(struct http_transfer *t, const struct http_order *o,
                        const char *url, void *owner, struct err *e)
{
  t->owner = owner;
  t->order = o;
  t->mark_bytes = 0;
  t->refused[0] = t->text[0] = '\0';
  if (http_answer_begin(&t->answer, o, e) < 0) return -1;
  t->easy = curl_easy_init();
  if (!t->easy || set_up(t) < 0 || set_options(t, o) < 0) goto fail;
  if (o->special && set_special(t, o, e) < 0) return -1;
  if (o->cookies && /* the handle has the jar */
      curl_easy_setopt(t->easy, CURLOPT_COOKIEFILE, "") != CURLE_OK)
    goto fail;
  if (curl_easy_setopt(t->easy, CURLOPT_URL, url) != CURLE_OK) goto fail;
  t->started = t->mark_time = loop_clock();
  t->starting = true;
  t->env->starting++;
  return 0;
fail:
  return err_set(e, "memory", "out of memory for an HTTP transfer");
}

static void leave_paused(struct http_transfer *t)
{
  if (t->paused) TAILQ_REMOVE(&t->env->paused, t, place);
  t->paused = false;
}

bool http_transfer_resume(struct http_transfer_env *env,
                          void (*ended)(void *owner, CURLcode code))
{
  struct http_transfer *t;
  env->decoding = 0;
  while ((t = TAILQ_FIRST(&env->paused))) {
    if (env->decoding > DECODE_SLICE_MS * LOOP_MS) return true;
    leave_paused(t);
    CURLcode code = curl_easy_pause(t->easy, CURLPAUSE_CONT);
    if (code != CURLE_OK) ended(t->owner, code);
  }
  return false;
}

void http_transfer_rest(struct http_transfer *t)
{
  curl_easy_cleanup(t->easy);
  t->easy = NULL;
  leave_paused(t);
  leave_start(t);
  http_answer_rest(&t->answer);
  http_url_free(&t->last);
}

/* ---- outcome ---- */

/* The status by which a proxy refused a tunnel, or 0. */
static long proxy_status(const struct http_transfer *t)
{
  long status = 0;
  curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &status);
  return status >= 300 ? status : 0;
}

static const char *kind_of(const struct http_transfer *t, CURLcode code)
{
  switch (code) {
  case CURLE_URL_MALFORMAT: return "url";
  case CURLE_COULDNT_RESOLVE_HOST: return "dns";
  case CURLE_COULDNT_CONNECT: return t->refused[0] ? "refused" : "connect";
  case CURLE_SEND_ERROR:
  case CURLE_RECV_ERROR:
  case CURLE_GOT_NOTHING: return "connect";
  case CURLE_PARTIAL_FILE: return "truncated";
  case CURLE_OPERATION_TIMEDOUT: return "timeout";
  case CURLE_TOO_MANY_REDIRECTS: return "redirect";
  case CURLE_OUT_OF_MEMORY: return "memory";
  case CURLE_SSL_CONNECT_ERROR:
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CIPHER:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_ISSUER_ERROR:
  case CURLE_SSL_INVALIDCERTSTATUS:
  case CURLE_USE_SSL_FAILED: return "tls";
  case CURLE_WRITE_ERROR: /* not by a callback, which leaves a reason */
  case CURLE_BAD_CONTENT_ENCODING: return "decode";
  default: return "protocol";
  }
}

static bool is_web(const char *url)
{
  return !strncasecmp(url, "http://", 7) || !strncasecmp(url, "https://", 8);
}

/* Has anything come of the last answer? */
static bool has_begun(const struct http_transfer *t)
{
  return t->answer.phase == HTTP_HEAD || t->answer.phase == HTTP_ANSWERED;
}

/* "N s" of a time limit in milliseconds */
#define SECONDS(ms) ((double)(ms) / 1e3)

static int timed_out(const struct http_transfer *t, const char *url,
                     struct err *e)
{
  const struct http_transfer_options *p = &t->options;
  curl_off_t connected = 0;
  curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
  if (!connected && !has_begun(t) && p->connect_timeout_ms < p->timeout_ms)
    return err_set(e, "timeout", "%s: no connection within %g s", url,
                   SECONDS(p->connect_timeout_ms));
  return err_set(e, "timeout", "%s: not done within %g s, %llu bytes received",
                 url, SECONDS(p->timeout_ms),
                 (unsigned long long)t->answer.bytes);
}

static int ended_early(const struct http_transfer *t, const char *url,
                       const char *detail, struct err *e)
{
  if (t->answer.phase == HTTP_HEAD)
    return err_set(e, "truncated", "%s: the answer ended within its headers",
                   url);
  return err_set(e, "truncated",
                 "%s: the body ended early, after %llu bytes: %s", url,
                 (unsigned long long)t->answer.bytes, detail);
}

static bool is_early_end(CURLcode code)
{
  return code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR ||
         code == CURLE_GOT_NOTHING || code == CURLE_PARTIAL_FILE;
}

/* Is it that curl has no room for a header? Up to 8.5 it says that memory is
 * out. */
static bool is_long_header(const struct http_transfer *t, CURLcode code)
{
  curl_off_t answered = 0;
  if ((int)code == TOO_LARGE) return true;
  curl_easy_getinfo(t->easy, CURLINFO_STARTTRANSFER_TIME_T, &answered);
  return code == CURLE_OUT_OF_MEMORY && answered &&
         t->answer.phase != HTTP_ANSWERED;
}

static int describe(const struct http_transfer *t, CURLcode code,
                    const char *url, struct err *e)
{
  const char *kind = kind_of(t, code);
  const char *detail = t->text[0] ? t->text : curl_easy_strerror(code);
  long errnum = 0, by_proxy = proxy_status(t);
  curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &errnum);
  if (by_proxy) /* 5xx may pass */
    return err_set(e, by_proxy < 500 ? "refused" : "connect",
                   "%s: the proxy does not let it through: %s", url, detail);
  if (is_early_end(code) && has_begun(t)) return ended_early(t, url, detail, e);
  if (is_long_header(t, code))
    return err_set(e, "too_large", "%s: a header is larger than 100 KiB", url);
  switch (code) {
  case CURLE_OPERATION_TIMEDOUT: return timed_out(t, url, e);
  case CURLE_TOO_MANY_REDIRECTS:
    return err_set(e, kind, "%s: more than %ld redirects", url,
                   t->options.max_redirects);
  case CURLE_COULDNT_CONNECT:
    if (t->refused[0])
      return err_set(e, kind, "%s: jobs may not reach %s", url, t->refused);
    if (errnum)
      return err_errno(e, kind, (int)errnum, "%s: cannot connect", url);
    break;
  case CURLE_GOT_NOTHING:
    return err_set(e, kind, "%s: the connection was closed before an answer",
                   url);
  case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 */
  case CURLE_WEIRD_SERVER_REPLY:
    return err_set(e, kind, "%s: the answer is not HTTP: %s", url, detail);
  case CURLE_WRITE_ERROR:
  case CURLE_BAD_CONTENT_ENCODING:
    return err_set(e, kind,
                   "%s: the transfer coding of the answer cannot be decoded",
                   url);
  default: break;
  }
  return err_set(e, kind, "%s: %s", url, detail);
}

static int explain(struct http_transfer *t, CURLcode code, struct err *e)
{
  char *last = NULL, shown[120];
  for (char *c = t->text; *c; c++) /* it may have words of the server */
    if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
  curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &last);
  const char *url = shown;
  if (!last) last = "";
  http_url_show(last, strlen(last), shown, sizeof(shown));
  if (t->answer.failure.kind[0])
    return err_set(e, t->answer.failure.kind, "%s: %s", url,
                   t->answer.failure.text);
  if (code == CURLE_UNSUPPORTED_PROTOCOL && !is_web(url))
    return err_set(e, "redirect",
                   "%s: a redirect led here; only http and https are followed",
                   url);
  if (code == CURLE_URL_MALFORMAT && http_url_is_international(last))
    return err_set(e, "url",
                   "%s: a redirect led here; the host name is not valid", url);
  return describe(t, code, url, e);
}

/* curl tells the host of a redirect as the server wrote it. */
static int last_url(struct http_transfer *t, struct http_response *r,
                    struct err *e)
{
  char *url = NULL;
  curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
  r->url = url;
  if (!http_url_is_international(url)) return 0;
  if (http_url_read(&t->last, url, strlen(url), e) < 0) return -1;
  r->url = t->last.ascii;
  return 0;
}

int http_transfer_outcome(struct http_transfer *t, CURLcode code,
                          struct http_response *r, struct err *e)
{
  struct http_answer *a = &t->answer;
  memset(r, 0, sizeof(*r));
  if (has_begun(t)) r->status = a->status;
  if (code != CURLE_OK || http_answer_end(a) < 0) return explain(t, code, e);
  curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &r->status);
  if (last_url(t, r, e) < 0) return -1;
  r->bytes = a->bytes;
  r->elapsed = (double)(loop_clock() - t->started) / 1e9;
  if (t->order->keep == HTTP_BODY_SHA256) {
    if (digest_final(a->digest, r->sha256) == 0) return 0;
    return err_set(e, "memory", "OpenSSL failed to digest the body");
  }
  r->body = &a->body;
  r->headers = &a->headers;
  r->trailers = &a->trailers;
  return 0;
}

bool http_transfer_stalled(struct http_transfer *t, uint64_t stall_ms)
{
  uint64_t now = loop_clock(), received = t->answer.received;
  if (received - t->mark_bytes >= stall_ms / 1000 + 1 || !has_begun(t)) {
    t->mark_bytes = received;
    t->mark_time = now;
    return false;
  }
  if (now - t->mark_time < stall_ms * LOOP_MS) return false;
  err_set(&t->answer.failure, "timeout",
          "the server stalled: less than a byte a second for %g s, after %llu "
          "bytes",
          SECONDS(stall_ms), (unsigned long long)t->answer.bytes);
  return true;
}
