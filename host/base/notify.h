/* SPDX-License-Identifier: MIT */
/* Messages to the service manager that started this process, systemd or one
 * that speaks its protocol: a datagram of lines NAME=VALUE to the socket that
 * NOTIFY_SOCKET names. The manual page sd_notify(3) describes it for programs
 * without libsystemd. */
#ifndef MF_NOTIFY_H
#define MF_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Takes NOTIFY_SOCKET and the variables of the watchdog from the environment
 * and removes them there, so that child processes do not speak for this one.
 * [main, before threads] */
void notify_take(void);

/* Whether there is a service manager. */
bool notify_is_wanted(void);

/* Sends lines, separated by newlines; does nothing without a service manager. A
 * message that cannot be sent is logged, the first time. [one thread] */
void notify_send(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Nanoseconds within which WATCHDOG=1 must be sent, again and again; 0: the
 * service manager does not ask for it. */
uint64_t notify_watchdog(void);

#endif
