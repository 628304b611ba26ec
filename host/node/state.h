/* SPDX-License-Identifier: MIT */
/* struct node: drivers' sessions on one side, workers on the other, and what
 * goes between them (protocol.h). serve.c is the program around it. The folder,
 * from the ground up:
 *   serve_options.c   the options of `moonfleet serve`
 *   session.c         all that is kept for one driver
 *   not_begun.c       what a worker was sent and may not have begun
 *   workers.c         the worker processes
 *   peer.c            the channels of drivers
 *   audit.c           who submitted what
 *   dispatch.c        frames to workers, backpressure
 *   cancel.c          how tasks are cancelled
 *   notices.c         events of the node itself
 *   node.c            the node's life: draining, ends of sessions
 *   elements.c        acting on the numbered messages of drivers
 *   requests.c        acting on requests of drivers
 *   worker_events.c   frames and deaths of workers
 *   rotation.c        keeps the keys up to date
 *   node_status.c     what the node knows of itself, for Lua
 *   instance_monitor.c  keys from a store, notices of the machine, --http
 * [loop] */
#ifndef MF_STATE_H
#define MF_STATE_H

#include "event/loop.h"
#include "net/assembly.h"
#include "node/serve_options.h"
#include "node/session.h"
#include "node/workers.h"

struct node {
  const struct serve_options *options;
  struct loop *loop;
  struct workers *workers; /* NULL until they are started */
  struct session_list sessions;
  struct assembly_set unfinished; /* messages of drivers */
  TAILQ_HEAD(peers, peer) idle;   /* those without a session; quietest first */
  int idle_count, max_idle;
  struct loop_timer idle_timer;
  struct audit *audit;            /* NULL: none */
  struct loop_timer cancel_timer; /* set while cancellations are unanswered */
  struct loop_timer leave;
  struct loop_timer drain_end;  /* see serve_options.h */
  struct loop_timer lease_exit; /* see serve_options.h */
  uint64_t began, heard;        /* any driver, by the loop's clock */
  uint8_t boot[8];
  bool draining, gave_up;           /* the time to drain has passed */
  uint64_t drain_deadline;          /* 0: none */
  unsigned stops;                   /* signals that have asked it to end */
  struct instance_monitor *monitor; /* NULL: none */
  /* The node has drained; NULL: it leaves at once. Otherwise its loop is
   * stopped when the monitor has done its part, within a limit. */
  void (*on_drained)(struct node *n);
  size_t unfetched; /* bytes of events, when `leave` was last checked */
  bool paused;      /* workers are not read */
};

#endif
