/* SPDX-License-Identifier: MIT */
/* One question to name servers: by UDP, by TCP when the response does not fit,
 * again when none comes, and to the next server when one refuses, fails or
 * cannot be reached. A server that answered with an error, or where nothing
 * listens, is not asked again. Each try waits twice as long as the one before.
 * Used by dns.c. All functions are [loop]. */
#ifndef MF_DNS_QUESTION_H
#define MF_DNS_QUESTION_H

#include "event/loop.h"
#include "net/dns_config.h"

struct dns_question;

/* Why a question has no answer. */
struct dns_failure {
  enum dns_reason reason;
  char detail[64]; /* for people; may be empty */
};

/* Called once, from the loop: with a whole message whose code is "no error" or
 * "no such name", valid during the call; or with NULL and a failure. The
 * question is freed after it returns. */
typedef void dns_question_done(void *arg, const unsigned char *answer,
                               size_t len, const struct dns_failure *failure);

/* Asks for records of `type` of `name`, which is a valid one. `config` is
 * borrowed until `done` is called. NULL when memory is out. */
struct dns_question *dns_question_start(struct loop *loop,
                                        const struct dns_config *config,
                                        const char *name, int type,
                                        dns_question_done *done, void *arg);

/* Ends a question whose `done` was not called yet; it never will be. */
void dns_question_cancel(struct dns_question *q);

#endif
