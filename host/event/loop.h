/* SPDX-License-Identifier: MIT */
/* struct loop: the event loop. It has file descriptors (epoll), timers (a heap
 * on the monotonic clock), hooks, and a mailbox, which is the only way for
 * other threads to reach it. A loop belongs to one thread; every function is
 * [loop] (that thread only) unless marked [any].
 *
 * The caller owns the objects that it registers, embedded in its own structs;
 * the loop keeps pointers. An object may be removed inside any callback; its
 * pending events of this iteration are then discarded. */
#ifndef MF_LOOP_H
#define MF_LOOP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/queue.h>

struct loop;

/* NULL and `e` on failure. */
struct loop *loop_new(struct err *e);

/* All descriptors, timers and hooks must have been removed. Delivers the
 * messages in the mailbox and waits for those that are expected (see
 * loop_expect), for at most 5 s. Accepts NULL. */
void loop_free(struct loop *loop);

/* Runs until loop_stop. Returns 0, or -1 when epoll itself fails. */
int loop_run(struct loop *loop, struct err *e);

/* Makes loop_run return after this iteration. */
void loop_stop(struct loop *loop);

/* Monotonic nanoseconds, read now. [any] */
uint64_t loop_clock(void);

#define LOOP_MS ((uint64_t)1000000)
#define LOOP_S ((uint64_t)1000000000)

/* ---- file descriptors ---- */

struct loop_io {
  int fd;
  void (*on_ready)(struct loop_io *io, uint32_t events);
};

/* Registers level-triggered interest in `events` (EPOLLIN, EPOLLOUT); the
 * caller has set `io->fd` and `io->on_ready`. Returns 0, or -1 and `e`, with
 * kind "file" for a regular file, which epoll does not accept. */
int loop_io_add(struct loop *loop, struct loop_io *io, uint32_t events,
                struct err *e);
int loop_io_set(struct loop *loop, struct loop_io *io, uint32_t events,
                struct err *e);
/* Does not close the descriptor; must be called before it is closed. */
void loop_io_remove(struct loop *loop, struct loop_io *io);

/* ---- timers ---- */

struct loop_timer {
  void (*on_expire)(struct loop_timer *timer);
  uint64_t when; /* internal */
  size_t slot;   /* 0: not armed; else internal, the place in the heap */
};

/* Arms (or re-arms) the timer to expire once, in `ns` nanoseconds. Returns 0,
 * or -1 when memory is out. */
int loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t ns);
/* Does nothing when the timer is not armed. */
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

/* ---- spinning ---- */

/* Waking an idle core takes longer than many a reply from another process. The
 * owner of a descriptor may therefore announce that replies on it come soon,
 * and withdraw that. Meanwhile the loop polls for LOOP_SPIN, yielding the core
 * each time, before it sleeps, provided that it has lately not slept for long:
 * an idle loop does not spin. It stops, for a growing while, when spinning does
 * not help or others need the core. Not for loops to which other threads post
 * the replies: those threads need the core. */
void loop_expect_soon(struct loop *loop, bool soon);
#define LOOP_SPIN ((uint64_t)50000) /* 50 us */

/* ---- hooks ---- */

struct loop_hook {
  /* Runs at the end of every iteration. Returns true when there is more to do
   * at once, so that the loop must not sleep. */
  bool (*run)(struct loop_hook *hook);
  LIST_ENTRY(loop_hook) link; /* internal */
};

/* The hook that was added last runs first: what a program adds before it makes
 * Lua states runs after their tasks. A hook may remove itself, no other. */
void loop_hook_add(struct loop *loop, struct loop_hook *hook);
void loop_hook_remove(struct loop_hook *hook);

/* ---- mailbox ---- */

struct loop_msg {
  void (*deliver)(struct loop_msg *msg); /* runs on the loop's thread */
  STAILQ_ENTRY(loop_msg) link;           /* internal */
};

/* [any] Queues `msg` and wakes the loop. The memory is the caller's, who must
 * leave it alone until it is delivered. Blocks for a short mutex at most. */
void loop_post(struct loop *loop, struct loop_msg *msg);

/* loop_expect announces a message that another thread will post; loop_received
 * balances it. loop_free waits until they match. */
void loop_expect(struct loop *loop);
void loop_received(struct loop *loop);

/* Delivers the messages that are in the mailbox now, for orderly shutdown. */
void loop_drain(struct loop *loop);

#endif
