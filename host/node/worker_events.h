/* SPDX-License-Identifier: MIT */
/* Acts on what workers send, and on their comings and goings; the argument is
 * the node. [loop] */
#ifndef MF_WORKER_EVENTS_H
#define MF_WORKER_EVENTS_H

#include "node/workers.h"

extern const struct worker_events worker_events;

#endif
