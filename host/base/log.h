/* SPDX-License-Identifier: MIT */
/* This unit provides the structured log: one line per event on stderr,
 *   time=... level=info role=node msg="worker exited" worker=1 signal=9
 * or, when stderr is the systemd journal, with a <priority> prefix and without
 * the time. Values are quoted when they need it; control characters and what
 * is not UTF-8 never reach the terminal raw. [any] thread: a line is one
 * write(2).
 *
 *   log_info("worker exited", LOG_INT("worker", 1), LOG_STR("why", text)); */
#ifndef MF_LOG_H
#define MF_LOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stddef.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log_field {
  const char *key;  /* NULL ends the list */
  const char *text; /* or NULL: `number` counts */
  long long number;
};

#define LOG_INT(k, v) ((struct log_field){(k), NULL, (long long)(v)})
#define LOG_STR(k, v) ((struct log_field){(k), (v) ? (v) : "", 0})

/* [main, before threads] `role` (borrowed for ever) names the process in each
 * line: driver, node or worker. */
void log_init(const char *role, enum log_level level);

/* 0, or -1 when `name` is not error, warn, info or debug. */
int log_parse_level(const char *name, enum log_level *level);

/* The inverse of log_parse_level. */
const char *log_level_name(enum log_level level);

/* The level in force. */
enum log_level log_level(void);

bool log_enabled(enum log_level level);

/* What a line on stderr begins with: on a terminal the progress of a run may
 * stand there, maybe drawn by another process, and is wiped out. */
const char *log_start(void);

/* `fields` ends with a field whose key is NULL. Lines are cut at 2 KiB. Returns
 * the bytes written, 0 below the level in force. */
size_t log_event(enum log_level level, const char *msg,
                 const struct log_field *fields);

/* So many bytes at once, and then so many a second, may be logged by what is
 * not trusted to keep measure. */
enum { LOG_BURST = 256 * 1024, LOG_RATE = 64 * 1024 };

/* All zero at first. */
struct log_limit {
  uint64_t until;    /* monotonic ns, when all is as if nothing was written */
  long long dropped; /* lines since the last that was written */
};

/* As log_event, within the limit unless that is NULL: one line says that others
 * are left out from there on, a later one how many were. [one thread] */
void log_limited(struct log_limit *limit, enum log_level level, const char *msg,
                 const struct log_field *fields);

/* Writes whole lines that another process logged, as if they were ours. */
void log_pass(const char *lines, size_t n);

/* Takes the lines that one thread logs in place of stderr: a line that is
 * being edited stands on the terminal, and they belong above it. */
struct log_sink {
  void (*write)(struct log_sink *sink, const char *lines, size_t n);
  pthread_t thread; /* set by log_set_sink */
};

/* Lines of the calling thread go to `sink` from now on (borrowed until it is
 * replaced); NULL: to stderr, where those of all other threads always go. */
void log_set_sink(struct log_sink *sink);

/* The list ends itself: fields, then {NULL}. The unused first element takes the
 * place of __VA_OPT__, which cppcheck does not read. */
#define LOG_FIELDS(...)                                                        \
  (&(const struct log_field[]){{"", 0, 0}, ##__VA_ARGS__, {0, 0, 0}}[1])
#define log_error(msg, ...) log_event(LOG_ERROR, msg, LOG_FIELDS(__VA_ARGS__))
#define log_warn(msg, ...) log_event(LOG_WARN, msg, LOG_FIELDS(__VA_ARGS__))
#define log_info(msg, ...) log_event(LOG_INFO, msg, LOG_FIELDS(__VA_ARGS__))
#define log_debug(msg, ...) log_event(LOG_DEBUG, msg, LOG_FIELDS(__VA_ARGS__))

#endif
