/* SPDX-License-Identifier: MIT */
#include "channel_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void may_close(struct fixture *f)
{
  if (!f->closes) return;
  channel_close(f->c);
  f->c = NULL;
}

static void on_ready(void *arg)
{
  struct fixture *f = arg;
  f->ready++;
  may_close(f);
}

static void on_request(void *arg, uint32_t id, const uint8_t *data, size_t len)
{
  struct fixture *f = arg;
  (void)data;
  f->requests++;
  f->id = id;
  f->bytes += len;
  may_close(f);
  if (!f->reply_size || !f->c) return;
  uint8_t *reply = calloc(1, f->reply_size);
  channel_reply(f->c, id, reply, f->reply_size);
  free(reply);
}

static void on_end(void *arg, const struct err *reason)
{
  struct fixture *f = arg;
  f->ended++;
  f->reason = *reason;
  CHECK(f->t, !f->r.channel);
  may_close(f);
}

static int on_message(void *arg, const uint8_t *data, size_t len, struct err *e)
{
  struct fixture *f = arg;
  (void)data;
  f->messages++;
  f->bytes += len;
  may_close(f);
  if (f->result < 0) err_set(e, "protocol", "malformed");
  return f->result;
}

static void on_room(void *arg)
{
  ((struct fixture *)arg)->rooms++;
}

void fixture_on_reply(void *arg, const uint8_t *data, size_t len,
                      const struct err *e)
{
  struct fixture *f = arg;
  (void)data;
  f->replies += !e;
  f->lost += e && !strcmp(e->kind, "lost");
  f->bytes += len;
  may_close(f);
}

static const struct channel_events events = {on_ready, on_request, on_end};
const struct resumable_events fixture_session_events = {on_message, on_room};

bool fixture_open_with(struct test_run *t, struct fixture *f,
                       struct channel_options options)
{
  struct err e;
  memset(f, 0, sizeof(*f));
  f->t = t;
  f->loop = options.loop = loop_new(&e);
  if (!CHECK(t, f->loop)) return false;
  pipe_init(&f->pipe, &f->peer);
  f->pipe.room = SIZE_MAX;
  resumable_init(&f->r, f->loop, 0, &fixture_session_events, f);
  f->c = channel_new(&f->pipe.carrier, &options, &events, f, &e);
  return CHECK(t, f->c);
}

/* A channel that is ready. */
bool fixture_open(struct test_run *t, struct fixture *f)
{
  if (!fixture_open_with(t, f, (struct channel_options){0})) return false;
  pipe_feed(&f->pipe, PREFACE, strlen(PREFACE));
  buf_clear(&f->pipe.wire);
  return CHECK_INT(t, f->ready, 1);
}

/* And one with a session, whose peer grants that many bytes. */
bool fixture_open_session(struct test_run *t, struct fixture *f, uint64_t bytes)
{
  struct resumable_ack ack = {.bytes = bytes};
  struct err e;
  if (!fixture_open(t, f)) return false;
  channel_attach(f->c, &f->r);
  return CHECK_INT(t, resumable_resume(&f->r, &ack, &e), 0);
}

void fixture_close(struct fixture *f)
{
  channel_close(f->c);
  resumable_free(&f->r);
  loop_free(f->loop);
  CHECK(f->t, !f->pipe.wrong);
  pipe_free(&f->pipe);
  pipe_free(&f->peer);
}

void fixture_add(struct fixture *f, size_t len)
{
  struct buf *b = resumable_message(&f->r);
  uint8_t *to = buf_room(b, len);
  if (!CHECK(f->t, to)) return;
  memset(to, (int)(len % 251), len);
  b->len += len;
}

/* ---- feeding frames ---- */

void fixture_feed(struct fixture *f, int kind, const void *data, size_t len)
{
  uint8_t head[4] = {(uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16),
                     (uint8_t)kind};
  pipe_feed(&f->pipe, head, sizeof(head));
  pipe_feed(&f->pipe, data, len);
}

void fixture_feed_zeros(struct fixture *f, int kind, size_t len)
{
  void *zeros = calloc(1, len + 1);
  fixture_feed(f, kind, zeros, len);
  free(zeros);
}

void fixture_feed_request(struct fixture *f, uint32_t id)
{
  uint8_t bytes[5] = {(uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16),
                      (uint8_t)(id >> 24), 'x'};
  fixture_feed(f, PROTOCOL_REQUEST, bytes, sizeof(bytes));
}

void fixture_feed_ack(struct fixture *f, uint64_t received, uint64_t bytes,
                      uint64_t tasks)
{
  uint64_t numbers[] = {received, bytes, tasks};
  uint8_t out[24];
  for (int i = 0; i < 24; i++) out[i] = (uint8_t)(numbers[i / 8] >> i % 8 * 8);
  fixture_feed(f, PROTOCOL_ACK, out, sizeof(out));
}

void fixture_expect_end(struct fixture *f, const char *kind, const char *text)
{
  loop_drain(f->loop);
  if (!CHECK_INT(f->t, f->ended, 1)) return;
  CHECK_STR(f->t, f->reason.kind, kind);
  if (text && !CHECK(f->t, strstr(f->reason.text, text)))
    printf("  \"%s\", not \"%s\"\n", f->reason.text, text);
}
