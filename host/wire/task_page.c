/* SPDX-License-Identifier: MIT */
#include "wire/task_page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The lowest bits of `version`; the others count turns. */
enum { IDLE, CHANGING, RUNNING, PHASES = 4 };

/* A sequence lock. Fields are stored with release and loaded with acquire, not
 * fenced, because ThreadSanitizer knows no fences: a reader that sees a field
 * of a later turn also sees that the version has changed. */
struct task_page {
  atomic_uint_least64_t version;
  atomic_int_least64_t session, job, id, attempt;
  atomic_uint_least64_t deadline;
  /* tasks received, and which of the latest are not queued any more */
  atomic_uint_least64_t received;
  atomic_uint_least64_t dequeued[TASK_PAGE_TASKS / 64];
  struct meters meters;
};

struct task_page_writer {
  struct task_page *page;
  uint64_t version, received; /* as in the page: only we write it */
  const struct task_identity *shown;
};

/* ---- the worker's side ---- */

struct task_page_writer *task_page_open(int fd, struct err *e)
{
  struct task_page_writer *w = err_calloc(sizeof(*w), "a task page", e);
  if (!w) return NULL;
  void *page =
      mmap(NULL, sizeof(*w->page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) {
    err_errno(e, "system", errno, "cannot map the task page");
    free(w);
    return NULL;
  }
  close(fd);
  w->page = page;
  return w;
}

void task_page_close(struct task_page_writer *w)
{
  if (!w) return;
  munmap(w->page, sizeof(*w->page));
  free(w);
}

const struct task_identity *task_page_set(struct task_page_writer *w,
                                          const struct task_identity *t,
                                          uint64_t since)
{
  if (!w) return NULL;
  const struct task_identity *before = w->shown;
  struct task_page *p = w->page;
  w->shown = t;
  if (!t) {
    w->version += PHASES - w->version % PHASES + IDLE;
    atomic_store_explicit(&p->version, w->version, memory_order_release);
    return before;
  }
  uint64_t deadline = t->deadline;
  if (deadline && deadline < since) deadline = since;
  w->version += PHASES - w->version % PHASES + CHANGING;
  atomic_store_explicit(&p->version, w->version, memory_order_relaxed);
  atomic_store_explicit(&p->session, t->session, memory_order_release);
  atomic_store_explicit(&p->job, t->job, memory_order_release);
  atomic_store_explicit(&p->id, t->id, memory_order_release);
  atomic_store_explicit(&p->attempt, t->attempt, memory_order_release);
  atomic_store_explicit(&p->deadline, deadline, memory_order_release);
  w->version += RUNNING - CHANGING;
  atomic_store_explicit(&p->version, w->version, memory_order_release);
  return before;
}

struct meters *task_page_meters(struct task_page_writer *w)
{
  return w ? &w->page->meters : NULL;
}

static uint64_t bit_of(uint64_t number)
{
  return UINT64_C(1) << number % 64;
}

/* Only we write it, so no atomic operation is needed for the whole. */
static void set_dequeued(struct task_page_writer *w, uint64_t number,
                         bool dequeued)
{
  atomic_uint_least64_t *at = &w->page->dequeued[number % TASK_PAGE_TASKS / 64];
  uint64_t bits = atomic_load_explicit(at, memory_order_relaxed);
  bits = dequeued ? bits | bit_of(number) : bits & ~bit_of(number);
  atomic_store_explicit(at, bits, memory_order_release);
}

uint64_t task_page_queue(struct task_page_writer *w, int64_t count)
{
  if (!w) return 0;
  uint64_t first = w->received, end = first + (uint64_t)count;
  /* their bits belonged to others, which the node has dropped */
  for (uint64_t at = first; at < end && at - first < TASK_PAGE_TASKS; at++)
    set_dequeued(w, at, false);
  w->received = end;
  atomic_store_explicit(&w->page->received, end, memory_order_release);
  return first;
}

void task_page_dequeue(struct task_page_writer *w, uint64_t number)
{
  if (w) set_dequeued(w, number, true);
}

/* ---- the node's side ---- */

struct task_page *task_page_new(int *fd, struct err *e)
{
  void *page = MAP_FAILED;
  /* sealed: reads would fail if a worker shrank it */
  *fd = memfd_create("moonfleet-task-page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (*fd >= 0 && ftruncate(*fd, sizeof(struct task_page)) == 0 &&
      fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
    page = mmap(NULL, sizeof(struct task_page), PROT_READ, MAP_SHARED, *fd, 0);
  if (page != MAP_FAILED) return page;
  err_errno(e, "system", errno, "cannot make a task page");
  if (*fd >= 0) close(*fd);
  *fd = -1;
  return NULL;
}

void task_page_free(struct task_page *p)
{
  if (p) munmap(p, sizeof(*p));
}

uint64_t task_page_read(const struct task_page *p, struct task_identity *t)
{
  uint64_t version = atomic_load_explicit(&p->version, memory_order_acquire);
  if (version % PHASES != RUNNING) return 0;
  t->session = atomic_load_explicit(&p->session, memory_order_acquire);
  t->job = atomic_load_explicit(&p->job, memory_order_acquire);
  t->id = atomic_load_explicit(&p->id, memory_order_acquire);
  t->attempt = atomic_load_explicit(&p->attempt, memory_order_acquire);
  t->deadline = atomic_load_explicit(&p->deadline, memory_order_acquire);
  if (atomic_load_explicit(&p->version, memory_order_relaxed) != version)
    return 0;
  return version;
}

void task_page_sum(const struct task_page *p, uint64_t totals[METERS])
{
  meters_sum(&p->meters, totals);
}

bool task_page_is_queued(const struct task_page *p, uint64_t number)
{
  if (number >= atomic_load_explicit(&p->received, memory_order_acquire))
    return true;
  return !(atomic_load_explicit(&p->dequeued[number % TASK_PAGE_TASKS / 64],
                                memory_order_acquire) &
           bit_of(number));
}
