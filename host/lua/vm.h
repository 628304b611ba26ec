/* SPDX-License-Identifier: MIT */
/* This unit provides Lua states as the host uses them: a capped allocator, the
 * embedded library behind `require`, the host's C modules in package.preload
 * as `host.*`, and one protected way in. A vm belongs to the thread of its
 * loop. Uses Lua only; which libraries a state gets is the caller's choice. */
#ifndef MF_VM_H
#define MF_VM_H

#include "base/err.h"
#include "base/log.h"
#include "event/loop.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

/* Marks functions that may raise a Lua error (longjmp) and so must not be
 * called while owning anything that only C would free. */
#define LJMP

struct vm;
struct http;
struct task_page_writer;

/* What the states of one process share; owned by the program. */
struct vm_host {
  struct loop *loop;
  /* Where the running task is shown to the node, or NULL. */
  struct task_page_writer *task_page;
  struct http *http;   /* made by the first use, in lib_http.c */
  bool allow_loopback; /* for http */
  bool trusted; /* the program's own code runs there: host.http signs requests,
                   and reaches the metadata service */
  struct log_limit *log_limit; /* of what scripts log; NULL: none */
  const char *lua_path; /* read the Lua library from this folder, or NULL */
};

struct vm_options {
  struct vm_host *host;    /* borrowed, outlives the vm */
  const luaL_Reg *modules; /* host.* modules: {"host.http", open} ... {NULL} */
  size_t memory_cap;       /* bytes of Lua memory; 0: none */
  bool search_path;        /* require also looks at package.path and cpath */
  void *user;              /* for vm_user */
};

/* A state without tasks; runtime_new makes one with. NULL and `e` with kind
 * "memory" or "raise". */
struct vm *vm_new(const struct vm_options *options, struct err *e);
/* Closes the state. Accepts NULL. */
void vm_free(struct vm *vm);

/* The vm that `L` (any coroutine of it) belongs to. */
struct vm *vm_of(lua_State *L);

/* One bit for each coroutine, clear in a new one; for task.c. */
void vm_mark(lua_State *L, bool marked);
bool vm_marked(lua_State *L);

/* What the code that runs now may do, and why it yielded: what tasks, their
 * coroutines and preemption know of each other. */
struct vm_turn {
  bool in_task;    /* a task runs, which can be parked */
  bool host_yield; /* it yields for the loop: not by the job's own yield */
  int no_wait;     /* resumes under way by code that cannot yield */
};
struct vm_turn *vm_turn(struct vm *vm);

/* The tasks of the state: kept here for task.c, set by runtime_new. */
struct task_set;
struct task_set *vm_tasks(const struct vm *vm);
void vm_set_tasks(struct vm *vm, struct task_set *tasks);

lua_State *vm_state(struct vm *vm); /* the main thread of the state */
struct vm_host *vm_host(struct vm *vm);
void *vm_user(struct vm *vm);

/* Memory is charged to the task that allocates it. Once the state is over its
 * cap, an allocation fails only if the running task has already allocated more
 * than the reserve; others may use the reserve. task.c sets the running total
 * of a task before it resumes it and reads the total after. */
void vm_meter_set(struct vm *vm, size_t allocated);
size_t vm_meter(const struct vm *vm);

/* Collects all garbage and gives memory back to the system: for after a task
 * that ran out of it. */
void vm_collect(struct vm *vm);

/* The one protected way in from C: runs `f` with light userdata `arg` as its
 * argument on the main thread, in protected mode, with a traceback. 0, or -1
 * with kind "memory" or "raise". */
int vm_pcall(struct vm *vm, lua_CFunction f, void *arg, struct err *e);

/* `arg`, in the function that vm_pcall runs. No script can call such a
 * function; all that scripts can call take userdata by luaL_checkudata. */
void *vm_arg(lua_State *L);

/* As log_event, for a script: within the limit that its host has. */
void vm_log(lua_State *L, enum log_level level, const char *message,
            const struct log_field *fields);

/* Logs `message` with the error of a task that raised: the error is on top of
 * its stack, the traceback below. Runs no Lua code. */
void vm_log_error(lua_State *L, const char *message);

/* Whether the function of `ar`, of an active call, is one of the Lua library.
 */
bool vm_in_library(lua_State *L, lua_Debug *ar);

/* LJMP [-0, +1]: pushes the traceback of `co`, the error on top of its stack.
 * Frames of the library, and what they were tail-called by, are left out unless
 * the error is the library's own fault. */
LJMP void vm_traceback(lua_State *L, lua_State *co);

/* LJMP [-0, +1]: pushes "file:line: " of the innermost call that is not one of
 * the library, as luaL_where does of a level; "" when there is none. */
LJMP void vm_where(lua_State *L);

/* LJMP: raises a message at that place: what a user of the library did wrong is
 * told where he did it. The format is that of lua_pushfstring. */
LJMP int vm_misuse(lua_State *L, const char *format, ...);

/* LJMP [-0, +1]: pushes an error table {kind=, message=} with the metatable of
 * errors, which is in the registry; fleet.errors adds how they are shown. */
LJMP void vm_push_error(lua_State *L, const struct err *e);

/* LJMP: pushes nil and the error table; returns 2, for `return vm_fail(...)` */
LJMP int vm_fail(lua_State *L, const struct err *e);

#endif
