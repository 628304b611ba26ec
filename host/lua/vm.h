/* SPDX-License-Identifier: MIT */
/* struct vm: a Lua state of the host. It has an allocator with a cap, the
 * embedded library behind `require`, the host's C modules in package.preload as
 * `host.*`, and one protected entry from C, vm_pcall. A vm belongs to the
 * thread of its loop. */
#ifndef MF_VM_H
#define MF_VM_H

#include "base/err.h"
#include "base/log.h"
#include "event/loop.h"
#include "lua/lua_compat.h"

struct channel_flusher;
struct http;
struct task;
struct task_page_writer;
struct task_set;

/* What the states of a process share. The program owns it. */
struct vm_host {
  struct loop *loop;
  struct task_page_writer *task_page; /* shows the running task, or NULL */
  struct http *http;                  /* made by the first use, in lib_http.c */
  struct channel_flusher *flusher;    /* of a driver: see lib_channel.h */
  bool trusted; /* the states run only the program's own code: host.http may
                   sign requests and reach the metadata service */
  struct log_limit *log_limit; /* for what scripts log, or NULL */
  const char *lua_path;     /* folder of the Lua library, or NULL: embedded */
  const char *allow_hosts;  /* addresses beyond the public ones that jobs may
                               reach, a list of http_filter.h; NULL: none */
  const char *modules;      /* modules of the node that jobs may require: names,
                               separated by commas; NULL: none */
  const char *path, *cpath; /* of package; NULL: Lua's defaults */
};

struct vm_options {
  struct vm_host *host;    /* borrowed, outlives the vm */
  const luaL_Reg *modules; /* host.* modules: {"host.http", open} ... {NULL} */
  size_t memory_cap;       /* bytes of Lua memory; 0: no cap */
  bool search_path;        /* require searches package.path and cpath as well */
  void *user;              /* vm->user */
};

/* Read-only except where a field says otherwise. */
struct vm {
  lua_State *L; /* the main thread of the state */
  struct vm_host *host;
  void *user;             /* of vm_options */
  struct task_set *tasks; /* set by runtime_new, for task.c */
  /* The running task; task.c, coroutine.c and preempt.c write these. */
  struct task *running; /* or NULL */
  bool host_yield;  /* it yields to the loop, not by its own coroutine.yield */
  int no_wait;      /* resumes in progress by code that cannot yield */
  size_t used, cap; /* bytes of Lua memory */
  /* Charges memory to the task that allocates it. Once the state is over its
   * cap, an allocation fails only if the running task has already allocated
   * more than the reserve (1/8 of the cap); others may use the reserve. task.c
   * sets the running total before a resume and reads it after. */
  size_t allocated;
};

/* Makes a state without tasks; see runtime_new. NULL and `e` with kind "memory"
 * or "raise". */
struct vm *vm_new(const struct vm_options *options, struct err *e);
/* Closes the state. Accepts NULL. */
void vm_free(struct vm *vm);

/* The vm that `L` (any coroutine of it) belongs to. */
struct vm *vm_of(lua_State *L);

/* A locked coroutine cannot be resumed or closed by Lua code; a new one is not
 * locked. */
void vm_lock_coroutine(lua_State *L, bool locked);
bool vm_is_locked(lua_State *L);

/* Collects all garbage and gives memory back to the system, after a task has
 * run out of memory. */
void vm_collect(struct vm *vm);

/* The one protected entry from C: calls `f` on the main thread, in protected
 * mode and with a traceback, with light userdata `arg` as its argument. 0, or
 * -1 and `e` with kind "memory" or "raise". */
int vm_pcall(struct vm *vm, lua_CFunction f, void *arg, struct err *e);

/* Returns `arg` inside the function that vm_pcall calls. Lua code can never
 * call such a function; those that it can call check their userdata. */
void *vm_arg(lua_State *L);

/* LJMP [-0, +1]: pushes the function `name` of the library's module `module`.
 */
LJMP void vm_push_library(lua_State *L, const char *module, const char *name);

/* Logs `message` with the error of a task that raised: the error is on top of
 * its stack, the traceback below. Within the host's log limit. Runs no Lua
 * code. */
void vm_log_error(lua_State *L, const char *message);

/* Whether the function of `ar`, of an active call, belongs to the Lua library.
 */
bool vm_in_library(lua_State *L, lua_Debug *ar);

/* LJMP [-0, +1]: pushes the traceback of `co`, which has the error on top of
 * its stack. Omits frames of the library, and tail calls by them, unless the
 * library itself raised the error. */
LJMP void vm_traceback(lua_State *L, lua_State *co);

/* LJMP [-0, +1]: pushes "file:line: " of the innermost call outside the
 * library, as luaL_where does for a level, or "". */
LJMP void vm_where(lua_State *L);

/* LJMP: raises a message that begins with vm_where, so that a mistake in the
 * use of the library is reported where the library was called. The format is
 * that of lua_pushfstring. */
LJMP int vm_misuse(lua_State *L, const char *format, ...);

/* LJMP [-0, +1]: pushes an error table {kind=, message=} with the metatable of
 * errors, to which fleet.errors adds the metamethods. */
LJMP void vm_push_error(lua_State *L, const struct err *e);

/* LJMP: pushes nil and the error table and returns 2: `return vm_fail(L, &e);`
 */
LJMP int vm_fail(lua_State *L, const struct err *e);

#endif
