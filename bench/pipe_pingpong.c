/* SPDX-License-Identifier: MIT */
/* Measures values that go through a command that copies its standard input to
 * its standard output, and back, one after another.
 *
 *   pipe-pingpong COUNT BYTES COMMAND [ARGUMENT...]
 *
 * prints the microseconds of one round trip. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WARM_UP = 10 };

static void must(int ok, const char *what)
{
  if (ok) return;
  perror(what);
  exit(1);
}

/* Starts the command; `to` and `from` are its standard input and output. */
static void start(char **command, int *to, int *from)
{
  int in[2], out[2];
  must(!pipe(in) && !pipe(out), "pipe");
  pid_t pid = fork();
  must(pid >= 0, "fork");
  if (pid == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    close(in[1]);
    close(out[0]);
    execvp(command[0], command);
    perror(command[0]);
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  fcntl(in[1], F_SETFL, O_NONBLOCK);
  *to = in[1];
  *from = out[0];
}

static void round_trip(int to, int from, const char *value, char *back,
                       size_t size)
{
  size_t sent = 0, got = 0;
  while (got < size) {
    struct pollfd p[] = {{.fd = from, .events = POLLIN},
                         {.fd = sent < size ? to : -1, .events = POLLOUT}};
    must(poll(p, 2, -1) > 0, "poll");
    if (p[1].revents) {
      ssize_t n = write(to, value + sent, size - sent);
      must(n > 0, "write");
      sent += (size_t)n;
    }
    if (p[0].revents) {
      ssize_t n = read(from, back + got, size - got);
      must(n > 0, "read");
      got += (size_t)n;
    }
  }
  must(!memcmp(value, back, size), "another value came back");
}

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
  if (argc < 4) {
    fprintf(stderr, "usage: pipe-pingpong COUNT BYTES COMMAND [ARGUMENT...]\n");
    return 2;
  }
  long count = strtol(argv[1], NULL, 10);
  size_t size = strtoul(argv[2], NULL, 10);
  char *value = malloc(size), *back = malloc(size);
  int to, from;
  must(value && back, "malloc");
  memset(value, 'x', size);
  start(argv + 3, &to, &from);
  for (int i = 0; i < WARM_UP; i++) round_trip(to, from, value, back, size);
  double began = now();
  for (long i = 0; i < count; i++) round_trip(to, from, value, back, size);
  printf("%.2f\n", (now() - began) / (double)count * 1e6);
  return 0;
}
