/* SPDX-License-Identifier: MIT */
#include "node/service.h"

#include "base/container.h"
#include "base/notify.h"

#include <inttypes.h>
#include <stdio.h>

/* How often the status is sent, and more time is asked for to start or drain.
 */
#define REPORT_INTERVAL (5 * LOOP_S)
/* What is asked for each time. */
#define MORE_TIME (30 * LOOP_S)

enum { STATUS_SIZE = 160 };

static void describe(const struct node *n, char status[STATUS_SIZE])
{
  int64_t up = 0, running = 0, outstanding = 0;
  WORKERS_FOREACH (w, n->workers) {
    up += w->alive;
    running += w->running;
    outstanding += w->outstanding;
  }
  snprintf(status, STATUS_SIZE,
           "%s%" PRId64 " of %d workers, %" PRId64 " tasks running, %" PRId64
           " queued, %d sessions",
           n->draining ? "draining: " : "", up, n->options->workers, running,
           outstanding > running ? outstanding - running : 0,
           n->sessions.count);
}

void service_report(struct service *s)
{
  char status[STATUS_SIZE];
  if (!s->node) return;
  describe(s->node, status);
  if (!s->node->workers)
    notify_send("EXTEND_TIMEOUT_USEC=%" PRIu64 "\nSTATUS=starting: see the log",
                MORE_TIME / 1000);
  else if (s->node->draining)
    notify_send("STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64 "\nSTATUS=%s",
                MORE_TIME / 1000, status);
  else
    notify_send("%sSTATUS=%s", notify_watchdog() ? "WATCHDOG=1\n" : "", status);
}

static void on_report(struct loop_timer *timer)
{
  struct service *s = CONTAINER_OF(timer, struct service, timer);
  uint64_t delay = REPORT_INTERVAL, watchdog = notify_watchdog();
  if (watchdog && watchdog / 2 < delay) delay = watchdog / 2;
  service_report(s);
  loop_timer_set(s->node->loop, timer, delay);
}

void service_init(struct service *s, struct node *n)
{
  s->timer.on_expire = on_report;
  s->node = notify_is_wanted() ? n : NULL;
}

void service_starting(struct service *s)
{
  if (s->node) on_report(&s->timer);
}

void service_ready(struct service *s)
{
  if (!s->node) return;
  notify_send("READY=1");
  on_report(&s->timer);
}

void service_reloading(struct service *s)
{
  if (s->node)
    notify_send("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, loop_clock() / 1000);
}

void service_reloaded(struct service *s)
{
  if (s->node) notify_send("READY=1");
}

void service_end(struct service *s)
{
  if (!s->node) return;
  loop_timer_clear(s->node->loop, &s->timer);
  notify_send("STOPPING=1\nSTATUS=stopped");
}
