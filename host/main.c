/* SPDX-License-Identifier: MIT */
/* The moonfleet program: one binary for driver, node and worker. */
#include "base/fault.h"
#include "base/log.h"
#include "base/notify.h"
#include "driver/driver.h"
#include "lua/vm.h"
#include "net/carrier_nng.h"
#include "node/serve.h"
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/prctl.h>

/* Exit codes of a program that cannot start, and of one whose output is not
 * read any more (docs/errors.md). */
enum { EXIT_USAGE = 2, EXIT_CLOSED = 128 + SIGPIPE };

/* Opens missing standard descriptors. The next file to be opened would get
 * them, and with them what is written to stdout. */
static void fill_descriptors(void)
{
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0) /* in the wrong direction, so that use fails */
      open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* Blocks the signals that are read from a signalfd. To be called before any
 * thread starts, so that all inherit it. */
static void block_signals(void)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGCHLD);
  /* read only while a line is edited; SIGCONT continues the process anyway */
  sigaddset(&set, SIGWINCH);
  sigaddset(&set, SIGCONT);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit fails with EFBIG */
}

static int fail(const struct err *e)
{
  fprintf(stderr, "moonfleet: %s\n", e->text);
  return strcmp(e->kind, "usage") ? EXIT_FAILURE : EXIT_USAGE;
}

/* Flushes stdout: a full disk may show only now. */
static int flush_output(int rc)
{
  struct err e;
  errno = 0;
  if (fflush(stdout) == 0 && !ferror(stdout)) return rc;
  if (errno == EPIPE) return EXIT_CLOSED;
  if (errno)
    err_errno(&e, "output", errno, "cannot write to stdout");
  else /* an earlier write failed, with its own errno */
    err_set(&e, "output", "cannot write to stdout");
  return fail(&e);
}

/* `moonfleet worker`: for node/workers.c only, so not in the help. */
static int run_worker(void)
{
  struct err e;
  signal(SIGPIPE, SIG_IGN);
  /* For the node alone: Ctrl-C at a terminal reaches its whole process group,
   * and so do a service manager's and timeout(1)'s SIGTERM. */
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  log_init("worker", LOG_INFO);
  int rc = worker_run(&e);
  return rc < 0 ? fail(&e) : rc;
}

static int run_node(const struct serve_options *options)
{
  struct err e;
  log_init("node", log_level());
  malloc_trim(0); /* what the Lua state of the command line has freed */
  int rc = serve_run(options, &e);
  return rc < 0 ? fail(&e) : rc;
}

LJMP static void on_table(lua_State *L, void *options)
{
  serve_options_read(L, options);
}

int main(int argc, char **argv)
{
  struct serve_options node = {0};
  struct err e;
  int exit_code;
  prctl(PR_SET_NAME, "moonfleet"); /* not "exe", when we started ourselves */
  fill_descriptors();
  if (fault_init(getenv("MOONFLEET_FAULT"), getenv("MOONFLEET_FAULT_SEED"),
                 &e) < 0)
    return fail(&e);
  if (argc > 1 && !strcmp(argv[1], "worker")) return run_worker();
  block_signals();
  log_init("driver", LOG_WARN);
  notify_take();
  int rc = driver_run(argc, argv, on_table, &node, &exit_code, &e);
  if (rc < 0)
    rc = fail(&e);
  else if (node.listen && exit_code == EXIT_SUCCESS) /* read whole */
    rc = run_node(&node);
  else
    rc = flush_output(exit_code);
  serve_options_free(&node);
  carrier_nng_global_free();
  return rc;
}
