/* SPDX-License-Identifier: MIT */
#include "event/loop.h"

#include "base/container.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64 };

struct loop {
  int epoll;
  bool stopped;
  /* timers: a binary heap in heap[1..count], so that slot 0 means "not in" */
  struct loop_timer **heap;
  size_t count, room;
  LIST_HEAD(hooks, loop_hook) hooks;
  /* the epoll batch being processed, so that a removal can clear its entry */
  struct epoll_event batch[BATCH];
  int batch_at, batch_len;
  /* mailbox */
  struct loop_io wake;
  pthread_mutex_t lock; /* guards `mail` */
  STAILQ_HEAD(mail, loop_msg) mail;
  int posting; /* threads inside loop_post: atomic */
  size_t expected;
  /* spinning */
  int soon;                  /* owners that expect something soon */
  uint64_t last_wait;        /* how long the last wait took */
  int fruitless, skip;       /* spins in a row; waits until the next one */
  uint64_t rest, rest_until; /* since others need the core */
};

/* How long loop_free waits for expected messages. */
#define EXPECTED_TIMEOUT (5 * LOOP_S)
#define LOOP_US ((uint64_t)1000)

uint64_t loop_clock(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * LOOP_S + (uint64_t)t.tv_nsec;
}

/* A wait that took longer would not have been short with spinning either:
 * asleep it includes waking a core, here and in one or two other processes. */
#define SPIN_WORTH (250 * LOOP_US)
enum { SPIN_MAX_SKIP = 256 };
/* A yield that takes longer has given the core to a program that computes;
 * those that the loop waits for are done sooner. Linux gives it 0.7 ms or more
 * (base_slice_ns of the scheduler). */
#define SLOW_YIELD (400 * LOOP_US)
#define REST_MIN (100 * LOOP_MS)
#define REST_MAX (2 * LOOP_S)

static void on_wake(struct loop_io *io, uint32_t events)
{
  (void)events;
  loop_drain(CONTAINER_OF(io, struct loop, wake));
}

struct loop *loop_new(struct err *e)
{
  struct loop *loop = err_calloc(sizeof(*loop), "an event loop", e);
  if (!loop) return NULL;
  loop->epoll = -1;
  loop->wake.fd = -1;
  STAILQ_INIT(&loop->mail);
  pthread_mutex_init(&loop->lock, NULL);
  loop->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (loop->epoll < 0) {
    err_errno(e, "system", errno, "epoll_create1");
    goto fail;
  }
  loop->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  loop->wake.on_ready = on_wake;
  if (loop->wake.fd < 0) {
    err_errno(e, "system", errno, "eventfd");
    goto fail;
  }
  /* an event for each write, so that the counter need not be read */
  if (loop_io_add(loop, &loop->wake, EPOLLIN | EPOLLET, e) < 0) goto fail;
  return loop;
fail:
  loop_free(loop);
  return NULL;
}

void loop_free(struct loop *loop)
{
  if (!loop) return;
  for (uint64_t began = loop_clock(); loop->expected; usleep(100)) {
    loop_drain(loop);
    /* a late thread may still post: do not free what it writes to */
    if (loop->expected && loop_clock() - began > EXPECTED_TIMEOUT) return;
  }
  while (__atomic_load_n(&loop->posting, __ATOMIC_ACQUIRE)) sched_yield();
  loop_drain(loop);
  if (loop->wake.fd >= 0) close(loop->wake.fd);
  if (loop->epoll >= 0) close(loop->epoll);
  pthread_mutex_destroy(&loop->lock);
  free(loop->heap);
  free(loop);
}

void loop_stop(struct loop *loop)
{
  loop->stopped = true;
}

/* ---- file descriptors ---- */

static int control(struct loop *loop, int op, struct loop_io *io,
                   uint32_t events, struct err *e)
{
  struct epoll_event ev = {.events = events, .data.ptr = io};
  if (epoll_ctl(loop->epoll, op, io->fd, &ev) == 0) return 0;
  return err_errno(e, errno == EPERM ? "file" : "system", errno,
                   "epoll_ctl on descriptor %d", io->fd);
}

int loop_io_add(struct loop *loop, struct loop_io *io, uint32_t events,
                struct err *e)
{
  return control(loop, EPOLL_CTL_ADD, io, events, e);
}

int loop_io_set(struct loop *loop, struct loop_io *io, uint32_t events,
                struct err *e)
{
  return control(loop, EPOLL_CTL_MOD, io, events, e);
}

void loop_io_remove(struct loop *loop, struct loop_io *io)
{
  struct err ignored;
  control(loop, EPOLL_CTL_DEL, io, 0, &ignored);
  for (int i = loop->batch_at; i < loop->batch_len; i++)
    if (loop->batch[i].data.ptr == io) loop->batch[i].data.ptr = NULL;
}

/* ---- timers ---- */

static void place(struct loop *loop, size_t slot, struct loop_timer *t)
{
  loop->heap[slot] = t;
  t->slot = slot;
}

static void sift_up(struct loop *loop, size_t slot)
{
  struct loop_timer *t = loop->heap[slot];
  for (; slot > 1 && loop->heap[slot / 2]->when > t->when; slot /= 2)
    place(loop, slot, loop->heap[slot / 2]);
  place(loop, slot, t);
}

static void sift_down(struct loop *loop, size_t slot)
{
  struct loop_timer *t = loop->heap[slot];
  for (size_t child; (child = slot * 2) <= loop->count; slot = child) {
    if (child < loop->count &&
        loop->heap[child + 1]->when < loop->heap[child]->when)
      child++;
    if (t->when <= loop->heap[child]->when) break;
    place(loop, slot, loop->heap[child]);
  }
  place(loop, slot, t);
}

int loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t ns)
{
  loop_timer_clear(loop, timer);
  if (loop->count + 2 > loop->room) {
    size_t room = loop->room ? loop->room * 2 : 64;
    /* not realloc, which only buf.c calls */
    struct loop_timer **heap = calloc(room, sizeof(struct loop_timer *));
    if (!heap) return -1;
    if (loop->heap) memcpy(heap, loop->heap, (loop->count + 1) * sizeof(*heap));
    free(loop->heap);
    loop->heap = heap;
    loop->room = room;
  }
  uint64_t now = loop_clock();
  timer->when = ns > UINT64_MAX - now ? UINT64_MAX : now + ns;
  place(loop, ++loop->count, timer);
  sift_up(loop, loop->count);
  return 0;
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
  size_t slot = timer->slot;
  if (!slot) return;
  timer->slot = 0;
  struct loop_timer *last = loop->heap[loop->count--];
  if (last == timer) return;
  place(loop, slot, last);
  sift_down(loop, slot);
  sift_up(loop, last->slot);
}

static void run_timers(struct loop *loop)
{
  const uint64_t now = loop_clock();
  while (loop->count && loop->heap[1]->when <= now) {
    struct loop_timer *t = loop->heap[1];
    loop_timer_clear(loop, t);
    t->on_expire(t);
  }
}

/* Milliseconds until the next timer, rounded up; -1 without one. */
static int wait_time(struct loop *loop)
{
  if (!loop->count) return -1;
  uint64_t when = loop->heap[1]->when, now = loop_clock();
  if (when <= now) return 0;
  uint64_t ms = (when - now + LOOP_MS - 1) / LOOP_MS;
  return ms > 60000 ? 60000 : (int)ms;
}

/* ---- hooks ---- */

void loop_hook_add(struct loop *loop, struct loop_hook *hook)
{
  LIST_INSERT_HEAD(&loop->hooks, hook, link);
}

void loop_hook_remove(struct loop_hook *hook)
{
  LIST_REMOVE(hook, link);
}

static bool run_hooks(struct loop *loop)
{
  bool more = false;
  for (struct loop_hook *h = LIST_FIRST(&loop->hooks), *next; h; h = next) {
    next = LIST_NEXT(h, link);
    more |= h->run(h);
  }
  return more;
}

/* ---- mailbox ---- */

/* The eventfd is written outside the lock, which the loop needs as soon as it
 * wakes. `posting` makes loop_free wait until that write is done. The write
 * cannot block, nor fail before 2^64 of them. */
void loop_post(struct loop *loop, struct loop_msg *msg)
{
  const uint64_t one = 1;
  __atomic_add_fetch(&loop->posting, 1, __ATOMIC_RELAXED);
  pthread_mutex_lock(&loop->lock);
  bool wake = STAILQ_EMPTY(&loop->mail);
  STAILQ_INSERT_TAIL(&loop->mail, msg, link);
  pthread_mutex_unlock(&loop->lock);
  if (wake) (void)!write(loop->wake.fd, &one, sizeof(one));
  __atomic_sub_fetch(&loop->posting, 1, __ATOMIC_RELEASE);
}

void loop_expect(struct loop *loop)
{
  loop->expected++;
}

void loop_received(struct loop *loop)
{
  loop->expected--;
}

void loop_drain(struct loop *loop)
{
  struct mail mail = STAILQ_HEAD_INITIALIZER(mail);
  pthread_mutex_lock(&loop->lock);
  STAILQ_CONCAT(&mail, &loop->mail);
  pthread_mutex_unlock(&loop->lock);
  for (struct loop_msg *msg; (msg = STAILQ_FIRST(&mail));) {
    STAILQ_REMOVE_HEAD(&mail, link); /* first: deliver may free the message */
    msg->deliver(msg);
  }
}

/* ---- spinning ---- */

void loop_expect_soon(struct loop *loop, bool soon)
{
  loop->soon += soon ? 1 : -1;
}

static bool may_spin(struct loop *loop, uint64_t now)
{
  if (loop->last_wait > SPIN_WORTH || now < loop->rest_until) return false;
  return loop->skip == 0 || --loop->skip == 0;
}

/* Others need the core: no more spinning for a while, which grows each time
 * unless they have not for long. */
static void rest(struct loop *loop, uint64_t now)
{
  bool again = now - loop->rest_until < REST_MAX;
  loop->rest = again ? loop->rest * 2 : REST_MIN;
  if (loop->rest > REST_MAX) loop->rest = REST_MAX;
  loop->rest_until = now + loop->rest;
}

/* Polls for a while. Returns as epoll_wait. */
static int spin(struct loop *loop, uint64_t began)
{
  uint64_t now = began;
  do {
    int n = epoll_wait(loop->epoll, loop->batch, BATCH, 0);
    if (n) {
      loop->fruitless = 0;
      return n;
    }
    sched_yield();
    uint64_t yielded = loop_clock();
    if (yielded - now > SLOW_YIELD) {
      rest(loop, yielded);
      return 0;
    }
    now = yielded;
  } while (now - began < LOOP_SPIN);
  loop->skip = 1 << loop->fruitless;
  if (loop->skip < SPIN_MAX_SKIP) loop->fruitless++;
  return 0;
}

static int wait_for_events(struct loop *loop, int ms)
{
  if (!loop->soon || !ms)
    return epoll_wait(loop->epoll, loop->batch, BATCH, ms);
  uint64_t began = loop_clock();
  int n = may_spin(loop, began) ? spin(loop, began) : 0;
  if (!n) n = epoll_wait(loop->epoll, loop->batch, BATCH, ms);
  loop->last_wait = loop_clock() - began;
  return n;
}

int loop_run(struct loop *loop, struct err *e)
{
  loop->stopped = false;
  bool more = run_hooks(loop);
  while (!loop->stopped) {
    int n = wait_for_events(loop, more ? 0 : wait_time(loop));
    if (n < 0 && errno != EINTR) return err_errno(e, "system", errno, "epoll");
    loop->batch_len = n < 0 ? 0 : n;
    for (loop->batch_at = 0; loop->batch_at < loop->batch_len;) {
      struct epoll_event *ev = &loop->batch[loop->batch_at++];
      struct loop_io *io = ev->data.ptr;
      if (io) io->on_ready(io, ev->events);
    }
    loop->batch_len = 0;
    run_timers(loop);
    more = run_hooks(loop);
  }
  return 0;
}
