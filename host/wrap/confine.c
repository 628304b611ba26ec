/* SPDX-License-Identifier: MIT */
#include "wrap/confine.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Descriptors of a worker, most of them connections. */
enum { MAX_DESCRIPTORS = 4096 };

/* Longest word of the lists below, with its NUL. */
enum { WORD_SIZE = 64 };

/* A sanitizer writes reports, traces its process and starts a symbolizer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

extern char **environ;

/* ---- the environment ---- */

/* Without the proxy variables: jobs connect directly, see http_transfer.c. */
static const char kept[] =
    "TZ TZDIR LANG LC_* "                   /* time and text */
    "SSL_CERT_FILE SSL_CERT_DIR "           /* OpenSSL */
    "RES_OPTIONS LOCALDOMAIN "              /* the resolver */
    "LD_LIBRARY_PATH LD_PRELOAD QEMU_* "    /* how the program is loaded */
    "GLIBC_TUNABLES MALLOC_* "              /* the allocator */
    "JOURNAL_STREAM "                       /* log.h */
    "MOONFLEET_FAULT MOONFLEET_FAULT_SEED " /* fault.h */
    "*SAN_OPTIONS";                         /* sanitizers */

/* Copies the next word of `list` to `word`. False at the end of the list. */
static bool next_word(const char **list, char word[WORD_SIZE])
{
  size_t len = strcspn(*list, " ");
  snprintf(word, WORD_SIZE, "%.*s", (int)len, *list);
  *list += len + strspn(*list + len, " ");
  return len > 0;
}

static bool is_kept(const char *variable)
{
  char name[WORD_SIZE], pattern[WORD_SIZE];
  size_t len = strcspn(variable, "=");
  if (len >= sizeof(name)) return false;
  memcpy(name, variable, len);
  name[len] = 0;
  for (const char *list = kept; next_word(&list, pattern);)
    if (fnmatch(pattern, name, 0) == 0) return true;
  return false;
}

char **confine_environment(void)
{
  size_t count = 0, n = 0;
  while (environ[count]) count++;
  char **variables = calloc(count + 1, sizeof(*variables));
  if (!variables) return NULL;
  for (size_t i = 0; i < count; i++)
    if (is_kept(environ[i])) variables[n++] = environ[i];
  return variables;
}

/* ---- the filter of system calls ----
 *
 * Calls that are not listed fail with ENOSYS, as on a kernel without them, and
 * libraries then do without: the C library starts threads by clone if there is
 * no clone3, whose flags a filter cannot see. Names that this architecture or
 * libseccomp does not know are skipped. */

static const char allowed[] =
    /* memory */
    "brk madvise membarrier mmap mmap2 mprotect mremap munmap "
    /* descriptors */
    "close dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait "
    "epoll_pwait2 epoll_wait eventfd eventfd2 fcntl fcntl64 _llseek lseek "
    "_newselect pipe pipe2 poll ppoll ppoll_time64 pread64 preadv pselect6 "
    "pselect6_time64 read readv select write writev "
    /* looking at files */
    "access faccessat faccessat2 fadvise64 fadvise64_64 fstat fstat64 "
    "fstatat64 fstatfs fstatfs64 getcwd getdents getdents64 lstat lstat64 "
    "newfstatat readlink readlinkat stat stat64 statfs statfs64 statx "
    /* connections that it opens */
    "bind connect getpeername getsockname getsockopt recv recvfrom "
    "recvmmsg recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto "
    "setsockopt shutdown "
    /* threads and signals of its own */
    "exit exit_group futex futex_time64 getcpu gettid restart_syscall rseq "
    "rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend "
    "rt_sigtimedwait rt_sigtimedwait_time64 sched_getaffinity sched_yield "
    "set_robust_list set_thread_area set_tid_address sigaltstack sigreturn "
    /* time */
    "clock_getres clock_getres_time64 clock_gettime clock_gettime64 "
    "clock_nanosleep clock_nanosleep_time64 gettimeofday nanosleep time "
    "timer_create timer_delete timer_getoverrun timer_gettime "
    "timer_gettime64 timer_settime timer_settime64 times "
    /* what it is */
    "getegid geteuid getgid getpgrp getpid getppid getrandom getresgid "
    "getresuid getrlimit getrusage getuid sysinfo ugetrlimit uname";

struct rule {
  const char *name;
  struct scmp_arg_cmp argument;
};

/* PR_SET_VMA, by which the C library names memory. Not every header has it. */
enum { SET_VMA = 0x53564d41 };

enum { OPEN_CHANGES = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND };

static const struct rule allowed_with[] = {
    {"open", SCMP_A1_32(SCMP_CMP_MASKED_EQ, OPEN_CHANGES, O_RDONLY)},
    {"openat", SCMP_A2_32(SCMP_CMP_MASKED_EQ, OPEN_CHANGES, O_RDONLY)},
    {"socket", SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX, 0)},
    {"socket", SCMP_A0_32(SCMP_CMP_EQ, AF_INET, 0)},
    {"socket", SCMP_A0_32(SCMP_CMP_EQ, AF_INET6, 0)},
    {"socket", SCMP_A0_32(SCMP_CMP_EQ, AF_NETLINK, 0)}, /* lists addresses */
    {"socketpair", SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX, 0)},
#ifdef __s390__ /* the stack comes first there */
    {"clone", SCMP_A1_32(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)},
#else
    {"clone", SCMP_A0_32(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)},
#endif
    {"ioctl", SCMP_A1_32(SCMP_CMP_EQ, FIONBIO, 0)},
    {"ioctl", SCMP_A1_32(SCMP_CMP_EQ, FIONREAD, 0)},
    {"ioctl", SCMP_A1_32(SCMP_CMP_EQ, TCGETS, 0)},
    {"ioctl", SCMP_A1_32(SCMP_CMP_EQ, SIOCGIFINDEX, 0)},
    {"ioctl", SCMP_A1_32(SCMP_CMP_EQ, SIOCGIFNAME, 0)},
    {"prctl", SCMP_A0_32(SCMP_CMP_EQ, PR_SET_NAME, 0)},
    {"prctl", SCMP_A0_32(SCMP_CMP_EQ, SET_VMA, 0)},
    {"prlimit64", SCMP_A0_32(SCMP_CMP_EQ, 0, 0)}, /* its own limits */
};

/* Allows a call; only with this argument, unless it is NULL. */
static int allow(scmp_filter_ctx filter, const char *name,
                 const struct scmp_arg_cmp *argument)
{
  int number = seccomp_syscall_resolve_name(name);
  if (number == __NR_SCMP_ERROR) return 0;
  int rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number,
                                  argument ? 1 : 0, argument);
  if (rc == -EDOM) return 0; /* not of this architecture */
  return rc;
}

static int fill_filter(scmp_filter_ctx filter)
{
  const struct scmp_arg_cmp self =
      SCMP_A0_32(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0);
  int rc = 0;
  char name[WORD_SIZE];
  for (const char *list = allowed; rc == 0 && next_word(&list, name);)
    rc = allow(filter, name, NULL);
  for (size_t i = 0;
       rc == 0 && i < sizeof(allowed_with) / sizeof(allowed_with[0]); i++) {
    const struct rule *r = &allowed_with[i];
    rc = allow(filter, r->name, &r->argument);
    /* 32-bit x86 has socketcall, whose arguments a filter cannot see */
    if (rc == -EINVAL) rc = allow(filter, r->name, NULL);
  }
  return rc ? rc : allow(filter, "tgkill", &self);
}

static int filter_calls(void)
{
  int rc = -ENOMEM;
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
  if (!filter) goto out;
  /* a tree of comparisons; older releases of libseccomp have only a list */
  seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  rc = fill_filter(filter);
  if (rc == 0) rc = seccomp_load(filter);
out:
  seccomp_release(filter);
  malloc_trim(0); /* return the memory that libseccomp used */
  errno = -rc;
  return rc;
}

bool confine_can_filter(struct err *e)
{
  uint32_t action = SECCOMP_RET_ERRNO;
  if (sanitized) {
    err_set(e, "system", "this build has a sanitizer");
    return false;
  }
  if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0)
    return true;
  err_errno(e, "system", errno, "the kernel has no seccomp filters");
  return false;
}

/* ---- the process ---- */

static int limit(__rlimit_resource_t resource, rlim_t most)
{
  struct rlimit r;
  if (getrlimit(resource, &r) < 0) return -1;
  if (r.rlim_max > most) r.rlim_max = most;
  r.rlim_cur = r.rlim_max;
  return setrlimit(resource, &r);
}

/* Keeps the user id: root without capabilities can do little more than others.
 */
static int drop_capabilities(void)
{
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
  for (unsigned long c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
    prctl(PR_CAPBSET_DROP, c, 0, 0, 0); /* only root may and needs to */
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  return (int)syscall(SYS_capset, &header, none);
}

/* `rc` is the result of the call that should `what`. */
static void check(int rc, const char *what)
{
  struct err e;
  if (rc >= 0) return;
  err_errno(&e, "system", errno, "cannot %s", what);
  log_info("worker is not fully confined", LOG_STR("error", e.text));
}

void confine_process(void)
{
  check(limit(RLIMIT_CORE, 0), "forgo core files");
  check(limit(RLIMIT_NOFILE, MAX_DESCRIPTORS), "limit descriptors");
  check(drop_capabilities(), "drop capabilities");
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "forgo privileges");
  if (sanitized) return;
  check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "hide from other processes");
  check(filter_calls(), "filter system calls");
}
