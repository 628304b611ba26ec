/* SPDX-License-Identifier: MIT */
#include "net/tls.h"

#include "net/tls_context.h"
#include "net/tls_keys.h"
#include "wire/protocol.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

enum {
  /* Encrypted bytes that wait for the transport. */
  MAX_OUTPUT = 16 * 1024 * 1024,
  /* What encryption adds to a record: header, kind, tag. */
  RECORD_OVERHEAD = 5 + 1 + 16,
  /* Records that are encrypted with one key. AES-GCM is safe up to 2^24.5 of
   * them (RFC 8446, section 5.5). */
  RECORDS_PER_KEY = 1 << 23,
  /* Changes of keys that a peer may ask for without sending anything, and bytes
   * that earn it another one. */
  FREE_UPDATES = 16,
  BYTES_PER_UPDATE = 1024 * 1024,
};

struct tls {
  SSL *ssl; /* NULL: a server that has received nothing */
  struct tls_keys *keys;
  enum tls_state state;
  bool server;
  bool verified;     /* the peer; stays so, whatever comes after that */
  bool heard;        /* plain bytes have come */
  const uint8_t *in; /* during tls_receive: what OpenSSL has not taken yet */
  size_t in_len;
  struct buf out;
  uint64_t received; /* encrypted bytes */
  uint64_t updates;  /* messages of the handshake after its end */
  uint64_t records;  /* sent since the last change of keys */
  struct tls_verdict verdict;
};

/* ---- bytes to and from OpenSSL ---- */

static bool has_too_many_updates(const struct tls *t)
{
  return t->updates > FREE_UPDATES + t->received / BYTES_PER_UPDATE;
}

static int bio_read(BIO *bio, char *to, int size)
{
  struct tls *t = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (has_too_many_updates(t)) return -1;
  if (t->in_len == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  size_t n = (size_t)size < t->in_len ? (size_t)size : t->in_len;
  memcpy(to, t->in, n);
  t->in += n;
  t->in_len -= n;
  return (int)n;
}

static int bio_write(BIO *bio, const char *from, int size)
{
  struct tls *t = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  return buf_add(&t->out, from, (size_t)size) == 0 ? size : -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
  (void)bio, (void)number, (void)pointer;
  return command == BIO_CTRL_FLUSH;
}

static BIO *bio_new(struct tls *t)
{
  static BIO_METHOD *method; /* for the life of the process */
  if (!method) {
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
                          "memory of struct tls");
    if (!method || !BIO_meth_set_read(method, bio_read) ||
        !BIO_meth_set_write(method, bio_write) ||
        !BIO_meth_set_ctrl(method, bio_ctrl))
      return NULL;
  }
  BIO *bio = BIO_new(method);
  if (!bio) return NULL;
  BIO_set_data(bio, t);
  BIO_set_init(bio, 1);
  return bio;
}

/* Counts what a peer can send at any time to keep us busy. */
static void on_message(int written, int version, int type, const void *data,
                       size_t len, SSL *ssl, void *arg)
{
  (void)version, (void)data, (void)len, (void)ssl;
  struct tls *t = arg;
  if (!written && type == SSL3_RT_HANDSHAKE && t->state == TLS_OPEN)
    t->updates++;
}

/* ---- errors ---- */

static int set_error(struct tls *t, const char *kind, const char *text,
                     struct err *e)
{
  t->state = TLS_FAILED;
  return err_set(e, kind, "%s", text);
}

/* The peer has ended the connection with an alert. */
static int set_alert(struct tls *t, int alert, struct err *e)
{
  const char *why = NULL;
  switch (alert) {
  case SSL_AD_UNKNOWN_CA: why = "unknown CA"; break;
  case SSL_AD_CERTIFICATE_EXPIRED: why = "expired"; break;
  case SSL_AD_CERTIFICATE_REVOKED: why = "revoked"; break;
  case SSL_AD_UNSUPPORTED_CERTIFICATE:
    why = t->server ? "not a node" : "not a driver";
    break;
  case SSL_AD_BAD_CERTIFICATE:
    why = "another fleet, or not yet valid by its clock";
    break;
  case SSL_AD_CERTIFICATE_UNKNOWN:
    why = "it cannot check it; its log has the reason";
    break;
  case SSL_AD_DECRYPT_ERROR: why = "wrong signature"; break;
  case SSL_AD_CERTIFICATE_REQUIRED:
    return set_error(t, "tls", "requires a certificate", e);
  case SSL_AD_PROTOCOL_VERSION:
    return set_error(t, "tls", "does not speak TLS 1.3", e);
  case SSL_AD_NO_APPLICATION_PROTOCOL:
    t->state = TLS_FAILED;
    return err_set(e, "skew",
                   "speaks another version of the protocol, not moonfleet/%d",
                   PROTOCOL_VERSION);
  }
  t->state = TLS_FAILED;
  if (why) return err_set(e, "tls", "rejected our certificate (%s)", why);
  return err_set(e, "tls", "ended the connection with the TLS alert \"%s\"",
                 SSL_alert_desc_string_long(alert));
}

/* OpenSSL has failed. Its texts differ between releases, its codes do not. */
static int set_failure(struct tls *t, struct err *e)
{
  unsigned long code = ERR_peek_error();
  int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
  char text[128];
  tls_context_reason(text, sizeof(text));
  if (t->verdict.refused)
    return set_error(t, t->verdict.why.kind, t->verdict.why.text, e);
  if (t->out.failed) return set_error(t, "memory", "out of memory for TLS", e);
  if (has_too_many_updates(t))
    return set_error(t, "tls", "changes its keys too often", e);
  if (reason > SSL_AD_REASON_OFFSET)
    return set_alert(t, reason - SSL_AD_REASON_OFFSET, e);
  switch (reason) {
  case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    return set_error(t, "tls", "has sent no certificate", e);
  case SSL_R_UNSUPPORTED_PROTOCOL:
  case SSL_R_WRONG_SSL_VERSION:
  case SSL_R_WRONG_VERSION_NUMBER:
  case SSL_R_VERSION_TOO_LOW:
    return set_error(t, "tls", "does not speak TLS 1.3", e);
  }
  t->state = TLS_FAILED;
  return err_set(e, "tls", "breaks the rules of TLS (%s)", text);
}

int tls_end(const struct tls *t, struct err *e)
{
  if (t->state == TLS_HANDSHAKE)
    return err_set(e, "tls", "closed the connection during the handshake%s",
                   t->received || t->server ? "" : "; does it have --tls?");
  if (t->state == TLS_OPEN && !t->server && !t->heard)
    return err_set(e, "tls",
                   "closed the connection after the handshake; if it rejected "
                   "our certificate, its log has the reason");
  return 0;
}

int tls_set_no_answer(int seconds, struct err *e)
{
  return err_set(e, "timeout", "no TLS answer within %d s", seconds);
}

int tls_set_closed_at_once(struct err *e)
{
  return err_set(e, "lost",
                 "closed the connection at once; does it need --tls?");
}

/* ---- the connection ---- */

static int start(struct tls *t, struct err *e)
{
  BIO *bio = bio_new(t);
  t->ssl = bio ? SSL_new(t->keys->context) : NULL;
  if (!t->ssl) {
    BIO_free(bio);
    ERR_clear_error();
    return set_error(t, "memory", "out of memory for TLS", e);
  }
  SSL_set_bio(t->ssl, bio, bio);
  SSL_set_app_data(t->ssl, &t->verdict);
  SSL_set_msg_callback(t->ssl, on_message);
  SSL_set_msg_callback_arg(t->ssl, t);
  if (t->server)
    SSL_set_accept_state(t->ssl);
  else
    SSL_set_connect_state(t->ssl);
  return 0;
}

/* Whether an operation that returned `rc` only needs more bytes. */
static bool wants_more(struct tls *t, int rc)
{
  return SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_READ;
}

/* Goes on with the handshake. 1: done; 0: the peer's turn; -1 and `e`. */
static int shake_hands(struct tls *t, struct err *e)
{
  ERR_clear_error();
  int rc = SSL_do_handshake(t->ssl);
  if (rc != 1) return wants_more(t, rc) ? 0 : set_failure(t, e);
  const unsigned char *alpn;
  unsigned len;
  SSL_get0_alpn_selected(t->ssl, &alpn, &len);
  if (len == 0)
    return set_error(t, "tls", "speaks TLS, but not for moonfleet", e);
  t->state = TLS_OPEN;
  t->verified = true;
  return 1;
}

struct tls *tls_new(const struct tls_identity *id, struct err *e)
{
  struct tls *t = err_calloc(sizeof(*t), "TLS", e);
  if (!t) return NULL;
  t->keys = tls_keys_ref(tls_identity_keys(id));
  t->server = t->keys->facts.role == CERTIFICATE_NODE;
  t->verdict.trust = &t->keys->trust;
  buf_init(&t->out, MAX_OUTPUT);
  if (t->server || (start(t, e) == 0 && shake_hands(t, e) == 0)) return t;
  tls_free(t);
  return NULL;
}

void tls_free(struct tls *t)
{
  if (!t) return;
  SSL_free(t->ssl);
  tls_keys_unref(t->keys);
  buf_free(&t->out);
  free(t);
}

enum tls_state tls_state(const struct tls *t)
{
  return t->state;
}

struct buf *tls_output(struct tls *t)
{
  return &t->out;
}

const struct certificate *tls_peer(const struct tls *t)
{
  return t->verified ? &t->verdict.peer : NULL;
}

/* The first byte of a connection is that of a record with a message of the
 * handshake, or with an alert (RFC 8446, section 5.1). */
static int check_first_byte(struct tls *t, uint8_t byte, struct err *e)
{
  if (byte == SSL3_RT_HANDSHAKE || byte == SSL3_RT_ALERT) return 0;
  return set_error(t, "tls",
                   t->server ? "has connected without TLS; does it have --tls?"
                             : "answers without TLS",
                   e);
}

/* Decrypts all whole records there are. */
static int read_records(struct tls *t, struct buf *plain, struct err *e)
{
  buf_room(plain, t->in_len + 2 * TLS_RECORD);
  for (;;) {
    size_t n;
    uint8_t *at = buf_room(plain, TLS_RECORD);
    if (!at) return set_error(t, "memory", "out of memory for TLS", e);
    ERR_clear_error();
    int rc = SSL_read_ex(t->ssl, at, TLS_RECORD, &n);
    if (rc == 1) {
      plain->len += n;
      t->heard = true;
      continue;
    }
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ: return 0;
    case SSL_ERROR_ZERO_RETURN: t->state = TLS_CLOSED; return 0;
    default: return set_failure(t, e);
    }
  }
}

int tls_receive(struct tls *t, const void *data, size_t len, struct buf *plain,
                struct err *e)
{
  if (len == 0 || t->state == TLS_CLOSED || t->state == TLS_FAILED) return 0;
  if (t->received == 0 && check_first_byte(t, *(const uint8_t *)data, e) < 0)
    return -1;
  if (!t->ssl && start(t, e) < 0) return -1;
  t->received += len;
  t->in = data;
  t->in_len = len;
  int rc = t->state == TLS_HANDSHAKE ? shake_hands(t, e) : 1;
  if (rc > 0) rc = read_records(t, plain, e);
  t->in = NULL;
  t->in_len = 0;
  return rc < 0 ? -1 : 0;
}

/* ---- sending ---- */

/* The next bytes to encrypt at once, at most `max`: whole records where they
 * are, or, if the first part has less, those of several parts, copied to
 * `record`. Drops them from `from`, whose memory stays. */
static const uint8_t *next_bytes(struct carrier_parts *from, size_t max,
                                 uint8_t record[TLS_RECORD], size_t *len)
{
  const uint8_t *at = from->list[0].iov_base;
  size_t left = from->list[0].iov_len < max ? from->list[0].iov_len : max;
  if (left >= TLS_RECORD || left == max || from->count == 1) {
    *len = left > TLS_RECORD ? left - left % TLS_RECORD : left;
    carrier_parts_drop(from, *len);
    return at;
  }
  if (max > TLS_RECORD) max = TLS_RECORD;
  for (*len = 0; *len < max && from->count > 0;) {
    size_t n = from->list[0].iov_len;
    if (n > max - *len) n = max - *len;
    memcpy(record + *len, from->list[0].iov_base, n);
    *len += n;
    carrier_parts_drop(from, n);
  }
  return record;
}

int tls_send(struct tls *t, struct carrier_parts *from, size_t max,
             struct err *e)
{
  uint8_t record[TLS_RECORD];
  size_t total = 0;
  for (int i = 0; i < from->count; i++) total += from->list[i].iov_len;
  if (total > max) total = max;
  buf_room(&t->out, total + (total / TLS_RECORD + 2) * RECORD_OVERHEAD);
  while (total > 0) {
    size_t len, written;
    const uint8_t *data = next_bytes(from, total, record, &len);
    ERR_clear_error();
    if (SSL_write_ex(t->ssl, data, len, &written) != 1)
      return set_failure(t, e);
    total -= len;
    t->records += len / TLS_RECORD + 1;
  }
  if (t->records >= RECORDS_PER_KEY) {
    t->records = 0;
    SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
  }
  return 0;
}

void tls_finish(struct tls *t)
{
  if (t->state != TLS_OPEN && t->state != TLS_CLOSED) return;
  SSL_shutdown(t->ssl);
  ERR_clear_error();
}

bool tls_is_current(const struct tls *t, const struct tls_identity *id)
{
  return t->keys == tls_identity_keys(id);
}

int tls_verify(const struct tls *t, const struct tls_identity *id,
               struct err *e)
{
  if (t->state != TLS_OPEN && t->state != TLS_CLOSED) return 0;
  return tls_trust_verify_chain(&tls_identity_keys(id)->trust,
                                SSL_get0_peer_certificate(t->ssl),
                                SSL_get_peer_cert_chain(t->ssl), e);
}
