/* SPDX-License-Identifier: MIT */
/* This unit provides SIGINT and SIGTERM as events of the driver's loop: Lua
 * code may wait for them (host.driver.wait_signal); when none does, the first
 * ends the loop. [loop] */
#ifndef MF_SIGNALS_H
#define MF_SIGNALS_H

#include "base/err.h"
#include "event/loop.h"
#include "lua/task.h"

struct signals {
  struct loop_io io;
  struct loop *loop;
  struct task_wait *waiting; /* at most one */
  int pending;               /* the last signal nobody has taken; 0: none */
  bool handled; /* Lua code has asked once: no more default action */
  int ended_by; /* the signal that ended the loop by default */
};

/* The signals must be blocked in every thread. 0 or -1. */
int signals_open(struct signals *s, struct loop *loop, struct err *e);
void signals_close(struct signals *s);

#endif
