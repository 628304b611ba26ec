/* SPDX-License-Identifier: MIT */
#include "wrap/xml_lib.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

/* Their interface is not the same: a program goes with what it was compiled
 * with, as if it were linked. */
#if LIBXML_VERSION >= 21400
static const char soname[] = "libxml2.so.16";
#else
static const char soname[] = "libxml2.so.2";
#endif

/* Not passed on, as a library that is linked would not be either. */
const struct xml_lib *libxml;

int xml_lib_load(struct err *e)
{
  static struct xml_lib lib; /* never unloaded: documents outlive their users */
  if (libxml) return 0;
  void *handle = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
  const char *missing = handle ? NULL : dlerror();
  /* a pointer to a function is none to an object, hence the copy */
#define FIND(name)                                                             \
  if (!missing) {                                                              \
    void *found = dlsym(handle, #name);                                        \
    if (!found) missing = #name " is not in it";                               \
    memcpy(&lib.name, &found, sizeof(found));                                  \
  }
  XML_FUNCTIONS(FIND)
#undef FIND
  if (missing)
    return err_set(e, "system", "XML needs %s (libxml2): %s", soname, missing);
  libxml = &lib;
  return 0;
}
