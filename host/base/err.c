/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int err_vset(struct err *e, const char *kind, const char *format, va_list ap)
{
  snprintf(e->kind, sizeof(e->kind), "%s", kind);
  vsnprintf(e->text, sizeof(e->text), format, ap);
  return -1;
}

int err_set(struct err *e, const char *kind, const char *format, ...)
{
  va_list ap;
  va_start(ap, format);
  err_vset(e, kind, format, ap);
  va_end(ap);
  return -1;
}

int err_errno(struct err *e, const char *kind, int errnum, const char *format,
              ...)
{
  va_list ap;
  va_start(ap, format);
  err_vset(e, kind, format, ap);
  va_end(ap);
  size_t used = strlen(e->text);
  char text[128];
  /* the GNU strerror_r: thread-safe, returns the text, may ignore the buffer */
  snprintf(e->text + used, sizeof(e->text) - used, ": %s",
           strerror_r(errnum, text, sizeof(text)));
  return -1;
}

void *err_calloc(size_t size, const char *what, struct err *e)
{
  void *p = calloc(1, size);
  if (!p) err_set(e, "memory", "out of memory for %s", what);
  return p;
}
