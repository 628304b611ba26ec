/* SPDX-License-Identifier: MIT */
/* struct fixture: a channel, with or without a session, whose peer is the test:
 * it feeds bytes and looks at what is sent. */
#ifndef MF_CHANNEL_FIXTURE_H
#define MF_CHANNEL_FIXTURE_H

#include "../test.h"
#include "net/channel_internal.h"
#include "pipe_carrier.h"

#define PREFACE "moonfleet/5\n"

struct fixture {
  struct test_run *t;
  struct loop *loop;
  struct pipe_end pipe, peer;
  struct channel *c;
  struct resumable r;
  int ready, ended, requests, replies, lost, messages, rooms;
  uint32_t id; /* of the last request */
  size_t bytes;
  size_t reply_size; /* replied to each request; 0: not */
  bool closes;       /* in the next callback */
  int result;        /* of on_message */
  struct err reason;
};

extern const struct resumable_events fixture_session_events;

/* Each opens and returns true, or fails the test. */
bool fixture_open_with(struct test_run *t, struct fixture *f,
                       struct channel_options options);
/* A channel that is ready. */
bool fixture_open(struct test_run *t, struct fixture *f);
/* And one with a session, whose peer grants that many bytes. */
bool fixture_open_session(struct test_run *t, struct fixture *f,
                          uint64_t bytes);
void fixture_close(struct fixture *f);

/* Appends an element of that many bytes; the session must be flushed. */
void fixture_add(struct fixture *f, size_t len);
/* Counts a reply, or that there is none. `arg` is the fixture. */
void fixture_on_reply(void *arg, const uint8_t *data, size_t len,
                      const struct err *e);

/* Feeds a frame; one whose content is zeros; a request; an acknowledgement. */
void fixture_feed(struct fixture *f, int kind, const void *data, size_t len);
void fixture_feed_zeros(struct fixture *f, int kind, size_t len);
void fixture_feed_request(struct fixture *f, uint32_t id);
void fixture_feed_ack(struct fixture *f, uint64_t received, uint64_t bytes,
                      uint64_t tasks);

/* Checks that the channel has ended once, with this kind, and this in its text
 * (NULL: any). */
void fixture_expect_end(struct fixture *f, const char *kind, const char *text);

#endif
