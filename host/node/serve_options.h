/* SPDX-License-Identifier: MIT */
/* The options of the node program, as the command line's Lua gives them. */
#ifndef MF_SERVE_OPTIONS_H
#define MF_SERVE_OPTIONS_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct serve_options {
  /* URLs, NULL-terminated; read last. None: the node has one channel, over
   * these descriptors, and ends with it. */
  const char *const *listen;
  int in_fd, out_fd; /* taken over; 0 and 1: standard input and output, which
                        become empty and stderr; -1: none */
  const char *tls;   /* folder of the keys of tcp addresses, or NULL */
  bool tls_stored;   /* `tls` names keys in a store: the monitor fetches them */
  bool standby;      /* the monitor says when the node begins to listen */
  bool insecure;     /* listens on other addresses than loopback without keys */
  int ipc_mode;      /* see listener.h */
  const char *name;
  const char *release;
  const char *lua_path;  /* folder of the Lua library, or NULL: embedded */
  const char *zone;      /* EC2 availability zone, or NULL when unknown */
  const char *instance;  /* EC2 instance id, or NULL when unknown */
  const char *http_host; /* address that answers those who watch the node
                            (lua/fleet/node/status.lua), or NULL */
  int http_port;
  const char *audit; /* file (audit.h), or NULL */
  /* See instance_monitor.h: whether this is an EC2 instance, how AWS is called,
   * and how often (ms, 0: the default) the store of the keys is read. */
  bool monitor_instance;
  const char *lifecycle_hook, *region, *profile; /* or NULL */
  int64_t tls_interval;
  const char *allow_hosts;  /* what jobs may reach, see struct vm_host */
  const char *modules;      /* that jobs may require, or NULL */
  const char *path, *cpath; /* of package, where these are */
  int workers;
  int64_t worker_memory; /* bytes of data each may have; 0: no limit */
  int64_t lease;         /* ms; 0: PROTOCOL_LEASE, with descriptors none */
  int64_t lease_exit; /* ms without a request of a driver after which the node
                         ends; 0: never */
  int64_t drain_timeout;     /* ms until a draining node leaves although tasks
                                run; 0: never */
  const char *worker_cgroup; /* see worker_cgroup.h */
  int64_t frozen_after; /* ms without a sign of life until a worker is killed;
                           0: the default */
};

/* LJMP [-0, +0]: reads the table on top. `options` is all zero, and owns its
 * strings from then on, also when this raises. */
void serve_options_read(lua_State *L, struct serve_options *options);
void serve_options_free(struct serve_options *options);

#endif
