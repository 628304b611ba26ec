/* SPDX-License-Identifier: MIT */
/* This unit provides the name service: addresses and services (SRV) of a name,
 * asked for on the loop, without threads. getaddrinfo of the C library blocks,
 * and gives neither times to live nor SRV; its resolver blocks too, by whole
 * seconds. So what the C library has for reading resolv.conf and messages is
 * used (dns_config.c, dns_answer.c), and the sockets are ours (dns_question.c).
 *
 * That a name is not there and that nobody could say are different things, and
 * are never mixed up here: not when one of two questions (A and AAAA) failed,
 * nor when one of several search domains did.
 *
 * All functions are [loop]. No function calls back before it returns. */
#ifndef MF_DNS_H
#define MF_DNS_H

#include "base/err.h"
#include "event/loop.h"
#include "net/dns_types.h"

struct dns_query;

/* One word, for programs. */
const char *dns_reason_word(enum dns_reason reason);

/* Called once for each query that was not cancelled, from the loop: with an
 * answer, or with `e` (kind "dns" or "memory") and a reason. */
typedef void dns_done(void *arg, struct dns_answer *answer,
                      enum dns_reason reason, const struct err *e);

/* NULL and `e` when the request is wrong (kind "usage") or memory is out. The
 * request is borrowed for the call. */
struct dns_query *dns_start(struct loop *loop, const struct dns_request *req,
                            dns_done *done, void *arg, struct err *e);

/* Ends a query whose `done` was not called yet; it never will be. */
void dns_cancel(struct dns_query *q);

#endif
