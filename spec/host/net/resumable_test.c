/* SPDX-License-Identifier: MIT */
/* A session on one channel: limits, acknowledgements, what is sent and how long
 * its memory lives. */
#include "channel_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct test resumable_tests[];

/* ---- acknowledgements and limits ---- */

static void test_bad_acks(struct test_run *t)
{
  static const struct {
    uint64_t received, bytes, tasks;
    const char *text; /* NULL: fine */
  } cases[] = {
      {1, 5000, 10, NULL},
      {0, 5000, 10, NULL},
      {2, UINT64_MAX, UINT64_MAX, NULL},
      {3, 5000, 10, "it acknowledges message 3, but 0 to 2 could be"},
      {UINT64_MAX, 5000, 10, "it acknowledges message 18446744073709551615"},
      {1, 4999, 10, "it lowers a limit: from 5000 to 4999 bytes"},
      {1, 5000, 9, "it lowers a limit: from 5000 to 5000 bytes, from 10 to 9"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct fixture f;
    if (!fixture_open_session(t, &f, 5000)) return;
    fixture_feed_ack(&f, 0, 5000, 10);
    for (int n = 0; n < 3; n++) { /* the third is over the limit */
      fixture_add(&f, 3000);
      resumable_flush(&f.r);
    }
    CHECK_INT(t, resumable_number(&f.r), 3);
    fixture_feed_ack(&f, cases[i].received, cases[i].bytes, cases[i].tasks);
    if (cases[i].text) {
      fixture_expect_end(&f, "protocol", cases[i].text);
    } else {
      CHECK_INT(t, f.ended, 0);
      CHECK_INT(t, f.rooms, 2);
      CHECK_INT(t, resumable_bytes(&f.r), 9000 - 3000 * cases[i].received);
      /* and cannot be taken back */
      fixture_feed_ack(&f, cases[i].received - 1, cases[i].bytes,
                       cases[i].tasks);
      fixture_expect_end(&f, "protocol", "it acknowledges");
    }
    fixture_close(&f);
  }
}

static void test_sender_keeps_limit(struct test_run *t)
{
  struct fixture f;
  if (!fixture_open_session(t, &f, 1000)) return;
  CHECK(t, resumable_has_room(&f.r));
  fixture_add(&f, 999);
  CHECK(t, resumable_has_room(&f.r));
  resumable_flush(&f.r);
  fixture_add(&f, 500000); /* begins within the limit */
  CHECK(t, !resumable_has_room(&f.r));
  resumable_flush(&f.r);
  size_t sent = f.pipe.wire.len;
  CHECK_INT(t, sent, 4 + 999 + 2 * 4 + 500000);
  fixture_add(&f, 1); /* begins behind it */
  resumable_flush(&f.r);
  CHECK_INT(t, f.pipe.wire.len, sent);
  fixture_feed_ack(&f, 0, 500999, 0);
  CHECK_INT(t, f.pipe.wire.len, sent);
  fixture_feed_ack(&f, 1, 501000, 0);
  CHECK_INT(t, f.pipe.wire.len, sent + 5);
  CHECK_INT(t, resumable_bytes(&f.r), 500001);
  fixture_close(&f);
}

/* A peer that grants everything and acknowledges nothing. */
static void test_sender_keeps_window(struct test_run *t)
{
  struct fixture f;
  if (!fixture_open_session(t, &f, UINT64_MAX)) return;
  size_t n = 0;
  for (; resumable_has_room(&f.r) && n < 1000; n++) {
    fixture_add(&f, 100000);
    resumable_flush(&f.r);
    buf_clear(&f.pipe.wire);
  }
  CHECK_INT(t, n, RESUMABLE_WINDOW / 100000 + 1);
  CHECK_INT(t, resumable_bytes(&f.r), n * 100000);
  fixture_feed_ack(&f, n / 2, UINT64_MAX, 0);
  CHECK(t, resumable_has_room(&f.r));
  fixture_close(&f);
}

static void test_receiver_keeps_limit(struct test_run *t)
{
  struct fixture f;
  if (!fixture_open_session(t, &f, 0)) return;
  resumable_hold(&f.r, true);
  size_t frames = 0;
  for (; f.r.received_bytes < RESUMABLE_WINDOW; frames++)
    fixture_feed_zeros(&f, PROTOCOL_LAST, CHANNEL_MAX_FRAME);
  CHECK_INT(t, f.messages, frames);
  CHECK_INT(t, f.ended, 0);
  fixture_feed_zeros(&f, PROTOCOL_PART, 1);
  fixture_expect_end(&f, "protocol", "exceeds the limit of 16777216 bytes");
  CHECK_INT(t, f.messages, frames);
  fixture_close(&f);
}

static void test_message_over_maximum(struct test_run *t)
{
  struct fixture f;
  if (!fixture_open_session(t, &f, 0)) return;
  for (int i = 0; i < PROTOCOL_MAX_MESSAGE / CHANNEL_MAX_FRAME; i++)
    fixture_feed_zeros(&f, PROTOCOL_PART, CHANNEL_MAX_FRAME);
  CHECK_INT(t, f.ended, 0);
  fixture_feed_zeros(&f, PROTOCOL_LAST, 1);
  fixture_expect_end(&f, "protocol",
                     "a message over the limit of 83886080 bytes");
  CHECK_INT(t, f.messages, 0);
  fixture_close(&f);
}

static void test_malformed_message(struct test_run *t)
{
  for (int closes = 0; closes < 2; closes++) {
    struct fixture f;
    if (!fixture_open_session(t, &f, 0)) return;
    f.result = -1;
    f.closes = closes;
    pipe_feed(&f.pipe, "\1\0\0\5x\1\0\0\5x", 10);
    CHECK_INT(t, f.messages, 1);
    if (!closes) fixture_expect_end(&f, "protocol", "malformed");
    fixture_close(&f);
  }
}

/* Expires the timer of acknowledgements, if it is armed. */
static bool expire(struct fixture *f)
{
  if (!f->r.ack_timer.slot) return false;
  loop_timer_clear(f->loop, &f->r.ack_timer);
  f->r.ack_timer.on_expire(&f->r.ack_timer);
  return true;
}

static void test_acks(struct test_run *t)
{
  struct fixture f;
  if (!fixture_open_session(t, &f, 1000000)) return;
  size_t sends = f.pipe.sends;
  CHECK(t, !expire(&f)); /* nothing to tell, no timer */
  fixture_feed_zeros(&f, PROTOCOL_LAST, 100);
  uint64_t when = f.r.ack_timer.when;
  fixture_feed_zeros(&f, PROTOCOL_LAST, 100);
  CHECK_INT(t, f.r.ack_timer.when, when); /* it is armed once */
  CHECK_INT(t, f.pipe.sends, sends);
  /* with a message, in one send */
  fixture_add(&f, 10);
  resumable_flush(&f.r);
  CHECK_INT(t, f.pipe.sends, ++sends);
  CHECK_INT(t, f.pipe.wire.len, 4 + 24 + 4 + 10);
  CHECK_INT(t, f.pipe.wire.data[3], PROTOCOL_ACK);
  CHECK_INT(t, f.pipe.wire.data[4], 2);
  CHECK(t, expire(&f));
  CHECK_INT(t, f.pipe.sends, sends); /* it was told already */
  /* alone, after the delay */
  fixture_feed_zeros(&f, PROTOCOL_LAST, 100);
  CHECK(t, expire(&f));
  CHECK_INT(t, f.pipe.sends, ++sends);
  /* when a quarter of the window has arrived */
  for (int i = 0; i < RESUMABLE_WINDOW / 4 / CHANNEL_MAX_FRAME; i++) {
    CHECK_INT(t, f.pipe.sends, sends);
    fixture_feed_zeros(&f, PROTOCOL_LAST, CHANNEL_MAX_FRAME);
  }
  CHECK_INT(t, f.pipe.sends, ++sends);
  /* not more bytes while held; all at once afterwards */
  uint64_t granted = f.r.granted.bytes;
  resumable_hold(&f.r, true);
  for (int i = 0; i < RESUMABLE_WINDOW / 4 / CHANNEL_MAX_FRAME; i++)
    fixture_feed_zeros(&f, PROTOCOL_LAST, CHANNEL_MAX_FRAME);
  CHECK(t, expire(&f));
  CHECK_INT(t, f.pipe.sends, ++sends);
  CHECK_INT(t, f.r.granted.bytes, granted);
  CHECK_INT(t, f.r.granted.received, f.messages);
  resumable_hold(&f.r, false);
  CHECK_INT(t, f.pipe.sends, ++sends);
  CHECK_INT(t, f.r.granted.bytes, granted + RESUMABLE_WINDOW / 4);
  /* tasks */
  resumable_grant_tasks(&f.r, 7);
  resumable_grant_tasks(&f.r, 6);
  CHECK(t, expire(&f));
  CHECK_INT(t, f.pipe.sends, ++sends);
  CHECK_INT(t, f.pipe.wire.data[f.pipe.wire.len - 8], 7);
  fixture_close(&f);
}

/* ---- sending ---- */

static bool is_inside(const void *place, const struct buf *b)
{
  const uint8_t *p = place;
  return p >= b->data && p < b->data + b->len;
}

/* Large messages are handed over where they are, small ones in one part. */
static void test_parts(struct test_run *t)
{
  struct fixture f;
  if (!fixture_open_session(t, &f, RESUMABLE_WINDOW)) return;
  size_t sends = f.pipe.sends;
  fixture_add(&f, 100);
  f.pipe.room = 0;
  resumable_flush(&f.r);
  CHECK_INT(t, f.pipe.sends, ++sends);
  CHECK_INT(t, f.pipe.count, 1);
  CHECK_INT(t, f.pipe.parts[0].iov_len, 104);
  fixture_add(&f, RESUMABLE_MESSAGE);
  fixture_add(&f, 1000000);
  resumable_flush(&f.r);
  CHECK_INT(t, f.pipe.sends, sends); /* one at a time */
  pipe_take(&f.pipe, SIZE_MAX);
  CHECK_INT(t, f.pipe.sends, ++sends);
  struct resumable_message *m = STAILQ_NEXT(STAILQ_FIRST(&f.r.sent), link);
  CHECK_INT(t, f.pipe.count, 4); /* LAST, slice, PART, slice */
  CHECK(t, f.pipe.parts[1].iov_base == m->bytes.data);
  CHECK_INT(t, f.pipe.parts[1].iov_len, RESUMABLE_MESSAGE);
  m = STAILQ_NEXT(m, link);
  CHECK(t, f.pipe.parts[3].iov_base == m->bytes.data);
  CHECK_INT(t, f.pipe.parts[3].iov_len, CHANNEL_MAX_FRAME);
  pipe_take(&f.pipe, SIZE_MAX);
  CHECK_INT(t, f.pipe.parts[0].iov_len, 4);
  CHECK(t, is_inside(f.pipe.parts[1].iov_base, &m->bytes));
  for (int i = 0; i < 10; i++) pipe_take(&f.pipe, SIZE_MAX);
  CHECK_INT(t, f.pipe.count, 0);
  CHECK_INT(t, f.pipe.wire.len, 104 + 4 + RESUMABLE_MESSAGE + 4 * 4 + 1000000);
  fixture_close(&f);
}

/* A request waits for one send at most, whatever is queued. */
static void test_control_before_bulk(struct test_run *t)
{
  struct fixture f;
  struct err e;
  if (!fixture_open_session(t, &f, RESUMABLE_WINDOW)) return;
  f.pipe.room = 0;
  for (int i = 0; i < 15; i++) fixture_add(&f, 1024 * 1024);
  resumable_flush(&f.r);
  pipe_take(&f.pipe, 1);
  CHECK(t, channel_request(f.c, "beat", 4, fixture_on_reply, &f, &e));
  pipe_take(&f.pipe, SIZE_MAX);
  CHECK(t, f.pipe.wire.len <= CHANNEL_MAX_FRAME + 8);
  CHECK_BYTES(t, f.pipe.parts[0].iov_base, 12, "\10\0\0\1\1\0\0\0beat", 12);
  for (int i = 0; i < 1000 && f.pipe.count; i++) pipe_take(&f.pipe, SIZE_MAX);
  CHECK(t, f.pipe.largest <= 2 * CHANNEL_MAX_FRAME + 100);
  fixture_close(&f);
}

/* The memory of a send lives until the carrier is done with it. */
static void test_memory_of_send(struct test_run *t)
{
  for (int how = 0; how < 5; how++) {
    struct fixture f;
    struct err e;
    struct resumable_ack ack = {0};
    if (!fixture_open_session(t, &f, RESUMABLE_WINDOW)) return;
    f.pipe.room = 1000;
    fixture_add(&f, RESUMABLE_MESSAGE);
    fixture_add(&f, 1000000);
    resumable_flush(&f.r); /* under way: one whole, one cut */
    CHECK_INT(t, f.pipe.count, 3);
    switch (how) {
    case 0: resumable_detach(&f.r); break;
    case 1: resumable_free(&f.r); break;
    case 2: fixture_feed_ack(&f, 2, RESUMABLE_WINDOW, 0); break;
    case 3: /* another session on this channel */
      resumable_free(&f.r);
      resumable_init(&f.r, f.loop, 0, &fixture_session_events, &f);
      channel_attach(f.c, &f.r);
      CHECK_INT(t, resumable_resume(&f.r, &ack, &e), 0);
      break;
    case 4:
      channel_close(f.c);
      f.c = NULL;
      resumable_free(&f.r);
      break;
    }
    for (int i = 0; i < 200; i++) pipe_take(&f.pipe, 10000);
    CHECK_INT(t, f.pipe.count, 0);
    if (how == 2) {
      CHECK_INT(t, f.ended, 0);
      CHECK_INT(t, resumable_bytes(&f.r), 0);
      CHECK_INT(t, f.pipe.wire.len, 4 + RESUMABLE_MESSAGE + 4 * 4 + 1000000);
    } else if (how < 4) {
      CHECK_INT(t, f.pipe.wire.len,
                4 + RESUMABLE_MESSAGE + 4 + CHANNEL_MAX_FRAME);
    }
    fixture_close(&f);
  }
}

/* Messages of no session are dropped, and so is the rest of one. */
static void test_messages_of_nobody(struct test_run *t)
{
  struct fixture f;
  struct err e;
  struct resumable_ack ack = {0};
  if (!fixture_open(t, &f)) return;
  fixture_feed_zeros(&f, PROTOCOL_PART, CHANNEL_MAX_FRAME);
  fixture_feed_ack(&f, 77, 77, 77);
  pipe_feed(&f.pipe, "\5\0\0\5ab", 6); /* attached amid a frame */
  channel_attach(f.c, &f.r);
  CHECK_INT(t, resumable_resume(&f.r, &ack, &e), 0);
  pipe_feed(&f.pipe, "cde", 3);
  CHECK_INT(t, f.messages, 0);
  fixture_feed(&f, PROTOCOL_PART, "ab", 2);
  pipe_feed(&f.pipe, "\5\0\0\1\1\0", 6); /* detached amid a request */
  resumable_detach(&f.r);
  channel_attach(f.c, &f.r);
  CHECK_INT(t, resumable_resume(&f.r, &ack, &e), 0);
  pipe_feed(&f.pipe, "\0\0x", 3);
  CHECK_INT(t, f.requests, 1);
  fixture_feed(&f, PROTOCOL_LAST, "abcd", 4);
  CHECK_INT(t, f.messages, 1);
  CHECK_INT(t, f.bytes, 1 + 4);
  CHECK_INT(t, f.r.received_bytes, 4);
  fixture_close(&f);
}

static void test_offer(struct test_run *t)
{
  struct resumable r;
  struct resumable_ack ack;
  struct err e;
  struct loop *loop = loop_new(&e);
  if (!CHECK(t, loop)) return;
  memset(&r, 0, sizeof(r));
  resumable_free(&r);
  resumable_init(&r, loop, 42, &fixture_session_events, NULL);
  CHECK_INT(t, resumable_number(&r), 0);
  CHECK(t, !resumable_has_room(&r));
  resumable_offer(&r, &ack);
  CHECK_INT(t, ack.received, 0);
  CHECK_INT(t, ack.bytes, RESUMABLE_WINDOW);
  CHECK_INT(t, ack.tasks, 42);
  ack = (struct resumable_ack){.bytes = 100};
  CHECK_INT(t, resumable_resume(&r, &ack, &e), 0);
  ack.bytes = 99;
  CHECK(t, resumable_is_stale(&r, &ack));
  ack.bytes = 100;
  CHECK(t, !resumable_is_stale(&r, &ack));
  buf_add(resumable_message(&r), "x", 1);
  CHECK_INT(t, resumable_number(&r), 1);
  CHECK_INT(t, resumable_bytes(&r), 1);
  struct buf *b = resumable_message(&r);
  CHECK(t, !buf_room(b, PROTOCOL_MAX_MESSAGE));
  CHECK(t, resumable_failed(&r));
  resumable_free(&r);
  loop_free(loop);
}

const struct test resumable_tests[] = {
    {"resumable: bad acknowledgements", test_bad_acks},
    {"resumable: a sender keeps the limit", test_sender_keeps_limit},
    {"resumable: a sender keeps the window", test_sender_keeps_window},
    {"resumable: a receiver enforces its limit", test_receiver_keeps_limit},
    {"resumable: a message over the maximum", test_message_over_maximum},
    {"resumable: a malformed message", test_malformed_message},
    {"resumable: acknowledgements", test_acks},
    {"resumable: parts of a send", test_parts},
    {"resumable: control before bulk", test_control_before_bulk},
    {"resumable: memory of a send", test_memory_of_send},
    {"resumable: messages of no session", test_messages_of_nobody},
    {"resumable: offer", test_offer},
    {NULL, NULL},
};
