/* SPDX-License-Identifier: MIT */
#include "test_tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ours_init(struct ours *o, const char *dir, enum certificate_role role)
{
  memset(o, 0, sizeof(*o));
  buf_init(&o->plain, 1 << 24);
  o->id = tls_identity_load(dir, role, "test", &o->e);
  if (o->id) o->tls = tls_new(o->id, &o->e);
  if (!o->tls) {
    printf("%s\n", o->e.text);
    abort();
  }
}

void ours_free(struct ours *o)
{
  tls_free(o->tls);
  tls_identity_free(o->id);
  buf_free(&o->plain);
}

void ours_renew(struct ours *o)
{
  tls_free(o->tls);
  buf_clear(&o->plain);
  o->rc = 0;
  o->e.text[0] = o->e.kind[0] = '\0';
  o->tls = tls_new(o->id, &o->e);
}

void ours_receive(struct ours *o, const void *data, size_t len)
{
  if (o->rc == 0) o->rc = tls_receive(o->tls, data, len, &o->plain, &o->e);
}

int ours_send(struct ours *o, const void *data, size_t len)
{
  struct carrier_parts parts = {{{(void *)(uintptr_t)data, len}}, 1};
  return tls_send(o->tls, &parts, len, &o->e);
}

void exchange(struct ours *a, struct ours *b, size_t piece)
{
  struct buf moving;
  buf_init(&moving, 1 << 24);
  for (struct ours *to = b, *from = a;
       tls_output(a->tls)->len || tls_output(b->tls)->len;
       to = to == a ? b : a, from = from == a ? b : a) {
    buf_swap(&moving, tls_output(from->tls));
    for (size_t at = 0; at < moving.len; at += piece)
      ours_receive(to, moving.data + at,
                   moving.len - at < piece ? moving.len - at : piece);
    buf_clear(&moving);
  }
  buf_free(&moving);
}

void exchange_with(struct ours *o, struct test_peer *p)
{
  struct buf moving;
  buf_init(&moving, 1 << 24);
  do {
    buf_clear(&moving);
    buf_swap(&moving, tls_output(o->tls));
    test_peer_receive(p, moving.data, moving.len);
    buf_clear(&moving);
    test_peer_output(p, &moving);
    ours_receive(o, moving.data, moving.len);
  } while (moving.len || tls_output(o->tls)->len);
  buf_free(&moving);
}

void fleet_init(struct fleet *f)
{
  f->ca = test_authority("search CA");
  f->other_ca = test_authority("other CA");
  f->node = test_folder(f->ca, test_member(f->ca, "node", "search"));
  f->driver = test_folder(f->ca, test_member(f->ca, "driver", "search"));
}

bool is_like(const char *got, const char *want)
{
  const char *star = strchr(want, '*');
  if (!star) return !strcmp(got, want);
  size_t head = (size_t)(star - want), tail = strlen(star + 1);
  size_t len = strlen(got);
  return len >= head + tail && !strncmp(got, want, head) &&
         !strcmp(got + len - tail, star + 1);
}
