/* SPDX-License-Identifier: MIT */
#include "net/tls_context.h"

#include "wire/protocol.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

enum {
  /* Bytes of the message with the peer's chain. */
  MAX_CHAIN_BYTES = 32 * 1024,
  MAX_ALPN = 64,
};

/* Writes the one name of our list: its length, then "moonfleet/VERSION". */
static unsigned write_alpn(unsigned char to[MAX_ALPN])
{
  int n =
      snprintf((char *)to + 1, MAX_ALPN - 1, "moonfleet/%d", PROTOCOL_VERSION);
  to[0] = (unsigned char)n;
  return (unsigned)n + 1;
}

/* A node takes its own protocol; a client with others gets an alert. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
  (void)arg;
  struct tls_verdict *v = SSL_get_app_data(ssl);
  unsigned char ours[MAX_ALPN];
  unsigned len = write_alpn(ours);
  for (unsigned at = 0; at < in_len; at += in[at] + 1U) {
    if (at + len > in_len || memcmp(in + at, ours, len) != 0) continue;
    *out = in + at + 1;
    *out_len = in[at];
    return SSL_TLSEXT_ERR_OK;
  }
  v->refused = true;
  err_set(&v->why, "skew", "speaks another version of the protocol, not %.*s",
          ours[0], (const char *)ours + 1);
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int on_certificate(X509_STORE_CTX *ctx, void *arg)
{
  (void)arg;
  SSL *ssl =
      X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
  struct tls_verdict *v = SSL_get_app_data(ssl);
  if (tls_trust_verify(v->trust, ctx, &v->peer, &v->why) == 0) return 1;
  v->refused = true;
  return 0;
}

const char *tls_context_reason(char *to, size_t size)
{
  unsigned long code = ERR_get_error();
  const char *reason = ERR_reason_error_string(code);
  snprintf(to, size, "%s", reason ? reason : "no reason given");
  ERR_clear_error();
  return to;
}

static bool set_rules(SSL_CTX *ctx)
{
  unsigned char alpn[MAX_ALPN];
  unsigned alpn_len = write_alpn(alpn);
  uint64_t options =
      SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION;
#ifdef SSL_OP_NO_RX_CERTIFICATE_COMPRESSION
  options |= SSL_OP_NO_RX_CERTIFICATE_COMPRESSION |
             SSL_OP_NO_TX_CERTIFICATE_COMPRESSION;
#endif
  SSL_CTX_set_options(ctx, options);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_cert_list(ctx, MAX_CHAIN_BYTES);
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                     NULL);
  SSL_CTX_set_cert_verify_callback(ctx, on_certificate, NULL);
  SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
  /* AES-128 first: it is strong enough, and the fastest where the processor
   * helps. */
  return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) &&
         SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) &&
         SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:"
                                       "TLS_AES_256_GCM_SHA384:"
                                       "TLS_CHACHA20_POLY1305_SHA256") &&
         SSL_CTX_set_num_tickets(ctx, 0) &&
         SSL_CTX_set_max_early_data(ctx, 0) &&
         SSL_CTX_set_recv_max_early_data(ctx, 0) &&
         SSL_CTX_set_alpn_protos(ctx, alpn, alpn_len) == 0;
}

SSL_CTX *tls_context_new(const struct tls_trust *trust, X509 *cert,
                         STACK_OF(X509) * chain, EVP_PKEY *key, struct err *e)
{
  char reason[128];
  SSL_CTX *ctx =
      SSL_CTX_new(trust->role == CERTIFICATE_NODE ? TLS_server_method()
                                                  : TLS_client_method());
  if (ctx && set_rules(ctx)) {
    SSL_CTX_set1_cert_store(ctx, trust->store);
    if (SSL_CTX_use_cert_and_key(ctx, cert, key, chain, 1)) return ctx;
    err_set(e, "usage", "OpenSSL refuses %s/cert.pem or key.pem: %s",
            trust->dir, tls_context_reason(reason, sizeof(reason)));
  } else {
    err_set(e, "memory", "OpenSSL cannot prepare TLS 1.3: %s",
            tls_context_reason(reason, sizeof(reason)));
  }
  SSL_CTX_free(ctx);
  return NULL;
}
