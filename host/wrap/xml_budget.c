/* SPDX-License-Identifier: MIT */
/* The budget of a parse or a query. Loads libxml2 with an allocator that counts
 * for it, and words what exceeds it. */
#include "wrap/xml_internal.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The allocator of libxml2 takes no argument, so this cannot be passed. */
static _Thread_local struct budget *current;

static uint64_t read_clock(clockid_t clock)
{
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void budget_begin(struct budget *budget, size_t max_bytes, unsigned seconds)
{
  budget->max_bytes = (ptrdiff_t)max_bytes;
  budget->cpu_limit = (uint64_t)seconds * 1000000000;
  budget->until = read_clock(CLOCK_MONOTONIC) + budget->cpu_limit;
  budget->began = read_clock(CLOCK_THREAD_CPUTIME_ID);
  current = budget;
}

void budget_end(void)
{
  current = NULL;
}

/* Reads the processor time, which costs a system call, only when the wall clock
 * is past the limit: waiting for a processor must not count. */
void budget_check(struct budget *budget)
{
  if (budget->exceeded || read_clock(CLOCK_MONOTONIC) < budget->until) return;
  if (read_clock(CLOCK_THREAD_CPUTIME_ID) - budget->began > budget->cpu_limit)
    budget->exceeded = OUT_OF_TIME;
}

static void add_bytes(struct budget *budget, ptrdiff_t bytes)
{
  budget->bytes += bytes;
  if (budget->bytes > budget->max_bytes) budget->exceeded = OUT_OF_MEMORY;
}

void budget_count(struct budget *budget, ptrdiff_t bytes)
{
  enum { LARGE = 4096, EVERY = 16 };
  add_bytes(budget, bytes);
  if (bytes >= LARGE || ++budget->calls % EVERY == 0) budget_check(budget);
}

static void count(void *p, size_t before)
{
  struct budget *budget = current;
  if (!budget) return;
  ptrdiff_t bytes =
      (ptrdiff_t)(p ? malloc_usable_size(p) : 0) - (ptrdiff_t)before;
  if (!budget->query) {
    add_bytes(budget, bytes);
    return;
  }
  budget_count(budget, bytes);
  if (budget->exceeded)
    budget->query->opLimit = 1; /* the query ends at its next step */
}

static void *counted_malloc(size_t n)
{
  void *p = malloc(n);
  count(p, 0);
  return p;
}

static void *counted_realloc(void *old, size_t n)
{
  size_t before = current && old ? malloc_usable_size(old) : 0;
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
  if (current && p) current->bytes -= (ptrdiff_t)malloc_usable_size(p);
  free(p);
}

static void ignore(void *arg, const char *format, ...)
{
  (void)arg, (void)format;
}

void xml_silence(void)
{
  libxml->xmlSetGenericErrorFunc(NULL, ignore);
}

/* Only the one Lua thread of a process uses libxml2. */
int xml_load(struct err *e)
{
  if (libxml) return 0;
  if (xml_lib_load(e) < 0) return -1;
  libxml->xmlMemSetup(counted_free, counted_malloc, counted_realloc,
                      counted_strdup);
  libxml->xmlInitParser();
  xml_silence();
  return 0;
}

int budget_fail(const struct budget *budget, const char *what, struct err *e)
{
  if (budget->exceeded == OUT_OF_TIME)
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

int xml_fail_limit(struct err *e, unsigned line, const char *reason)
{
  return err_set(e, "too_large", "line %u: %s", line, reason);
}
