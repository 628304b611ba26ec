/* SPDX-License-Identifier: MIT */
/* This unit provides faults on purpose, for tests of what must survive them.
 * The environment variable MOONFLEET_FAULT, read once when a program starts and
 * handed on to the programs it starts, is a comma-separated list of
 *
 *   POINT:WHAT[=VALUE][@N|%P]
 *
 * POINT is a place in the program, by name; N: only the Nth time it is passed;
 * P: each time with so many percent of probability (the sequence depends on
 * MOONFLEET_FAULT_SEED, a number, 1 by default); without either: every time.
 * When several apply, the first counts. WHAT is
 *
 *   drop        the message is not sent
 *   delay=MS    it is sent after so many milliseconds
 *   duplicate   it is sent twice
 *   truncate    half of it is sent
 *   die         the process gets SIGKILL
 *
 * Points:
 *   request     a driver sends a request; all of them
 *   reply       a node sends a reply; not duplicate, which nng cannot
 *   records     a worker sends its node what became of tasks; truncate and die
 * and those that Lua names with host.sys.fault. There a delay stops the process
 * that long, and the rest is up to the caller.
 *
 *   MOONFLEET_FAULT=reply:drop@3,request:delay=200%10,journal:die@7
 *
 * Without the variable a point costs the test of one bool. [loop] */
#ifndef MF_FAULT_H
#define MF_FAULT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum fault_what {
  FAULT_NONE,
  FAULT_DROP,
  FAULT_DELAY,
  FAULT_DUPLICATE,
  FAULT_TRUNCATE,
  FAULT_DIE,
};

struct fault {
  enum fault_what what;
  int ms; /* of a delay */
};

extern bool fault_armed;

/* [main, before threads] `faults` is NULL or empty for none; so is `seed`. -1
 * and `e` (kind "usage") when they are malformed: then there are none. Called
 * again it starts over. */
int fault_init(const char *faults, const char *seed, struct err *e);

/* What is to happen at `point` this time; to die happens here. */
struct fault fault_pass(const char *point);

static inline struct fault fault_at(const char *point)
{
  return fault_armed ? fault_pass(point) : (struct fault){FAULT_NONE, 0};
}

/* For points where nothing is sent: delays by itself. */
struct fault fault_point(const char *point);

/* "drop", ...; NULL for FAULT_NONE. */
const char *fault_name(enum fault_what what);

#endif
