/* SPDX-License-Identifier: MIT */
#include "base/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_RULES = 16, MAX_POINT = 32, MAX_MS = 3600 * 1000 };

struct rule {
  char point[MAX_POINT];
  struct fault fault;
  long nth;       /* 0: not by number */
  double percent; /* below 0: always */
  long passed;
};

bool fault_armed;

static struct rule rules[MAX_RULES];
static int rule_count;
static uint64_t random_state;

static const char *const names[] = {
    NULL, "break", "delay", "truncate", "die",
};

/* What cannot happen at a point of the host. */
static const struct {
  const char *point;
  enum fault_what what;
} impossible[] = {
    {"receive", FAULT_DELAY},
    {"receive", FAULT_TRUNCATE},
    {"records", FAULT_BREAK},
    {"records", FAULT_DELAY},
};

const char *fault_name(enum fault_what what)
{
  return names[what];
}

/* Uniform in 0..100 (splitmix64, https://prng.di.unimi.it/splitmix64.c). */
static double random_percent(void)
{
  uint64_t z = random_state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  z ^= z >> 31;
  return (double)(z >> 11) * (100.0 / 9007199254740992.0);
}

/* Reads an integer of 1..max at *s, which moves behind it. */
static int read_number(const char **s, long max, long *number)
{
  char *end;
  errno = 0;
  *number = strtol(*s, &end, 10);
  if (end == *s || errno || *number < 1 || *number > max) return -1;
  *s = end;
  return 0;
}

static int read_what(const char **s, struct fault *f)
{
  size_t len = strcspn(*s, "=@%,");
  long ms;
  for (int what = FAULT_BREAK; what <= FAULT_DIE; what++) {
    if (strlen(names[what]) != len || memcmp(*s, names[what], len)) continue;
    f->what = (enum fault_what)what;
    *s += len;
    if (what != FAULT_DELAY) return **s == '=' ? -1 : 0;
    if (*(*s)++ != '=' || read_number(s, MAX_MS, &ms) < 0) return -1;
    f->ms = (int)ms;
    return 0;
  }
  return -1;
}

static bool is_possible(const struct rule *r)
{
  for (size_t i = 0; i < sizeof(impossible) / sizeof(impossible[0]); i++)
    if (!strcmp(impossible[i].point, r->point) &&
        impossible[i].what == r->fault.what)
      return false;
  return true;
}

static int read_rule(const char **s, struct rule *r)
{
  size_t len = strcspn(*s, ":,");
  char *end;
  memset(r, 0, sizeof(*r));
  r->percent = -1;
  if (!len || len >= MAX_POINT || (*s)[len] != ':') return -1;
  memcpy(r->point, *s, len);
  *s += len + 1;
  if (read_what(s, &r->fault) < 0) return -1;
  if (**s == '@') {
    (*s)++;
    if (read_number(s, INT32_MAX, &r->nth) < 0) return -1;
  } else if (**s == '%') {
    r->percent = strtod(++*s, &end);
    if (end == *s || !(r->percent >= 0 && r->percent <= 100)) return -1;
    *s = end;
  }
  return **s == ',' || !**s ? 0 : -1;
}

int fault_init(const char *faults, const char *seed, struct err *e)
{
  char *end = NULL;
  fault_armed = false;
  rule_count = 0;
  errno = 0;
  random_state = seed && *seed ? strtoull(seed, &end, 10) : 1;
  if (errno || (end && *end))
    return err_set(e, "usage",
                   "MOONFLEET_FAULT_SEED must be a number, not '%s'", seed);
  for (const char *s = faults ? faults : ""; *s; s += *s == ',') {
    if (rule_count == MAX_RULES || read_rule(&s, &rules[rule_count]) < 0)
      return err_set(e, "usage",
                     "MOONFLEET_FAULT is malformed at '%.40s': it is a list of "
                     "up to %d of POINT:WHAT[=MS][@N|%%P]",
                     s, MAX_RULES);
    if (!is_possible(&rules[rule_count]))
      return err_set(
          e, "usage", "MOONFLEET_FAULT: there is no %s at the point %s",
          names[rules[rule_count].fault.what], rules[rule_count].point);
    rule_count++;
  }
  fault_armed = rule_count > 0;
  return 0;
}

struct fault fault_pass(const char *point)
{
  struct fault hit = {FAULT_NONE, 0};
  for (int i = 0; i < rule_count; i++) {
    struct rule *r = &rules[i];
    if (strcmp(r->point, point)) continue;
    r->passed++;
    bool applies = r->nth            ? r->passed == r->nth
                   : r->percent >= 0 ? random_percent() < r->percent
                                     : true;
    if (applies && hit.what == FAULT_NONE) hit = r->fault;
  }
  if (hit.what == FAULT_DIE) raise(SIGKILL);
  return hit;
}

struct fault fault_point(const char *point)
{
  struct fault hit = fault_at(point);
  if (hit.what == FAULT_DELAY) {
    struct timespec t = {hit.ms / 1000, hit.ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
  }
  return hit;
}
