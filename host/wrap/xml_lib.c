/* SPDX-License-Identifier: MIT */
#include "wrap/xml_lib.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

/* The two have different interfaces. As with a linked library, only the one
 * that the program was compiled with fits. */
#if LIBXML_VERSION >= 21400
static const char soname[] = "libxml2.so.16";
#else
static const char soname[] = "libxml2.so.2";
#endif

const struct xml_lib *libxml;

int xml_lib_load(struct err *e)
{
  static struct xml_lib lib; /* never unloaded */
  void *handle = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
  const char *missing = handle ? NULL : dlerror();
  /* memcpy, because C does not convert a pointer to an object to one to a
   * function */
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
