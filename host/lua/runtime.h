/* SPDX-License-Identifier: MIT */
/* Lua states that run tasks: a vm, its tasks, and coroutines in which tasks can
 * wait. [loop] */
#ifndef MF_RUNTIME_H
#define MF_RUNTIME_H

#include "lua/vm.h"

/* NULL and `e` with kind "memory" or "raise". */
struct vm *runtime_new(const struct vm_options *options, struct err *e);

/* Cancels all tasks, then closes the state. Accepts NULL. */
void runtime_free(struct vm *vm);

#endif
