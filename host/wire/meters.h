/* SPDX-License-Identifier: MIT */
/* struct meters: what a worker counts for the metrics of its node, in memory
 * that both share (task_page.h): counters that only grow, and histograms. One
 * process writes and others read, without a lock; each number is right, while
 * two of them may be of different moments. [any] */
#ifndef MF_METERS_H
#define MF_METERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  METERS_SECONDS = 15, /* bounds of a histogram of seconds */
  METERS_BYTES = 11,   /* of one of bytes */
};

/* The places of the numbers. A histogram has a number for each bound, one for
 * what is above the last, and the sum of what was measured. */
enum meter {
  METER_TASKS_OK,
  METER_TASKS_FAILED,
  METER_TASKS_CANCELLED,
  METER_CPU, /* of tasks, in nanoseconds */
  METER_FETCHES_OK,
  METER_FETCHES_FAILED,
  METER_TASK_TIME, /* histogram, in nanoseconds */
  METER_FETCH_TIME = METER_TASK_TIME + METERS_SECONDS + 2,
  METER_FETCH_BYTES = METER_FETCH_TIME + METERS_SECONDS + 2, /* histogram */
  METERS = METER_FETCH_BYTES + METERS_BYTES + 2,
};

struct meters {
  atomic_uint_least64_t values[METERS];
};

/* The upper bounds of histograms, in seconds and in bytes. */
extern const double meters_seconds[METERS_SECONDS];
extern const uint64_t meters_bytes[METERS_BYTES];

/* For the one writer; all do nothing when `m` is NULL. */
void meters_add(struct meters *m, enum meter which, uint64_t n);
void meters_add_time(struct meters *m, enum meter histogram, uint64_t ns);
void meters_add_bytes(struct meters *m, uint64_t bytes);

/* Adds the numbers to `totals`. */
void meters_sum(const struct meters *m, uint64_t totals[METERS]);

#endif
