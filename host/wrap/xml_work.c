/* SPDX-License-Identifier: MIT */
#include "wrap/xml_internal.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Mutable and not passed on: the allocator of libxml2 takes no argument. */
static _Thread_local struct work *at_work;

static uint64_t read_clock(clockid_t clock)
{
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void work_begin(struct work *w, size_t max_bytes, unsigned seconds)
{
  w->max_bytes = (ptrdiff_t)max_bytes;
  w->cpu_limit = (uint64_t)seconds * 1000000000;
  w->until = read_clock(CLOCK_MONOTONIC) + w->cpu_limit;
  w->began = read_clock(CLOCK_THREAD_CPUTIME_ID);
  at_work = w;
}

void work_end(void)
{
  at_work = NULL;
}

/* The processor's clock is a system call, and time spent waiting for a
 * processor is not the document's fault. */
void work_look(struct work *w)
{
  if (w->over || read_clock(CLOCK_MONOTONIC) < w->until) return;
  if (read_clock(CLOCK_THREAD_CPUTIME_ID) - w->began > w->cpu_limit)
    w->over = OVER_TIME;
}

void work_count(struct work *w, ptrdiff_t bytes)
{
  enum { LARGE = 4096, EVERY = 16 };
  w->bytes += bytes;
  if (w->bytes > w->max_bytes) w->over = OVER_MEMORY;
  if (bytes >= LARGE || ++w->calls % EVERY == 0) work_look(w);
}

static void count(void *p, size_t before)
{
  struct work *w = at_work;
  if (!w) return;
  ptrdiff_t bytes =
      (ptrdiff_t)(p ? malloc_usable_size(p) : 0) - (ptrdiff_t)before;
  if (!w->query) {
    w->bytes += bytes;
    if (w->bytes > w->max_bytes) w->over = OVER_MEMORY;
    return;
  }
  work_count(w, bytes);
  if (w->over) w->query->opLimit = 1; /* it ends with its next step */
}

static void *counted_malloc(size_t n)
{
  void *p = malloc(n);
  count(p, 0);
  return p;
}

static void *counted_realloc(void *old, size_t n)
{
  size_t before = at_work && old ? malloc_usable_size(old) : 0;
  void *p = realloc(old, n);
  count(p, p ? before : 0);
  return p;
}

static char *counted_strdup(const char *s)
{
  char *p = strdup(s);
  count(p, 0);
  return p;
}

static void counted_free(void *p)
{
  if (at_work && p) at_work->bytes -= (ptrdiff_t)malloc_usable_size(p);
  free(p);
}

static void say_nothing(void *arg, const char *format, ...)
{
  (void)arg, (void)format;
}

void work_silence(void)
{
  libxml->xmlSetGenericErrorFunc(NULL, say_nothing);
}

/* The first use of libxml2 in a process is by its one Lua thread. */
int work_load(struct err *e)
{
  if (libxml) return 0;
  if (xml_lib_load(e) < 0) return -1;
  libxml->xmlMemSetup(counted_free, counted_malloc, counted_realloc,
                      counted_strdup);
  libxml->xmlInitParser();
  work_silence();
  return 0;
}

int work_fail(const struct work *w, const char *what, struct err *e)
{
  if (w->over == OVER_TIME)
    return err_set(e, "timeout", "%s takes too much processor time", what);
  return err_set(e, "too_large", "%s takes too much memory", what);
}

/* ---- messages ---- */

const char *message_of(const char *from, struct message *m)
{
  size_t n = from ? strcspn(from, "\r\n") : 0;
  if (n >= sizeof(m->text)) {
    n = sizeof(m->text) - 1;
    while (n && ((unsigned char)from[n] & 0xc0) == 0x80) n--;
  }
  if (n) memcpy(m->text, from, n);
  m->text[n] = '\0';
  return n ? m->text : "no reason given";
}

/* ---- limits ---- */

int xml_fail_limit(struct err *e, unsigned line, const char *why)
{
  return err_set(e, "too_large", "line %u: %s", line, why);
}
