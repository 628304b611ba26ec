/* SPDX-License-Identifier: MIT */
/* This unit provides the event loop: file descriptors (epoll), timers (a heap
 * on the monotonic clock) and a mailbox, the one door by which other threads
 * reach the loop. One loop belongs to one thread; every function is [loop]
 * (that thread only) unless marked [any].
 *
 * Objects registered with a loop are owned by the caller, embedded in its own
 * structs; the loop keeps pointers. Removing an object from inside any
 * callback is allowed, its pending events of this turn are forgotten. */
#ifndef MF_LOOP_H
#define MF_LOOP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;

/* NULL and `e` on failure. */
struct loop *loop_new(struct err *e);

/* All io, timers and hooks must have been removed; messages still in the
 * mailbox, and those that are expected (see loop_expect), are delivered first.
 * Accepts NULL. */
void loop_free(struct loop *loop);

/* Runs until loop_stop. Returns 0, or -1 when epoll itself fails. */
int loop_run(struct loop *loop, struct err *e);

/* Makes loop_run return after this turn. */
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

/* Level-triggered interest in `events` (EPOLLIN, EPOLLOUT); `io->fd` and
 * `io->on_ready` are set by the caller. 0 or -1 (EPERM, a regular file, comes
 * back with kind "file"). */
int loop_io_add(struct loop *loop, struct loop_io *io, uint32_t events,
                struct err *e);
int loop_io_set(struct loop *loop, struct loop_io *io, uint32_t events,
                struct err *e);
/* Does not close the descriptor. Call before closing it. */
void loop_io_remove(struct loop *loop, struct loop_io *io);

/* ---- timers ---- */

struct loop_timer {
  void (*on_expire)(struct loop_timer *timer);
  uint64_t when; /* internal */
  size_t slot;   /* internal: 0 is unset, else place in the heap */
};

/* Arms (or re-arms) for `ns` nanoseconds after now; one shot. */
int loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t ns);
/* Harmless when not armed. */
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

/* ---- hooks: run at the end of every turn, before the loop may sleep ---- */

struct loop_hook {
  /* true: there is more to do now, do not sleep */
  bool (*run)(struct loop_hook *hook);
  struct loop_hook *next; /* internal */
};

/* Hooks run in the order they were added. */
void loop_hook_add(struct loop *loop, struct loop_hook *hook);
void loop_hook_remove(struct loop *loop, struct loop_hook *hook);

/* ---- mailbox ---- */

struct loop_msg {
  void (*deliver)(struct loop_msg *msg); /* runs on the loop's thread */
  struct loop_msg *next;                 /* internal */
};

/* [any] Queues `msg` (the caller's memory; the loop's until delivered) and
 * wakes the loop. Never blocks beyond a short mutex. */
void loop_post(struct loop *loop, struct loop_msg *msg);

/* Says that a message of another thread is sure to come, and that it has come:
 * the loop must not be freed before, for that thread posts to it. */
void loop_expect(struct loop *loop);
void loop_received(struct loop *loop);

/* Delivers what is in the mailbox now, for orderly shutdown. */
void loop_drain(struct loop *loop);

#endif
