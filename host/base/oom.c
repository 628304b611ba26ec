/* SPDX-License-Identifier: MIT */
#include "base/oom.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Added to the score; what a process gets for half of the machine's memory. */
enum { SCORE = 500, SCORE_MAX = 1000 };

/* The number after `name` in a file of lines "name number", or 0. */
static int64_t read_count(const char *path, const char *name)
{
  char line[256];
  int64_t count = 0;
  size_t len = strlen(name);
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  while (fgets(line, sizeof(line), file))
    if (!strncmp(line, name, len) && line[len] == ' ')
      count = strtoll(line + len, NULL, 10);
  fclose(file);
  return count;
}

/* Control groups of version 2, which have a line "0::/path" in the list. */
static int64_t group_kills(void)
{
  char line[512], path[640];
  int64_t count = 0;
  FILE *file = fopen("/proc/self/cgroup", "re");
  if (!file) return 0;
  while (fgets(line, sizeof(line), file)) {
    if (strncmp(line, "0::/", 4)) continue;
    line[strcspn(line, "\n")] = 0;
    snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.events", line + 3);
    count = read_count(path, "oom_kill");
  }
  fclose(file);
  return count;
}

int64_t oom_kills(void)
{
  return read_count("/proc/vmstat", "oom_kill") + group_kills();
}

void oom_volunteer(void)
{
  int score = 0;
  FILE *file = fopen("/proc/self/oom_score_adj", "r+e");
  if (!file) return;
  if (fscanf(file, "%d", &score) == 1) {
    score = score + SCORE > SCORE_MAX ? SCORE_MAX : score + SCORE;
    rewind(file);
    fprintf(file, "%d\n", score);
  }
  fclose(file);
}
