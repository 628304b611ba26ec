/* SPDX-License-Identifier: MIT */
/* struct signals: SIGINT and SIGTERM on the driver's loop. Lua code may wait
 * for them (host.driver.wait_signal); before it does so for the first time, a
 * signal ends the loop. [loop] */
#ifndef MF_SIGNALS_H
#define MF_SIGNALS_H

#include "base/err.h"
#include "event/loop.h"
#include "lua/task.h"

struct signals {
  struct loop_io io;
  struct loop *loop;
  struct task_wait wait; /* of at most one task */
  int pending;           /* the last signal not yet received; 0: none */
  bool handled;          /* Lua code has waited: no default action any more */
  int ended_by;          /* the signal that ended the loop; 0: none */
};

/* The signals must be blocked in every thread. Returns 0, or -1 and `e`. */
int signals_open(struct signals *s, struct loop *loop, struct err *e);
void signals_close(struct signals *s);

#endif
