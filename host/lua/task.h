/* SPDX-License-Identifier: MIT */
/* struct task: a Lua coroutine that the loop runs. A task that waits for the
 * host (HTTP, a message, time) is parked; the completion makes it runnable, and
 * it is resumed in the next iteration, never from inside the completion.
 *
 * Waiting works across pcall, metamethods, iterators, and inside coroutines
 * that the task made itself (coroutine.wrap and resume pass our waits through
 * to the loop). It does not work inside table.sort comparators, string.gsub
 * callbacks, __gc and modules being required, nor in coroutines resumed there:
 * those raise an error that says so.
 *
 * All functions are [loop]. */
#ifndef MF_TASK_H
#define MF_TASK_H

#include "lua/vm.h"
#include "wire/task_page.h"

#include <sys/queue.h>

enum task_outcome {
  TASK_DONE,      /* results are on the task's stack, 1..n */
  TASK_ERROR,     /* the error value is on top of the task's stack, the
                     traceback (a string) just below it */
  TASK_CANCELLED, /* task_cancel ended it; nothing on the stack */
};

/* Called once, when the task ends; `L` is its coroutine, valid during the
 * call; `nresults` values are on its stack for TASK_DONE. Runs unprotected, so
 * it must not raise (codec_encode does not). */
typedef void task_done(struct task *t, enum task_outcome outcome, lua_State *L,
                       int nresults, void *arg);

/* Read-only outside of task.c, except for `identity`. */
struct task {
  lua_State *co;
  task_done *done;
  void *arg; /* for `done` */
  /* What the task page shows. A new task inherits it from the task that made
   * it, without the deadline. */
  struct task_identity identity;
  uint64_t busy;    /* ns of processor time, measured around its resumes */
  uint64_t stopped; /* when it last had the processor, by loop_clock */
  /* internal */
  struct task_set *set;
  int ref; /* anchors `co` in the registry */
  enum { TASK_PARKED, TASK_READY, TASK_RUNNING } state;
  int nargs;
  struct task_wait *wait;
  size_t allocated;
  LIST_ENTRY(task) live_link;
  TAILQ_ENTRY(task) ready_link;
};

/* LJMP (memory): makes a parked task with an empty coroutine stack, anchored in
 * the registry. The caller pushes a function and its arguments on task->co,
 * then calls task_start. */
LJMP struct task *task_new(lua_State *L, task_done *done, void *arg);

/* Makes the task runnable, with the `nargs` topmost values as arguments. */
void task_start(struct task *t, int nargs);

/* Ends a task that has not ended: cancels its wait and closes its to-be-closed
 * variables, first those of the coroutines that it waits in, from the inside
 * out; then calls `done` with TASK_CANCELLED. Code that closes a variable
 * cannot wait. Allowed only while task_can_cancel. */
void task_cancel(struct task *t);
/* False for the running task, for tasks whose coroutines resumed the code that
 * is running now, and for tasks that are being cancelled. */
bool task_can_cancel(const struct task *t);

/* ---- waiting, for bindings ---- */

/* One wait, embedded in the binding's userdata, which is on the coroutine's
 * stack and so lives as long as the wait. `cancel` stops the operation when the
 * task is cancelled; the operation must not call task_wake after it. */
struct task_wait {
  struct task *task; /* set by task_await; NULL when no task waits */
  void (*cancel)(struct task_wait *w);
};

/* LJMP: parks the running task until task_wake(w). Then `k` runs with `ctx`,
 * and its results are those of the C function that returned task_await(...);
 * there are none when `k` is NULL. */
LJMP int task_await(lua_State *L, struct task_wait *w, lua_KContext ctx,
                    lua_KFunction k);

/* LJMP: raises an error that names `what` when the running code cannot wait
 * (inside a sort comparator, say). To be called before an operation starts. */
LJMP void task_check_can_wait(lua_State *L, const char *what);

/* Makes the waiting task runnable; does nothing when no task waits. */
void task_wake(struct task_wait *w);

/* Whether any task could run now. */
bool task_ready(const struct vm *vm);

/* LJMP: lets other tasks and the loop run, then continues without results. */
LJMP int task_yield(lua_State *L);

/* ---- for runtime.c ---- */

/* NULL when memory is out. */
struct task_set *task_set_new(struct vm *vm);
/* Cancels every task. Must be called before the state is closed. */
void task_set_cancel(struct task_set *set);
/* Must be called after the state is closed. Accepts NULL. */
void task_set_free(struct task_set *set);

#endif
