/* SPDX-License-Identifier: MIT */
#include "test_peer.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

static int on_certificate(X509_STORE_CTX *store, void *arg)
{
  struct test_peer *p = arg;
  X509_STORE_CTX_set_error(store, p->refuse);
  return p->refuse == 0;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
  (void)ssl, (void)in_len;
  const char *ours = arg;
  (void)in;
  *out = (const unsigned char *)ours;
  *out_len = (unsigned char)strlen(ours);
  return SSL_TLSEXT_ERR_OK;
}

static void on_info(const SSL *ssl, int where, int value)
{
  struct test_peer *p = SSL_get_app_data(ssl);
  if (where == SSL_CB_READ_ALERT && (value >> 8) == SSL3_AL_FATAL)
    p->alert = value & 0xff;
}

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
  (void)session;
  struct test_peer *p = SSL_get_app_data(ssl);
  p->tickets++;
  return 0;
}

void test_peer_init(struct test_peer *p, bool server, struct test_key *key,
                    struct test_key *chain, const char *alpn, int version)
{
  unsigned char list[64];
  memset(p, 0, sizeof(*p));
  buf_init(&p->plain, 1 << 24);
  p->server = server;
  p->ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
  if (!p->ctx) abort();
  SSL_CTX_set_max_proto_version(p->ctx, version);
  SSL_CTX_set_security_level(p->ctx, 0);
  SSL_CTX_set_info_callback(p->ctx, on_info);
  SSL_CTX_set_verify(p->ctx, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_cert_verify_callback(p->ctx, on_certificate, p);
  SSL_CTX_set_session_cache_mode(p->ctx, SSL_SESS_CACHE_CLIENT);
  SSL_CTX_sess_set_new_cb(p->ctx, on_ticket);
  if (key) {
    SSL_CTX_use_certificate(p->ctx, test_key_certificate(key));
    SSL_CTX_use_PrivateKey(p->ctx, test_key_private(key));
  }
  if (chain) SSL_CTX_add1_chain_cert(p->ctx, test_key_certificate(chain));
  if (alpn) {
    size_t n = strlen(alpn);
    list[0] = (unsigned char)n;
    memcpy(list + 1, alpn, n);
    SSL_CTX_set_alpn_protos(p->ctx, list, (unsigned)n + 1);
    SSL_CTX_set_alpn_select_cb(p->ctx, on_alpn, (void *)(uintptr_t)alpn);
  }
  p->ssl = SSL_new(p->ctx);
  BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
  if (!p->ssl || !in || !out) abort();
  BIO_set_mem_eof_return(in, -1);
  SSL_set_bio(p->ssl, in, out);
  SSL_set_app_data(p->ssl, p);
  if (server)
    SSL_set_accept_state(p->ssl);
  else
    SSL_set_connect_state(p->ssl);
  test_peer_receive(p, NULL, 0);
}

void test_peer_free(struct test_peer *p)
{
  SSL_free(p->ssl);
  SSL_CTX_free(p->ctx);
  buf_free(&p->plain);
}

void test_peer_receive(struct test_peer *p, const void *data, size_t len)
{
  char bytes[4096];
  int n;
  if (len) BIO_write(SSL_get_rbio(p->ssl), data, (int)len);
  ERR_clear_error();
  n = SSL_do_handshake(p->ssl);
  if (n == 1) {
    p->open = true;
    while ((n = SSL_read(p->ssl, bytes, sizeof(bytes))) > 0)
      buf_add(&p->plain, bytes, (size_t)n);
  }
  if (SSL_get_error(p->ssl, n) == SSL_ERROR_SSL) p->failed = true;
  ERR_clear_error();
}

void test_peer_output(struct test_peer *p, struct buf *to)
{
  char bytes[4096];
  int n;
  while ((n = BIO_read(SSL_get_wbio(p->ssl), bytes, sizeof(bytes))) > 0)
    buf_add(to, bytes, (size_t)n);
}
