/* SPDX-License-Identifier: MIT */
/* Channels whose unfinished messages share their memory. */
#include "channel_fixture.h"

#include <string.h>

extern const struct test assembly_tests[];

enum { A, B, C, CHANNELS };

static bool open_all(struct test_run *t, struct fixture *f,
                     struct assembly_set *set)
{
  struct resumable_ack ack = {0};
  struct err e;
  assembly_set_init(set);
  set->max = 6 * CHANNEL_MAX_FRAME;
  for (int i = 0; i < CHANNELS; i++) {
    if (!fixture_open_with(t, &f[i],
                           (struct channel_options){.unfinished = set}))
      return false;
    pipe_feed(&f[i].pipe, PREFACE, strlen(PREFACE));
    channel_attach(f[i].c, &f[i].r);
    CHECK_INT(t, resumable_resume(&f[i].r, &ack, &e), 0);
  }
  return true;
}

static void part(struct fixture *f)
{
  fixture_feed_zeros(f, PROTOCOL_PART, CHANNEL_MAX_FRAME);
}

static void test_quietest_makes_room(struct test_run *t)
{
  struct fixture f[CHANNELS];
  struct assembly_set set;
  if (!open_all(t, f, &set)) return;
  part(&f[A]);
  part(&f[B]);
  part(&f[A]);
  part(&f[C]);
  part(&f[C]);
  CHECK_INT(t, set.bytes, 5 * CHANNEL_MAX_FRAME);
  part(&f[C]); /* room for 4; B has got nothing for longest */
  CHECK_INT(t, set.bytes, set.max);
  for (int i = 0; i < CHANNELS; i++) loop_drain(f[i].loop);
  fixture_expect_end(&f[B], "lost", "messages of others need the room");
  CHECK_INT(t, f[A].ended + f[C].ended, 0);
  part(&f[B]); /* nobody reads it */
  CHECK_INT(t, set.bytes, set.max);
  /* the others go on to their ends */
  fixture_feed(&f[C], PROTOCOL_LAST, "x", 1);
  CHECK_INT(t, f[C].messages, 1);
  CHECK_INT(t, f[C].bytes, 3 * CHANNEL_MAX_FRAME + 1);
  CHECK_INT(t, set.bytes, 2 * CHANNEL_MAX_FRAME);
  fixture_feed(&f[A], PROTOCOL_LAST, "x", 1);
  CHECK_INT(t, f[A].messages, 1);
  CHECK_INT(t, set.bytes, 0);
  for (int i = 0; i < CHANNELS; i++) fixture_close(&f[i]);
}

static void test_ends(struct test_run *t)
{
  struct fixture f[CHANNELS];
  struct assembly_set set;
  if (!open_all(t, f, &set)) return;
  for (int i = 0; i < CHANNELS; i++) part(&f[i]);
  CHECK_INT(t, set.bytes, 3 * CHANNEL_MAX_FRAME);
  resumable_detach(&f[A].r);
  CHECK_INT(t, set.bytes, 2 * CHANNEL_MAX_FRAME);
  pipe_break(&f[B].pipe);
  CHECK_INT(t, set.bytes, CHANNEL_MAX_FRAME);
  for (int i = 0; i < CHANNELS; i++) fixture_close(&f[i]);
  CHECK_INT(t, set.bytes, 0);
  CHECK(t, TAILQ_EMPTY(&set.all));
}

const struct test assembly_tests[] = {
    {"assembly: the quietest makes room", test_quietest_makes_room},
    {"assembly: ends of channels", test_ends},
    {NULL, NULL},
};
