/* SPDX-License-Identifier: MIT */
/* This unit provides the numbers that keep the HTTP client within the limit of
 * open files (RLIMIT_NOFILE), which its connections, the kept ones too, and its
 * lookups of names share with everything else in the process. [any] thread. */
#ifndef MF_HTTP_FILES_H
#define MF_HTTP_FILES_H

#include <stddef.h>

struct http_files {
  size_t connections; /* at most, those in use and those kept together */
  size_t lookups;     /* at a time, at most */
};

/* Divides a limit of `open_files`. Each number is at least 1. */
struct http_files http_files_divide(size_t open_files);

/* Divides the limit that the process has now. */
struct http_files http_files_now(void);

#endif
