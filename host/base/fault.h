/* SPDX-License-Identifier: MIT */
/* Fault injection, for tests. The environment variable MOONFLEET_FAULT, read
 * once when a program starts and inherited by the programs it starts, is a
 * comma-separated list of
 *
 *   POINT:WHAT[=VALUE][@N|%P]
 *
 * POINT is the name of a place in the program. The fault happens only the Nth
 * time that it is passed, or each time with a probability of P percent (the
 * sequence depends on MOONFLEET_FAULT_SEED, a number; default: 1), or every
 * time. When several faults apply, the first wins. WHAT is
 *
 *   break       the connection is closed, and nothing is sent or received
 *   delay=MS    it is sent after MS milliseconds
 *   truncate    half of it is sent; half a frame ends a connection
 *   die         the process gets SIGKILL
 *
 * Points:
 *   send        a driver or node sends the frames that are ready, the preface
 *               included, over the channel between them
 *   receive     bytes of the other end have arrived; only break and die
 *   records     a worker sends outcomes of tasks to its node; only truncate and
 *               die
 * and those that Lua names with host.sys.fault. There a delay stops the process
 * for that time, and the caller does the rest.
 *
 *   MOONFLEET_FAULT=send:break@3,send:delay=200%10,journal:die@7
 *
 * Without the variable a point only tests a bool. [loop] */
#ifndef MF_FAULT_H
#define MF_FAULT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum fault_what {
  FAULT_NONE,
  FAULT_BREAK,
  FAULT_DELAY,
  FAULT_TRUNCATE,
  FAULT_DIE,
};

struct fault {
  enum fault_what what;
  int ms; /* of a delay */
};

extern bool fault_armed;

/* [main, before threads] Replaces all faults. `faults` and `seed` may be NULL
 * or empty. Returns 0, or -1 and `e` with kind "usage" when one is malformed;
 * then there are no faults. */
int fault_init(const char *faults, const char *seed, struct err *e);

/* The fault that applies at `point` this time; does not return for `die`. */
struct fault fault_pass(const char *point);

static inline struct fault fault_at(const char *point)
{
  return fault_armed ? fault_pass(point) : (struct fault){FAULT_NONE, 0};
}

/* As fault_at, but carries out a delay, for points where nothing is sent. */
struct fault fault_point(const char *point);

/* "break", ...; NULL for FAULT_NONE. */
const char *fault_name(enum fault_what what);

#endif
