/* SPDX-License-Identifier: MIT */
/* This unit provides tasks: Lua coroutines run by the loop. A task that waits
 * for the host (HTTP, a message, time) is parked; the completion makes it
 * runnable, and it is resumed one turn later, never from inside the completion.
 *
 * Waiting works across pcall, metamethods, iterators, and inside coroutines
 * that the task made itself (coroutine.wrap and resume pass our waits through
 * to the loop). It does not work inside table.sort comparators, string.gsub
 * callbacks, __gc and require'd chunks, nor in coroutines resumed there: those
 * raise an error that says so.
 *
 * All functions are [loop]. */
#ifndef MF_TASK_H
#define MF_TASK_H

#include "lua/vm.h"
#include "wire/task_page.h"

struct task;

enum task_outcome {
  TASK_DONE,      /* results are on the task's stack, 1..n */
  TASK_ERROR,     /* the error value is on top of the task's stack, the
                     traceback (a string) just below it */
  TASK_CANCELLED, /* task_cancel ended it; nothing on the stack */
};

/* Called once, when the task ends; `L` is its coroutine, valid during the
 * call; `nresults` values are on its stack for TASK_DONE. Runs unprotected:
 * it must not raise (codec_encode does not). */
typedef void task_done(struct task *t, enum task_outcome outcome, lua_State *L,
                       int nresults, void *arg);

/* LJMP (memory): a parked new task with an empty coroutine stack, anchored in
 * the registry. Push a function and its arguments on task_thread(), then
 * task_start. */
LJMP struct task *task_new(lua_State *L, task_done *done, void *arg);
lua_State *task_thread(struct task *t);

/* Sets the identity of the task (session, job, id, attempt, deadline), which
 * the task page shows. A new task inherits the identity of the task that made
 * it, without the deadline. */
void task_identify(struct task *t, const struct task_identity *who);
const struct task_identity *task_who(const struct task *t);
/* What was given to task_new, if it was with that `done`; else NULL. */
void *task_arg(const struct task *t, task_done *done);

/* Makes it runnable with the `nargs` topmost values. */
void task_start(struct task *t, int nargs);

/* Ends a task that has not ended: pending waits are cancelled, and pending
 * to-be-closed variables closed, first those of the coroutines in which it
 * waits, from the inside out; `done` is called with TASK_CANCELLED. What closes
 * them may not wait. Only while task_can_cancel. */
void task_cancel(struct task *t);
/* False for the running task, for those that run what is running now (it may be
 * a variable that closes), and for those that are just being cancelled. */
bool task_can_cancel(const struct task *t);

/* ---- waiting, for bindings ---- */

/* One wait, embedded in the binding's box (a userdata on the coroutine's
 * stack, so it lives as long as the wait). `cancel` stops the operation when
 * the task is cancelled; the operation must not call task_wake after it. */
struct task_wait {
  struct task *task; /* set by task_await; NULL when nobody waits */
  void (*cancel)(struct task_wait *w);
};

/* LJMP: parks the running task until task_wake(w); then `k` runs with `ctx`
 * and its results are those of the C function that returned
 * task_await(...). */
LJMP int task_await(lua_State *L, struct task_wait *w, lua_KContext ctx,
                    lua_KFunction k);

/* Raises, with a text for people, when the running code cannot wait (inside a
 * sort comparator, say). Call before starting an operation. */
LJMP void task_check_can_wait(lua_State *L, const char *what);

/* Makes the waiting task runnable; harmless when nobody waits. */
void task_wake(struct task_wait *w);

/* The task that is running now in this vm, or NULL. */
struct task *task_running(struct vm *vm);

/* Whether any task could run now. */
bool task_ready(const struct vm *vm);

/* Nanoseconds of processor time this task has used so far, measured around
 * its resumes. */
uint64_t task_busy(const struct task *t);

/* When it last had the processor, by loop_clock. */
uint64_t task_stopped(const struct task *t);

/* LJMP: lets other tasks and the loop run, then goes on with no results. */
LJMP int task_yield(lua_State *L);

/* ---- for runtime.c ---- */

/* NULL when memory is out. */
struct task_set *task_set_new(struct vm *vm);
/* Cancels every task; before the state is closed. */
void task_set_cancel(struct task_set *set);
void task_set_free(struct task_set *set); /* after that; accepts NULL */

#endif
