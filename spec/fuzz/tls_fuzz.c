/* SPDX-License-Identifier: MIT */
/* libFuzzer: both ends of TLS, with what moves between them changed. The input
 * is a list of steps: a byte says what happens to the next bytes of the driver
 * (or, with FROM_NODE, of the node), and more bytes say where. Whatever they
 * are: no end delivers anything but the beginning of what the other has sent,
 * none is open with a peer that it has not verified, and errors have texts. The
 * keys, and with them most bytes, are new in each process. */
#include "net/tls.h"
#include "wrap/authority.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum step {
  PASS,   /* unchanged */
  CHANGE, /* one byte: place (2 bytes), what it is combined with by XOR */
  CUT,    /* the beginning alone: length (2) */
  INSERT, /* place (2), number (1), that many bytes of the input */
  TWICE,  /* all of it, and again */
  SPLIT,  /* unchanged, in pieces of (1) bytes */
  RAW,    /* number (1), and those bytes of the input in place of them */
  SEND,   /* the end encrypts so many (1) bytes, if it can */
  FINISH, /* it closes its direction */
  STEPS,
};
enum { FROM_NODE = 0x80, MAX_STEPS = 64 };

struct end {
  struct tls *tls;
  struct buf plain;
  bool verified; /* its peer, which stays so */
  size_t sent;   /* bytes that it has encrypted: byte i of them is i mod 251 */
};

static struct tls_identity *node_identity, *driver_identity;

static void check(bool ok)
{
  if (!ok) abort();
}

/* ---- the keys ---- */

static void write_file(const char *dir, const char *name, const struct buf *b)
{
  char path[128];
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  check(fd >= 0 && write(fd, b->data, b->len) == (ssize_t)b->len);
  close(fd);
}

static struct tls_identity *make_identity(struct authority *a,
                                          enum certificate_role role)
{
  static const char *const names[] = {"ca.crt", "cert.pem", "key.pem"};
  char dir[] = "/tmp/moonfleet-tls-fuzz-XXXXXX", path[128];
  struct buf ca, cert, key;
  struct err e;
  buf_init(&ca, 1 << 20);
  buf_init(&cert, 1 << 20);
  buf_init(&key, 1 << 20);
  check(mkdtemp(dir) != NULL && authority_write(a, &ca, &key, &e) == 0);
  buf_clear(&key);
  check(authority_issue(a, role, "x", 1, &cert, &key, &e) == 0);
  write_file(dir, names[0], &ca);
  write_file(dir, names[1], &cert);
  write_file(dir, names[2], &key);
  struct tls_identity *id = tls_identity_load(dir, role, "fuzz", &e);
  check(id != NULL);
  for (int i = 0; i < 3; i++) {
    snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
    unlink(path);
  }
  rmdir(dir);
  buf_free(&ca);
  buf_free(&cert);
  buf_free(&key);
  return id;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  (void)argc, (void)argv;
  struct err e;
  struct authority *a = authority_new("search", 30, &e);
  check(a != NULL);
  node_identity = make_identity(a, CERTIFICATE_NODE);
  driver_identity = make_identity(a, CERTIFICATE_DRIVER);
  authority_free(a);
  return 0;
}

/* ---- the ends ---- */

static void receive(struct end *to, const struct end *from, const uint8_t *data,
                    size_t len)
{
  struct err e = {"", ""};
  enum tls_state before = tls_state(to->tls);
  int rc = tls_receive(to->tls, data, len, &to->plain, &e);
  enum tls_state after = tls_state(to->tls);
  check((rc < 0) == (after == TLS_FAILED && before != TLS_FAILED));
  check(rc == 0 || (*e.kind && *e.text));
  check(tls_peer(to->tls) || (after != TLS_OPEN && !to->verified));
  to->verified = tls_peer(to->tls) != NULL;
  check(!to->verified || !strcmp(tls_peer(to->tls)->fleet, "search"));
  check(to->plain.len <= from->sent);
  for (size_t i = 0; i < to->plain.len; i++)
    check(to->plain.data[i] == i % 251);
  check(tls_end(to->tls, &e) == 0 || *e.text);
}

static void encrypt(struct end *from, size_t len)
{
  uint8_t bytes[256];
  struct err e;
  if (tls_state(from->tls) != TLS_OPEN) return;
  for (size_t i = 0; i < len; i++) bytes[i] = (uint8_t)((from->sent + i) % 251);
  struct carrier_parts parts = {
      {{bytes, len / 3}, {bytes + len / 3, len - len / 3}}, 2};
  carrier_parts_set(&parts, parts.list, 2);
  if (tls_send(from->tls, &parts, len, &e) == 0) from->sent += len;
}

/* ---- the steps ---- */

struct input {
  const uint8_t *data;
  size_t len;
};

static size_t take(struct input *in, int bytes)
{
  size_t n = 0;
  for (; bytes > 0 && in->len > 0; bytes--, in->data++, in->len--)
    n = n << 8 | *in->data;
  return n;
}

/* Changes the bytes of `from` that are on their way to `to`, and delivers them.
 */
static void move(struct end *from, struct end *to, enum step step,
                 struct input *in)
{
  struct buf moving;
  buf_init(&moving, 1 << 20);
  buf_swap(&moving, tls_output(from->tls));
  size_t len = moving.len, piece = len, at, n;
  switch (step) {
  case CHANGE:
    at = take(in, 2), n = take(in, 1);
    if (len) moving.data[at % len] ^= (uint8_t)n;
    break;
  case CUT: n = take(in, 2), moving.len = len ? n % len : 0; break;
  case INSERT:
    at = take(in, 2), n = take(in, 1);
    if (n > in->len) n = in->len;
    if (at > len) at = len;
    check(buf_room(&moving, n) != NULL);
    memmove(moving.data + at + n, moving.data + at, len - at);
    memcpy(moving.data + at, in->data, n);
    moving.len += n;
    in->data += n, in->len -= n;
    break;
  case RAW:
    n = take(in, 1);
    if (n > in->len) n = in->len;
    buf_clear(&moving);
    buf_add(&moving, in->data, n);
    in->data += n, in->len -= n;
    break;
  case SPLIT: piece = take(in, 1) + 1; break;
  default: break;
  }
  if (piece == 0 || step == INSERT || step == RAW) piece = moving.len;
  for (int i = 0; i < (step == TWICE ? 2 : 1); i++)
    for (at = 0; at < moving.len; at += piece) {
      n = moving.len - at < piece ? moving.len - at : piece;
      receive(to, from, moving.data + at, n);
    }
  buf_free(&moving);
}

static void end_init(struct end *end, const struct tls_identity *id)
{
  struct err e;
  end->tls = tls_new(id, &e);
  check(end->tls != NULL);
  buf_init(&end->plain, 1 << 20);
  end->verified = false;
  end->sent = 0;
}

static void end_free(struct end *end)
{
  tls_free(end->tls);
  buf_free(&end->plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct end node, driver;
  struct input in = {data, size};
  end_init(&node, node_identity);
  end_init(&driver, driver_identity);
  for (int i = 0; in.len > 0 && i < MAX_STEPS; i++) {
    size_t byte = take(&in, 1);
    struct end *from = byte & FROM_NODE ? &node : &driver;
    struct end *to = byte & FROM_NODE ? &driver : &node;
    enum step step = (enum step)((byte & 0x7f) % STEPS);
    if (step == SEND)
      encrypt(from, take(&in, 1));
    else if (step == FINISH)
      tls_finish(from->tls);
    else
      move(from, to, step, &in);
  }
  end_free(&node);
  end_free(&driver);
  return 0;
}
