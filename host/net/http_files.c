/* SPDX-License-Identifier: MIT */
#include "net/http_files.h"

#include <stdbool.h>
#include <sys/resource.h>

enum {
  /* for all that is not the HTTP client's: one in 8, and at least */
  OTHERS = 40,
  /* of a lookup: curl's pair of sockets to its thread, and what the thread has
   * open, a file or a socket, two for a moment */
  FILES_OF_LOOKUP = 4,
  ENOUGH = 1 << 20,
};

struct http_files http_files_divide(size_t open_files)
{
  size_t others = open_files / 8 > OTHERS ? open_files / 8 : OTHERS;
  size_t ours = open_files > others ? open_files - others : 0;
  size_t lookups = ours / (2 * FILES_OF_LOOKUP);
  if (lookups == 0) lookups = 1;
  size_t taken = lookups * FILES_OF_LOOKUP;
  return (struct http_files){.connections = ours > taken ? ours - taken : 1,
                             .lookups = lookups};
}

struct http_files http_files_now(void)
{
  struct rlimit limit;
  bool known = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < ENOUGH;
  return http_files_divide(known ? (size_t)limit.rlim_cur : ENOUGH);
}
