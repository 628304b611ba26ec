/* SPDX-License-Identifier: MIT */
#include "net/http_transfer.h"

#include "base/version.h"
#include "net/http_reader.h"
#include "net/http_url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
  bool starting; /* see http_transfer_env */
  CURL *easy;
  struct http_transfer_env *env;
  const struct http_request *request;
  void *owner;
  struct curl_slist *headers; /* of the request */
  struct http_reader reader;
  char *last_url;   /* after redirects, where its host is not ASCII */
  uint64_t started; /* loop_clock */
  uint64_t mark_bytes, mark_time; /* see http_transfer_is_stalled */
  char refused[96]; /* address and class that the filter refused, or "" */
  char text[CURL_ERROR_SIZE];
};

/* ---- callbacks ----
 * They are C only, note what went wrong, and end the transfer. */

static size_t on_body(char *data, size_t one, size_t n, void *arg)
{
  struct http_transfer *t = arg;
  struct http_transfer_env *env = t->env;
  (void)one;
  if (!t->reader.decoder)
    return http_reader_body(&t->reader, data, n) == 0 ? n : 0;
  if (env->decoding > DECODE_SLICE_MS * LOOP_MS) {
    TAILQ_INSERT_TAIL(&env->paused, t, place);
    t->paused = true;
    return CURL_WRITEFUNC_PAUSE; /* the same data come again */
  }
  uint64_t began = loop_clock();
  int rc = http_reader_body(&t->reader, data, n);
  env->decoding += loop_clock() - began;
  return rc == 0 ? n : 0;
}

static size_t on_header(char *data, size_t one, size_t n, void *arg)
{
  struct http_transfer *t = arg;
  (void)one;
  if (http_reader_line(&t->reader, data, n) < 0) return 0;
  /* 303 means GET, also where the method was set by name, which curl would
   * keep (and drop the body) */
  if (t->reader.phase == HTTP_MOVED && t->reader.status == 303)
    curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, NULL);
  return n;
}

static void leave_start(struct http_transfer *t)
{
  if (t->starting) t->env->starting--;
  t->starting = false;
}

/* Whether this request may reach the address; notes why not. */
static bool may_reach(struct http_transfer *t, const struct sockaddr *to)
{
  const struct http_request *r = t->request;
  unsigned also = 0;
  if (http_request_is_privileged(r))
    also |= HTTP_FILTER_LOOPBACK | HTTP_FILTER_PRIVATE;
  if (r->metadata) also |= HTTP_FILTER_LINK_LOCAL | HTTP_FILTER_METADATA;
  const char *class = http_filter_refuses(&t->env->filter, also, to);
  t->refused[0] = '\0';
  if (!class) return true;
  char text[INET6_ADDRSTRLEN] = "?";
  socklen_t size = to->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                            : sizeof(struct sockaddr_in6);
  getnameinfo(to, size, text, sizeof(text), NULL, 0, NI_NUMERICHOST);
  snprintf(t->refused, sizeof(t->refused), "%s (%s)", text, class);
  return false;
}

/* A connection stands, a new one or one that was kept; another request, which
 * may reach more, may have opened that. */
static int on_connected(void *arg, char *remote, char *local, int remote_port,
                        int local_port)
{
  struct http_transfer *t = arg;
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  (void)local, (void)remote_port, (void)local_port;
  leave_start(t);
  bool is_v4 = inet_pton(AF_INET, remote, &v4.sin_addr) == 1;
  if (!is_v4 && inet_pton(AF_INET6, remote, &v6.sin6_addr) != 1)
    return CURL_PREREQFUNC_ABORT;
  const void *to = is_v4 ? (const void *)&v4 : (const void *)&v6;
  return may_reach(t, to) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

/* Every new connection passes here, those of redirects and to each of a name's
 * addresses included. */
static curl_socket_t on_open(void *arg, curlsocktype purpose,
                             struct curl_sockaddr *to)
{
  struct http_transfer *t = arg;
  (void)purpose;
  if (!may_reach(t, &to->addr)) return CURL_SOCKET_BAD;
  leave_start(t);
  int fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
  if (fd < 0 && (errno == EMFILE || errno == ENFILE))
    err_errno(&t->reader.failure, "connect", errno, "cannot make a socket");
  if (fd >= 0 && http_sockets_open(t->env->sockets, fd) < 0) {
    close(fd);
    fd = -1;
  }
  return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* The connection outlives the transfer that opened it: `arg` is the client's.
 */
static int on_close(void *arg, curl_socket_t fd)
{
  http_sockets_close(arg, fd);
  return 0;
}

/* ---- lifetime ----
 * An easy handle is used once, which costs less than a microsecond: nothing of
 * a request, its secrets, cookies and rules, can leak into another, and libcurl
 * before 8.1.0 keeps in it a pointer to a header that it has freed. */

/* Sets what holds for every transfer; true when curl refuses it. */
static bool set_up(struct http_transfer *t)
{
  CURL *c = t->easy;
  bool bad = HTTP_SET(c, PRIVATE, t->owner);
  bad |= HTTP_SET(c, ERRORBUFFER, t->text);
  bad |= HTTP_SET(c, URL, t->request->url);
  bad |= HTTP_SET(c, NOSIGNAL, 1L);
  if (!http_request_is_privileged(t->request))
    bad |= HTTP_SET(c, SHARE, t->env->share);
  /* a cancelled lookup must not block the loop until its thread is done */
  bad |= HTTP_SET(c, QUICK_EXIT, 1L);
  bad |= HTTP_SET(c, PROTOCOLS_STR, "http,https");
  bad |= HTTP_SET(c, REDIR_PROTOCOLS_STR, "http,https");
  /* a proxy's reply to CONNECT is no response of the server */
  bad |= HTTP_SET(c, SUPPRESS_CONNECT_HEADERS, 1L);
  bad |= HTTP_SET(c, USERAGENT, "moonfleet/" MOONFLEET_VERSION);
  bad |= HTTP_SET(c, BUFFERSIZE, (long)RECEIVE_BYTES);
  bad |= HTTP_SET(c, WRITEFUNCTION, on_body);
  bad |= HTTP_SET(c, WRITEDATA, t);
  bad |= HTTP_SET(c, HEADERFUNCTION, on_header);
  bad |= HTTP_SET(c, HEADERDATA, t);
  bad |= HTTP_SET(c, OPENSOCKETFUNCTION, on_open);
  bad |= HTTP_SET(c, OPENSOCKETDATA, t);
  bad |= HTTP_SET(c, PREREQFUNCTION, on_connected);
  bad |= HTTP_SET(c, PREREQDATA, t);
  bad |= HTTP_SET(c, HTTP_CONTENT_DECODING, 0L); /* http_reader.c decodes */
  bad |= HTTP_SET(c, CLOSESOCKETFUNCTION, on_close);
  bad |= HTTP_SET(c, CLOSESOCKETDATA, t->env->sockets);
  return bad;
}

struct http_transfer *http_transfer_new(struct http_transfer_env *env,
                                        const struct http_request *r,
                                        void *owner, struct err *e)
{
  struct http_transfer *t = err_calloc(sizeof(*t), "an HTTP transfer", e);
  if (!t) return NULL;
  t->env = env;
  t->request = r;
  t->owner = owner;
  if (http_reader_init(&t->reader, r, e) < 0) goto fail;
  t->easy = curl_easy_init();
  if (!t->easy || set_up(t)) goto memory;
  if (http_request_apply(r, t->easy, &t->headers, e) < 0) goto fail;
  if (curl_multi_add_handle(env->multi, t->easy) != CURLM_OK) goto memory;
  t->started = t->mark_time = loop_clock();
  t->starting = true;
  env->starting++;
  return t;
memory:
  err_set(e, "memory", "out of memory for an HTTP transfer");
fail:
  http_transfer_free(t);
  return NULL;
}

void http_transfer_free(struct http_transfer *t)
{
  if (!t) return;
  curl_multi_remove_handle(t->env->multi, t->easy);
  curl_easy_cleanup(t->easy);
  curl_slist_free_all(t->headers);
  if (t->paused) TAILQ_REMOVE(&t->env->paused, t, place);
  leave_start(t);
  http_reader_free(&t->reader);
  free(t->last_url);
  free(t);
}

bool http_transfer_resume(struct http_transfer_env *env,
                          void (*ended)(void *owner, CURLcode code))
{
  struct http_transfer *t;
  env->decoding = 0;
  while ((t = TAILQ_FIRST(&env->paused))) {
    if (env->decoding > DECODE_SLICE_MS * LOOP_MS) return true;
    TAILQ_REMOVE(&env->paused, t, place);
    t->paused = false;
    CURLcode code = curl_easy_pause(t->easy, CURLPAUSE_CONT);
    if (code != CURLE_OK) ended(t->owner, code);
  }
  return false;
}

/* ---- outcome ---- */

/* "N s" of a time limit in milliseconds */
#define SECONDS(ms) ((double)(ms) / 1e3)

/* Errors of curl: the kind, and a text in place of curl's own. Others have the
 * kind "protocol". */
static const struct outcome {
  CURLcode code;
  const char *kind, *text;
  bool is_early_end; /* if a response has begun */
} outcomes[] = {
    {CURLE_URL_MALFORMAT, "url", NULL, false},
    {CURLE_COULDNT_RESOLVE_HOST, "dns", NULL, false},
    {CURLE_COULDNT_CONNECT, "connect", NULL, false},
    {CURLE_SEND_ERROR, "connect", NULL, true},
    {CURLE_RECV_ERROR, "connect", NULL, true},
    {CURLE_GOT_NOTHING, "connect",
     "the connection was closed before a response", true},
    {CURLE_PARTIAL_FILE, "truncated", NULL, true},
    {CURLE_OUT_OF_MEMORY, "memory", NULL, false},
    {CURLE_SSL_CONNECT_ERROR, "tls", NULL, false},
    {CURLE_PEER_FAILED_VERIFICATION, "tls", NULL, false},
    {CURLE_SSL_CERTPROBLEM, "tls", NULL, false},
    {CURLE_SSL_CIPHER, "tls", NULL, false},
    {CURLE_SSL_CACERT_BADFILE, "tls", NULL, false},
    {CURLE_SSL_ISSUER_ERROR, "tls", NULL, false},
    {CURLE_SSL_INVALIDCERTSTATUS, "tls", NULL, false},
    {CURLE_USE_SSL_FAILED, "tls", NULL, false},
    /* a failed callback leaves a reason, so these are curl's own */
    {CURLE_WRITE_ERROR, "decode", "the transfer coding cannot be decoded",
     false},
    {CURLE_BAD_CONTENT_ENCODING, "decode",
     "the transfer coding cannot be decoded", false},
};

static const struct outcome *outcome_of(CURLcode code)
{
  static const struct outcome other = {.kind = "protocol"};
  for (size_t i = 0; i < sizeof(outcomes) / sizeof(*outcomes); i++)
    if (outcomes[i].code == code) return &outcomes[i];
  return &other;
}

/* Has anything come of the last response? */
static bool has_begun(const struct http_transfer *t)
{
  return t->reader.phase == HTTP_HEADERS || t->reader.phase == HTTP_FINAL;
}

static int timed_out(const struct http_transfer *t, const char *url,
                     struct err *e)
{
  const struct http_request *r = t->request;
  curl_off_t connected = 0;
  curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
  if (!connected && !has_begun(t) && r->connect_timeout_ms < r->timeout_ms)
    return err_set(e, "timeout", "%s: no connection within %g s", url,
                   SECONDS(r->connect_timeout_ms));
  return err_set(e, "timeout",
                 "%s: not finished within %g s, %llu bytes received", url,
                 SECONDS(r->timeout_ms), (unsigned long long)t->reader.bytes);
}

/* Has curl no room for a header? Up to 8.5 it reports that memory is out. */
static bool is_long_header(const struct http_transfer *t, CURLcode code)
{
  curl_off_t answered = 0;
  if ((int)code == TOO_LARGE) return true;
  curl_easy_getinfo(t->easy, CURLINFO_STARTTRANSFER_TIME_T, &answered);
  return code == CURLE_OUT_OF_MEMORY && answered &&
         t->reader.phase != HTTP_FINAL;
}

static int describe(const struct http_transfer *t, CURLcode code,
                    const char *url, struct err *e)
{
  const char *detail = t->text[0] ? t->text : curl_easy_strerror(code);
  const struct outcome *o = outcome_of(code);
  long errnum = 0, proxy_status = 0;
  curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &errnum);
  curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
  if (proxy_status >= 300) /* 5xx may be temporary */
    return err_set(e, proxy_status < 500 ? "refused" : "connect",
                   "%s: the proxy refused the connection: %s", url, detail);
  if (o->is_early_end && t->reader.phase == HTTP_HEADERS)
    return err_set(e, "truncated", "%s: the response ended within its headers",
                   url);
  if (o->is_early_end && t->reader.phase == HTTP_FINAL)
    return err_set(e, "truncated",
                   "%s: the body ended early, after %llu bytes: %s", url,
                   (unsigned long long)t->reader.bytes, detail);
  if (is_long_header(t, code))
    return err_set(e, "too_large", "%s: a header is larger than 100 KiB", url);
  if (code == CURLE_OPERATION_TIMEDOUT) return timed_out(t, url, e);
  if (code == CURLE_TOO_MANY_REDIRECTS)
    return err_set(e, "redirect", "%s: more than %u redirects", url,
                   t->request->max_redirects);
  if (code == CURLE_COULDNT_CONNECT && errnum)
    return err_errno(e, "connect", (int)errnum, "%s: cannot connect", url);
  if (code == CURLE_UNSUPPORTED_PROTOCOL || /* HTTP/0.9 */
      code == CURLE_WEIRD_SERVER_REPLY)
    return err_set(e, "protocol", "%s: the response is not HTTP: %s", url,
                   detail);
  return err_set(e, o->kind, "%s: %s", url, o->text ? o->text : detail);
}

static int refuse(const struct http_transfer *t, const char *last,
                  struct err *e)
{
  char url[72]; /* the text has much to say */
  http_url_show(last, strlen(last), url, sizeof(url));
  return err_set(e, "refused",
                 "%s: jobs may not reach %s here; to allow it, add it to "
                 "--allow-hosts of serve, or of run, eval or repl for a "
                 "private node or --ssh",
                 url, t->refused);
}

static int explain(struct http_transfer *t, CURLcode code, struct err *e)
{
  char *last = NULL, url[120];
  for (char *c = t->text; *c; c++) /* it may quote the server */
    if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
  curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &last);
  if (!last) last = "";
  http_url_show(last, strlen(last), url, sizeof(url));
  if (t->reader.failure.kind[0])
    return err_set(e, t->reader.failure.kind, "%s: %s", url,
                   t->reader.failure.text);
  if (t->refused[0] &&
      (code == CURLE_COULDNT_CONNECT || code == CURLE_ABORTED_BY_CALLBACK))
    return refuse(t, last, e);
  if (code == CURLE_UNSUPPORTED_PROTOCOL && !http_url_is_web(last))
    return err_set(e, "redirect",
                   "%s: a redirect led here; only http and https are followed",
                   url);
  if (code == CURLE_URL_MALFORMAT && http_url_is_international(last))
    return err_set(e, "url",
                   "%s: a redirect led here; the host name is not valid", url);
  return describe(t, code, url, e);
}

/* curl returns the host of a redirect as the server wrote it. */
static int last_url(struct http_transfer *t, struct http_response *r,
                    struct err *e)
{
  char *url = NULL;
  size_t origin;
  curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
  r->url = url;
  if (!http_url_is_international(url)) return 0;
  r->url = t->last_url = http_url_normalise(url, strlen(url), &origin, e);
  return r->url ? 0 : -1;
}

int http_transfer_outcome(struct http_transfer *t, CURLcode code,
                          struct http_response *r, struct err *e)
{
  struct http_reader *reader = &t->reader;
  memset(r, 0, sizeof(*r));
  if (has_begun(t)) r->status = reader->status;
  if (code != CURLE_OK || http_reader_finish(reader) < 0)
    return explain(t, code, e);
  curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &r->status);
  if (last_url(t, r, e) < 0) return -1;
  r->bytes = reader->bytes;
  r->elapsed = (double)(loop_clock() - t->started) / 1e9;
  if (reader->digest) return digest_value(reader->digest, r->sha256, e);
  r->body = &reader->body;
  r->headers = &reader->headers;
  r->trailers = &reader->trailers;
  return 0;
}

bool http_transfer_is_stalled(struct http_transfer *t, uint64_t stall_ms)
{
  uint64_t now = loop_clock(), received = t->reader.received;
  if (received - t->mark_bytes >= stall_ms / 1000 + 1 || !has_begun(t)) {
    t->mark_bytes = received;
    t->mark_time = now;
    return false;
  }
  if (now - t->mark_time < stall_ms * LOOP_MS) return false;
  err_set(&t->reader.failure, "timeout",
          "the server stalled: less than a byte a second for %g s, after %llu "
          "bytes",
          SECONDS(stall_ms), (unsigned long long)t->reader.bytes);
  return true;
}
