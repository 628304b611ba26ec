/* SPDX-License-Identifier: MIT */
#include "lua/runtime.h"

#include "lua/coroutine.h"
#include "lua/task.h"

LJMP static int l_open(lua_State *L)
{
  coroutine_open(L);
  return 0;
}

struct vm *runtime_new(const struct vm_options *options, struct err *e)
{
  struct vm *vm = vm_new(options, e);
  if (!vm) return NULL;
  vm->tasks = task_set_new(vm);
  if (!vm->tasks)
    err_set(e, "memory", "out of memory for a Lua state");
  else if (vm_pcall(vm, l_open, NULL, e) == 0)
    return vm;
  runtime_free(vm);
  return NULL;
}

void runtime_free(struct vm *vm)
{
  if (!vm) return;
  struct task_set *tasks = vm->tasks;
  if (tasks) task_set_cancel(tasks);
  vm_free(vm);
  task_set_free(tasks);
}
