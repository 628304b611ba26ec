/* SPDX-License-Identifier: MIT */
/* The structured log: one line per event on stderr,
 *   time=... level=info role=node msg="worker exited" worker=1 signal=9
 * or, when stderr is the systemd journal, with a <priority> prefix and without
 * the time. Values are quoted when necessary; control characters and invalid
 * UTF-8 are escaped. [any]: a line is one write(2).
 *
 *   log_info("worker exited", LOG_INT("worker", 1), LOG_STR("why", text)); */
#ifndef MF_LOG_H
#define MF_LOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log_field {
  const char *key;  /* NULL ends the list */
  const char *text; /* NULL: the value is `number` */
  long long number;
};

#define LOG_INT(k, v) ((struct log_field){(k), NULL, (long long)(v)})
#define LOG_STR(k, v) ((struct log_field){(k), (v) ? (v) : "", 0})

/* [main, before threads] `role` (borrowed forever) is the name of the process
 * in each line: driver, node or worker. */
void log_init(const char *role, enum log_level level);

/* Returns 0, or -1 when `name` is not error, warn, info or debug. */
int log_parse_level(const char *name, enum log_level *level);

/* The inverse of log_parse_level. */
const char *log_level_name(enum log_level level);

/* The level in force. */
enum log_level log_level(void);

bool log_enabled(enum log_level level);

/* What a line on stderr must begin with. On a terminal it erases the progress
 * of a run, which another process may have drawn there. */
const char *log_start(void);

/* Writes a line, cut at 2 KiB. `fields` ends with a field whose key is NULL.
 * Returns the number of bytes written, 0 when the level is not enabled. */
size_t log_event(enum log_level level, const char *msg,
                 const struct log_field *fields);

/* Limits for code that is not trusted: bytes at once, and bytes per second. */
enum { LOG_BURST = 256 * 1024, LOG_RATE = 64 * 1024 };

/* State of a limit, initially all zero. */
struct log_limit {
  uint64_t until;    /* monotonic ns, when the whole burst is available again */
  long long dropped; /* lines since the last one that was written */
};

/* As log_event, within the limit unless that is NULL. One line tells that lines
 * are being dropped, and a later one how many were. [one thread] */
void log_limited(struct log_limit *limit, enum log_level level, const char *msg,
                 const struct log_field *fields);

/* Writes whole lines that another process has logged. */
void log_raw(const char *lines, size_t n);

/* Receives the lines of one thread in place of stderr, so that they can be
 * shown above a line that is being edited on the terminal. */
struct log_sink {
  void (*write)(struct log_sink *sink, const char *lines, size_t n);
  pthread_t thread; /* set by log_set_sink */
};

/* Sends lines of the calling thread to `sink` (borrowed until it is replaced),
 * or to stderr when NULL. Those of other threads always go to stderr. */
void log_set_sink(struct log_sink *sink);

/* A list of fields that ends with {NULL}. The unused first element replaces
 * __VA_OPT__, which cppcheck does not know. */
#define LOG_FIELDS(...)                                                        \
  (&(const struct log_field[]){{"", 0, 0}, ##__VA_ARGS__, {0, 0, 0}}[1])
#define log_error(msg, ...) log_event(LOG_ERROR, msg, LOG_FIELDS(__VA_ARGS__))
#define log_warn(msg, ...) log_event(LOG_WARN, msg, LOG_FIELDS(__VA_ARGS__))
#define log_info(msg, ...) log_event(LOG_INFO, msg, LOG_FIELDS(__VA_ARGS__))

#endif
