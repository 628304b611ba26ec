/* SPDX-License-Identifier: MIT */
/* One channel: what its peer may send first, bad frames, requests. */
#include "base/fault.h"
#include "channel_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct test channel_tests[];

/* ---- the preface ---- */

static void test_preface(struct test_run *t)
{
  static const struct {
    const char *bytes;
    size_t len;
    bool skip_noise;
    const char *kind, *text; /* of the end; NULL: none */
  } cases[] = {
#define BYTES(s) s, sizeof(s) - 1
      {BYTES(PREFACE), false, NULL, NULL},
      {BYTES(PREFACE), true, NULL, NULL},
      {BYTES("moonfleet/6\n"), false, "skew",
       "it speaks protocol 6, this is 5"},
      {BYTES("moonfleet/50\n"), false, "skew", "it speaks protocol 50"},
      {BYTES("moonfleet/4\n"), true, "skew", "it speaks protocol 4, this is 5"},
      {BYTES("\0SP\0\0\x30\0\0"), false, "skew", "protocol 4 or older"},
      {BYTES("\0SPx"), false, "protocol", "it begins with \"\\x00SPx\""},
      {BYTES("HTTP/1.1 400 Bad Request\r\n\r\n"), false, "protocol",
       "it is not moonfleet: it begins with \"HTTP/1.1 400 Bad "
       "Request\\x0d\\n"},
      {BYTES("SSH-2.0-OpenSSH_9.2p1 \"x\\\xff\r\n"), false, "protocol",
       "\"SSH-2.0-OpenSSH_9.2p1 \\x22x\\x5c\\xff\\x0d\\n\""},
      {BYTES("\x15\3\3\0\2\2\x28"), false, "protocol", "--tls"},
      {BYTES("\x16\3\1\2\0\1"), false, "protocol", "it speaks TLS"},
      {BYTES("moonfleet/\n"), false, "protocol", "not moonfleet"},
      {BYTES("moonfleet/5\r\n"), false, "protocol", "moonfleet/5\\x0d"},
      {BYTES("moonfleet/1234567890\n"), false, "protocol", "not moonfleet"},
      {BYTES("Moonfleet/5\n"), false, "protocol", "not moonfleet"},
      {BYTES("Last login: today\nmoonfleet/5\n"), true, NULL, NULL},
      {BYTES("no line feed moonfleet/5\n"), true, NULL, NULL},
      {BYTES("moonfleet/ moonfleet/x\nmoonmoonfleet/5\n"), true, NULL, NULL},
      {BYTES("\0SP\0\xff\x15\3moonfleet/5\n"), true, NULL, NULL},
      {BYTES("motd\nmoonfleet/7\n"), true, "skew", "it speaks protocol 7"},
#undef BYTES
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    for (size_t step = 1; step <= cases[i].len; step += cases[i].len - 1) {
      struct fixture f;
      if (!fixture_open_with(
              t, &f,
              (struct channel_options){.skip_noise = cases[i].skip_noise}))
        return;
      /* what is shown is what has arrived: all, if it comes at once */
      bool whole = step > 1;
      for (size_t at = 0; at < cases[i].len; at += step)
        pipe_feed(&f.pipe, cases[i].bytes + at,
                  cases[i].len - at < step ? cases[i].len - at : step);
      CHECK_INT(t, f.ready, !cases[i].kind);
      if (!cases[i].kind)
        CHECK_INT(t, f.ended, 0);
      else
        fixture_expect_end(&f, cases[i].kind,
                           whole || *cases[i].kind == 's' ? cases[i].text
                                                          : NULL);
      fixture_close(&f);
    }
  }
}

static void test_noise(struct test_run *t)
{
  static char noise[PREFACE_MAX_NOISE];
  static const size_t cases[] = {sizeof(noise) - strlen(PREFACE),
                                 sizeof(noise) - strlen(PREFACE) + 1};
  memset(noise, 'm', sizeof(noise));
  for (size_t i = 0; i < 2; i++) {
    struct fixture f;
    if (!fixture_open_with(t, &f, (struct channel_options){.skip_noise = true}))
      return;
    pipe_feed(&f.pipe, noise, cases[i]);
    pipe_feed(&f.pipe, PREFACE, strlen(PREFACE));
    CHECK_INT(t, f.ready, i == 0);
    if (i == 1)
      fixture_expect_end(&f, "protocol",
                         "in its first 64 KiB, which begin with \"mmm");
    fixture_close(&f);
  }
}

/* One that ends before its preface may have printed why. */
static void test_end_before_preface(struct test_run *t)
{
  struct fixture f;
  if (!fixture_open_with(t, &f, (struct channel_options){.skip_noise = true}))
    return;
  pipe_feed(&f.pipe, "sh: moonfleet: not found\n", 25);
  pipe_break(&f.pipe);
  fixture_expect_end(&f, "lost",
                     "the connection broke; it began with \"sh: moonfleet: not "
                     "found\\n\"");
  CHECK_INT(t, f.ready, 0);
  fixture_close(&f);
}

static void test_wait_for_peer(struct test_run *t)
{
  struct fixture f;
  struct err e;
  if (!fixture_open_with(t, &f,
                         (struct channel_options){.wait_for_peer = true}))
    return;
  CHECK(t, channel_request(f.c, "x", 1, fixture_on_reply, &f, &e));
  CHECK_INT(t, f.pipe.wire.len, 0);
  pipe_feed(&f.pipe, PREFACE, strlen(PREFACE));
  CHECK_BYTES(t, f.pipe.wire.data, f.pipe.wire.len, PREFACE "\5\0\0\1\1\0\0\0x",
              strlen(PREFACE) + 9);
  fixture_close(&f);
}

static void test_closed_when_ready(struct test_run *t)
{
  struct fixture f;
  if (!fixture_open_with(t, &f, (struct channel_options){0})) return;
  f.closes = true;
  pipe_feed(&f.pipe, PREFACE "\5\0\0\1\1\0\0\0x", strlen(PREFACE) + 9);
  CHECK_INT(t, f.ready, 1);
  CHECK_INT(t, f.requests, 0);
  fixture_close(&f);
}

/* ---- bad frames ---- */

static void test_bad_frames(struct test_run *t)
{
  static const struct {
    int kind;
    size_t len;
    const char *text;
  } cases[] = {
      {0, 4, "a frame of unknown kind 0"},
      {6, 4, "a frame of unknown kind 6"},
      {255, 4, "a frame of unknown kind 255"},
      {PROTOCOL_REQUEST, CHANNEL_MAX_FRAME + 1,
       "a frame of 262145 bytes, over the limit of 262144"},
      {PROTOCOL_LAST, 0xffffff, "a frame of 16777215 bytes"},
      {PROTOCOL_REQUEST, 3, "without an id"},
      {PROTOCOL_REPLY, 0, "without an id"},
      {PROTOCOL_REPLY, 4, "replied to request 0, which is not open"},
      {PROTOCOL_ACK, 23, "an acknowledgement of 23 bytes, not 24"},
      {PROTOCOL_ACK, 25, "an acknowledgement of 25 bytes, not 24"},
      {PROTOCOL_PART, 0, "an empty piece"},
      {PROTOCOL_LAST, 0, "an empty piece"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct fixture f;
    if (!fixture_open_session(t, &f, 0)) return;
    fixture_feed_zeros(&f, cases[i].kind, cases[i].len);
    fixture_expect_end(&f, "protocol", cases[i].text);
    CHECK_INT(t, f.messages + f.requests + f.replies, 0);
    CHECK(t, f.pipe.paused);
    fixture_close(&f);
  }
}

static void test_end_is_reported_once(struct test_run *t)
{
  struct fixture f;
  if (!fixture_open(t, &f)) return;
  struct err e;
  uint32_t id = channel_request(f.c, "x", 1, fixture_on_reply, &f, &e);
  CHECK(t, id);
  CHECK(t, channel_request(f.c, "x", 1, NULL, NULL, &e));
  pipe_feed(&f.pipe, "\1\0", 2); /* half of a head */
  pipe_break(&f.pipe);
  fixture_expect_end(&f, "lost", "the connection broke");
  CHECK_INT(t, f.lost, 1);
  CHECK_INT(t, channel_request(f.c, "x", 1, fixture_on_reply, &f, &e), 0);
  CHECK_STR(t, e.kind, "lost");
  channel_reply(f.c, 1, "x", 1);
  channel_cancel(f.c, id);
  loop_drain(f.loop);
  CHECK_INT(t, f.ended, 1);
  CHECK_INT(t, f.lost, 1);
  fixture_close(&f);
}

/* ---- requests ---- */

static void test_requests(struct test_run *t)
{
  struct fixture f;
  struct err e;
  if (!fixture_open(t, &f)) return;
  uint8_t *large = calloc(1, CHANNEL_MAX_REQUEST + 1);
  CHECK_INT(t,
            channel_request(f.c, large, CHANNEL_MAX_REQUEST + 1,
                            fixture_on_reply, &f, &e),
            0);
  CHECK_STR(t, e.kind, "too_large");
  for (uint32_t i = 1; i <= CHANNEL_MAX_REQUESTS; i++)
    CHECK_INT(t, channel_request(f.c, large, 1, fixture_on_reply, &f, &e), i);
  CHECK_INT(t, channel_request(f.c, large, 1, fixture_on_reply, &f, &e), 0);
  CHECK_STR(t, e.kind, "refused");
  CHECK_STR(t, e.text, "1024 requests to pipe 0 are without a reply");
  /* replies in another order; one that was cancelled; one that is whole */
  channel_cancel(f.c, 3);
  channel_cancel(f.c, 9999);
  fixture_feed(&f, PROTOCOL_REPLY, "\4\0\0\0four", 8);
  fixture_feed(&f, PROTOCOL_REPLY, "\3\0\0\0three", 9);
  fixture_feed(&f, PROTOCOL_REPLY, "\1\0\0\0", 4);
  CHECK_INT(t, f.replies, 2);
  CHECK_INT(t, f.bytes, 4);
  CHECK(t, channel_request(f.c, large, CHANNEL_MAX_REQUEST, fixture_on_reply,
                           &f, &e));
  fixture_feed(&f, PROTOCOL_REPLY, "\4\0\0\0four", 8);
  fixture_expect_end(&f, "protocol", "replied to request 4, which is not open");
  CHECK_INT(t, f.lost, CHANNEL_MAX_REQUESTS - 3 + 1);
  free(large);
  fixture_close(&f);
}

static void test_bad_requests(struct test_run *t)
{
  struct fixture f;
  if (!fixture_open(t, &f)) return;
  fixture_feed_request(&f, 7);
  fixture_feed_request(&f, 8);
  channel_reply(f.c, 7, "x", 1);
  channel_reply(f.c, 7, "x", 1); /* nobody asked */
  CHECK_INT(t, f.pipe.wire.len, 9);
  fixture_feed_request(&f, 7);
  CHECK_INT(t, f.requests, 3);
  fixture_feed_request(&f, 8);
  fixture_expect_end(&f, "protocol", "it repeats request 8 before the reply");
  fixture_close(&f);

  if (!fixture_open(t, &f)) return;
  for (uint32_t i = 0; i < CHANNEL_MAX_REQUESTS; i++)
    fixture_feed_request(&f, i);
  CHECK_INT(t, f.ended, 0);
  fixture_feed_request(&f, CHANNEL_MAX_REQUESTS);
  fixture_expect_end(&f, "protocol", "more than 1024 requests without a reply");
  fixture_close(&f);

  if (!fixture_open(t, &f)) return;
  f.reply_size = CHANNEL_MAX_REQUEST + 1;
  fixture_feed_request(&f, 1);
  fixture_expect_end(&f, "protocol",
                     "a reply of 262141 bytes is over the limit");
  fixture_close(&f);
}

/* A peer that asks and does not read is not read, and then goes on. */
static void test_unread_replies(struct test_run *t)
{
  struct fixture f;
  if (!fixture_open(t, &f)) return;
  enum { COUNT = 5000, REPLY = 10000 };
  uint8_t *flood = calloc(COUNT, 9);
  for (int i = 0; i < COUNT; i++) {
    memcpy(flood + i * 9, "\5\0\0\1", 4);
    memcpy(flood + i * 9 + 4, &i, 4);
  }
  f.reply_size = REPLY;
  f.pipe.room = 0;
  f.pipe.carrier.events->on_bytes(f.c, flood, COUNT * (size_t)9);
  CHECK(t, f.pipe.paused);
  CHECK_INT(t, f.requests, CHANNEL_MAX_REPLIES / (REPLY + 8) + 1);
  CHECK_INT(t, f.c->unread.len, (size_t)(COUNT - f.requests) * 9);
  f.pipe.carrier.events->on_bytes(f.c, flood, 2); /* that was under way */
  for (int i = 0; i < 100 && (f.pipe.paused || f.pipe.count); i++) {
    pipe_take(&f.pipe, SIZE_MAX);
    CHECK(t, f.pipe.wire.len <= CHANNEL_MAX_REPLIES + 2 * (REPLY + 8));
    buf_clear(&f.pipe.wire);
    loop_drain(f.loop);
  }
  CHECK(t, !f.pipe.paused);
  CHECK_INT(t, f.requests, COUNT);
  CHECK_INT(t, f.ended, 0);
  /* the same with a carrier that takes all at once */
  f.pipe.room = SIZE_MAX;
  pipe_feed(&f.pipe, flood + 2, 7);
  for (int i = 1; i <= COUNT - 400; i += 400)
    f.pipe.carrier.events->on_bytes(f.c, flood + i * 9, 400 * 9);
  free(flood);
  for (int i = 0; i < 100 && f.pipe.paused; i++) loop_drain(f.loop);
  CHECK(t, !f.pipe.paused);
  CHECK(t, f.requests > 2 * COUNT - 400);
  CHECK_INT(t, f.c->unread.len, 0);
  fixture_close(&f);
}

static void test_close_in_callbacks(struct test_run *t)
{
  struct err e;
  for (int which = 0; which < 4; which++) {
    struct fixture f;
    if (!fixture_open_session(t, &f, 0)) return;
    CHECK(t, channel_request(f.c, "x", 1, fixture_on_reply, &f, &e));
    CHECK(t, channel_request(f.c, "x", 1, fixture_on_reply, &f, &e));
    f.closes = true;
    switch (which) {
    case 0: fixture_feed_request(&f, 1); break;
    case 1: fixture_feed(&f, PROTOCOL_REPLY, "\1\0\0\0x", 5); break;
    case 2:
      fixture_feed_zeros(&f, PROTOCOL_LAST, 5000);
      break;                            /* in two pieces */
    case 3: pipe_break(&f.pipe); break; /* in on_reply */
    }
    CHECK(t, !f.c);
    CHECK(t, f.pipe.closed);
    CHECK(t, !f.r.channel);
    CHECK_INT(t, f.requests + f.messages + f.replies + f.lost, 1);
    CHECK_INT(t, f.ended, 0);
    loop_drain(f.loop);
    fixture_close(&f);
  }
}

/* ---- faults ---- */

static void test_faults(struct test_run *t)
{
  static const struct {
    const char *fault;
    int sent; /* bytes of two requests of 9 bytes */
    bool ends;
  } cases[] = {
      {"send:break@3", 9, true},      {"send:truncate@3", 9 + 4, true},
      {"send:delay=100@3", 9, false}, {"receive:break@2", 18, true},
      {"other:break", 18, false},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct fixture f;
    struct err e;
    CHECK_INT(t, fault_init(cases[i].fault, NULL, &e), 0);
    if (fixture_open(t, &f)) {
      CHECK(t, channel_request(f.c, "x", 1, fixture_on_reply, &f, &e));
      CHECK(t, channel_request(f.c, "x", 1, fixture_on_reply, &f, &e));
      fixture_feed_request(&f, 1);
      loop_drain(f.loop);
      CHECK_INT(t, f.pipe.wire.len, cases[i].sent);
      if (cases[i].ends)
        fixture_expect_end(&f, "lost",
                           "a fault broke the channel (MOONFLEET_FAULT)");
      if (f.c->delay.slot) { /* what is late goes first, and in order */
        CHECK(t, channel_request(f.c, "x", 1, fixture_on_reply, &f, &e));
        loop_timer_clear(f.loop, &f.c->delay);
        f.c->delay.on_expire(&f.c->delay);
        CHECK_INT(t, f.pipe.wire.len, 27);
        CHECK_INT(t, f.pipe.wire.data[13], 2);
        CHECK_INT(t, f.pipe.wire.data[22], 3);
      }
      fixture_close(&f);
    }
    fault_init(NULL, NULL, &e);
  }
}

const struct test channel_tests[] = {
    {"channel: preface", test_preface},
    {"channel: noise before the preface", test_noise},
    {"channel: end before the preface", test_end_before_preface},
    {"channel: waits for the peer", test_wait_for_peer},
    {"channel: closed when it is ready", test_closed_when_ready},
    {"channel: bad frames", test_bad_frames},
    {"channel: its end is reported once", test_end_is_reported_once},
    {"channel: requests", test_requests},
    {"channel: bad requests", test_bad_requests},
    {"channel: unread replies", test_unread_replies},
    {"channel: closed in callbacks", test_close_in_callbacks},
    {"channel: faults", test_faults},
    {NULL, NULL},
};
