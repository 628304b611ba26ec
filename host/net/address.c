/* SPDX-License-Identifier: MIT */
#include "net/address.h"

#include <regex.h>
#include <stddef.h>

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
