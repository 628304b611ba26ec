/* SPDX-License-Identifier: MIT */
#include "net/address.h"

#include <regex.h>
#include <stddef.h>
#include <string.h>

enum address_kind address_kind(const char *url)
{
  if (!strncmp(url, "tcp://", 6)) return ADDRESS_TCP;
  if (!strncmp(url, "ipc://", 6)) return ADDRESS_IPC;
  if (!strncmp(url, "abstract://", 11)) return ADDRESS_ABSTRACT;
  return ADDRESS_UNKNOWN;
}

bool address_is_local(const char *url)
{
  /* a name like 127.example.org must not pass */
  static const char pattern[] = "^(ipc|abstract)://|"
                                "^tcp://(localhost|\\[::1]|127\\.[0-9.]*)(:|$)";
  regex_t regex;
  if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB)) return false;
  bool local = regexec(&regex, url, 0, NULL, 0) == 0;
  regfree(&regex);
  return local;
}
