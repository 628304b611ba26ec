/* SPDX-License-Identifier: MIT */
#include "lua/preempt.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

/* A task that computes must not delay other tasks or its own time limit. A
 * permanent count hook would halve Lua's speed, so a signal sets the hook after
 * every SLICE of processor time; the hook removes itself and yields. Code that
 * cannot yield (a sort comparator) continues until it can. So does the Lua
 * library, whose tasks may be changing what they share (the state of a
 * scheduler, say); it returns soon. */
#define SLICE (5 * LOOP_MS)

/* The innermost running coroutine, for the signal handler. */
static lua_State *volatile current;

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer delivers signals only at calls that it intercepts, and a loop
 * in Lua makes none, so that its build uses a permanent hook. */
static const bool permanent_hook = true;

/* What a fortified Lua calls to raise and yield. ThreadSanitizer knows only
 * longjmp: after any other it believes that the functions left are still
 * running, and it copies that ever longer stack for each place that allocates.
 */
_Noreturn void __longjmp_chk(jmp_buf env, int value);
_Noreturn void __longjmp_chk(jmp_buf env, int value)
{
  longjmp(env, value);
}
#else
static const bool permanent_hook = false;
#endif

static bool started;
static timer_t timer;

/* How many returns of functions per slice are checked for the one that leads
 * from the library to other code, and how many of them remain. */
enum { MAX_RETURNS = 200 };
static volatile sig_atomic_t returns_left;

static void on_slice_hook(lua_State *L, lua_Debug *ar);

/* Whether the function of `ar` is written in Lua, outside of the library. */
static bool is_script(lua_State *L, lua_Debug *ar)
{
  return lua_getinfo(L, "S", ar) && *ar->what != 'C' && !vm_in_library(L, ar);
}

/* Code that does little but call the library may be in it whenever a slice
 * ends. It is preempted as soon as the library returns. */
static void on_return_hook(lua_State *L, lua_Debug *ar)
{
  lua_Debug caller;
  (void)ar;
  if (--returns_left <= 0 || !lua_getstack(L, 1, &caller))
    lua_sethook(L, NULL, 0, 0); /* the next slice may end outside */
  else if (is_script(L, &caller))
    lua_sethook(L, on_slice_hook, LUA_MASKCOUNT, 1);
}

static void on_slice_hook(lua_State *L, lua_Debug *ar)
{
  struct vm *vm = vm_of(L);
  bool in_library = vm_in_library(L, ar);
  if (in_library && permanent_hook) return;
  if (in_library && returns_left > 0) {
    lua_sethook(L, on_return_hook, LUA_MASKRET, 0);
    return;
  }
  if (!permanent_hook) lua_sethook(L, NULL, 0, 0);
  if (in_library || !vm->running || !lua_isyieldable(L) || vm->no_wait) return;
  vm->host_yield = true;
  lua_yield(L, 0);
}

lua_State *preempt_enter(lua_State *L)
{
  lua_State *before = current;
  if (L && permanent_hook && started && !lua_gethook(L))
    lua_sethook(L, on_slice_hook, LUA_MASKCOUNT, 100000);
  current = L;
  return before;
}

static int start_slice(void)
{
  struct itimerspec slice = {.it_value = {.tv_nsec = SLICE}};
  return timer_settime(timer, 0, &slice, NULL);
}

/* Lua's own interpreter, too, calls lua_sethook in its signal handler. As it
 * visits the whole stack, which can take longer than a slice, the next slice
 * begins only after it; otherwise a deep recursion would not progress. */
static void on_slice(int signal_number)
{
  (void)signal_number;
  lua_State *L = current;
  int saved = errno;
  lua_Hook hook = L ? lua_gethook(L) : on_slice_hook;
  /* the library may have called a function instead of returning */
  if (!hook || hook == on_return_hook) {
    returns_left = MAX_RETURNS;
    lua_sethook(L, on_slice_hook, LUA_MASKCOUNT, 1);
  }
  start_slice();
  errno = saved;
}

int preempt_start(struct err *e)
{
  struct sigaction action = {.sa_handler = on_slice, .sa_flags = SA_RESTART};
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID,
                           .sigev_signo = SIGPROF};
  if (started) return 0;
  event._sigev_un._tid = gettid();
  /* by the thread's own clock, so that an idle process gets no signals */
  if (!permanent_hook &&
      (sigaction(SIGPROF, &action, NULL) < 0 ||
       timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) < 0 ||
       start_slice() < 0))
    return err_errno(e, "system", errno, "cannot start the slice timer");
  started = true;
  preempt_enter(current); /* preempts the caller, too */
  return 0;
}
