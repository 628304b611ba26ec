/* SPDX-License-Identifier: MIT */
#include "lua/preempt.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A task that computes must not hold up the rest, nor its own time limit. A
 * standing count hook would halve Lua's speed, so a signal, every SLICE of
 * processor time, sets the hook; the hook takes itself off and yields. Code
 * that cannot yield (a sort comparator) goes on until it can. So does the Lua
 * library: what its tasks share (the state of a scheduler, say) may be half
 * changed then, and it is left again soon. */
#define SLICE (5 * LOOP_MS)

/* For the signal handler, which no argument reaches: the innermost coroutine
 * running now. */
static lua_State *volatile current;

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer delivers signals only at calls it knows, and a loop in Lua
 * makes none: its build pays for a standing hook instead. */
static const bool standing_hook = true;

/* How a fortified Lua raises and yields. ThreadSanitizer knows longjmp alone:
 * of any other it takes all functions that are left for still running, and it
 * keeps a copy of that ever longer stack for each place that allocates. */
_Noreturn void __longjmp_chk(jmp_buf env, int value);
_Noreturn void __longjmp_chk(jmp_buf env, int value)
{
  longjmp(env, value);
}
#else
static const bool standing_hook = false;
#endif

static bool started; /* there are slices */
static timer_t timer;

/* How many returns of functions are watched in a slice for the one that leads
 * from the library to other code, and how many of them are left. */
enum { RETURNS_WATCHED = 200 };
static volatile sig_atomic_t returns_left;

static void on_slice_hook(lua_State *L, lua_Debug *ar);

/* Whether the function of `ar` is written in Lua, outside of the library. */
static bool is_script(lua_State *L, lua_Debug *ar)
{
  return lua_getinfo(L, "S", ar) && *ar->what != 'C' && !vm_in_library(L, ar);
}

/* Code that does little but call the library is in it whenever a slice ends.
 * So the end of such a slice is made up for when the library returns. */
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
  if (in_library && standing_hook) return;
  if (in_library && returns_left > 0) {
    lua_sethook(L, on_return_hook, LUA_MASKRET, 0);
    return;
  }
  if (!standing_hook) lua_sethook(L, NULL, 0, 0);
  if (in_library || !vm->running || !lua_isyieldable(L) || vm->no_wait) return;
  vm->host_yield = true;
  lua_yield(L, 0);
}

void preempt_enter(lua_State *L)
{
  if (L && standing_hook && started && !lua_gethook(L))
    lua_sethook(L, on_slice_hook, LUA_MASKCOUNT, 100000);
  current = L;
}

bool preempt_entered(void)
{
  return current != NULL;
}

static int start_slice(void)
{
  struct itimerspec slice = {.it_value = {.tv_nsec = SLICE}};
  return timer_settime(timer, 0, &slice, NULL);
}

/* lua_sethook is what Lua's own interpreter calls in its signal handler. It
 * visits the whole stack, which can take longer than a slice: the next one
 * begins only then, or a deep recursion would get no further. */
static void on_slice(int signal_number)
{
  (void)signal_number;
  lua_State *L = current;
  int saved = errno;
  lua_Hook hook = L ? lua_gethook(L) : on_slice_hook;
  /* the library that was to return may have called a function instead */
  if (!hook || hook == on_return_hook) {
    returns_left = RETURNS_WATCHED;
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
  /* the thread's own clock: an idle process gets no signals */
  if (!standing_hook &&
      (sigaction(SIGPROF, &action, NULL) < 0 ||
       timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) < 0 ||
       start_slice() < 0))
    return err_errno(e, "system", errno, "cannot start the slice timer");
  started = true;
  /* the caller is preempted, too */
  preempt_enter(current);
  return 0;
}
