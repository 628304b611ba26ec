/* SPDX-License-Identifier: MIT */
/* Measures the lower bound of every remote call: sequential nng REQ/REP with a
 * 64 byte message between two processes.
 *
 *   nng-pingpong serve URL       replies until it is killed
 *   nng-pingpong call URL COUNT  prints the microseconds of one round trip */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MESSAGE_BYTES = 64, WARM_UP = 1000 };

static void must(int rc, const char *what)
{
  if (rc == 0) return;
  fprintf(stderr, "nng-pingpong: %s: %s\n", what, nng_strerror(rc));
  exit(1);
}

static void serve(const char *url)
{
  nng_socket s;
  nng_msg *msg;
  must(nng_rep0_open(&s), "open");
  must(nng_listen(s, url, NULL, 0), url);
  for (;;) {
    must(nng_recvmsg(s, &msg, 0), "receive");
    must(nng_sendmsg(s, msg, 0), "send");
  }
}

static void round_trips(nng_socket s, long count)
{
  static const char text[MESSAGE_BYTES] = "return nothing";
  for (long i = 0; i < count; i++) {
    nng_msg *msg;
    must(nng_msg_alloc(&msg, 0), "message");
    must(nng_msg_append(msg, text, sizeof(text)), "message");
    must(nng_sendmsg(s, msg, 0), "send");
    must(nng_recvmsg(s, &msg, 0), "receive");
    nng_msg_free(msg);
  }
}

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void call(const char *url, long count)
{
  nng_socket s;
  must(nng_req0_open(&s), "open");
  must(nng_dial(s, url, NULL, 0), url);
  round_trips(s, WARM_UP);
  double start = now();
  round_trips(s, count);
  printf("%.2f\n", (now() - start) / (double)count * 1e6);
  nng_close(s);
}

int main(int argc, char **argv)
{
  if (argc == 3 && !strcmp(argv[1], "serve")) {
    serve(argv[2]);
  } else if (argc == 4 && !strcmp(argv[1], "call")) {
    call(argv[2], strtol(argv[3], NULL, 10));
  } else {
    fprintf(stderr, "usage: nng-pingpong serve URL | call URL COUNT\n");
    return 2;
  }
  return 0;
}
