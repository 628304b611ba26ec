/* SPDX-License-Identifier: MIT */
/* Acts on what drivers send: requests on their channels, and the numbered
 * messages of their sessions. [loop] */
#ifndef MF_REQUESTS_H
#define MF_REQUESTS_H

#include "net/channel.h"
#include "node/state.h"

/* A listener_on_channel, whose argument is the node; what it returns is the
 * argument of these events. */
void *requests_on_channel(void *node, struct channel *c);
extern const struct channel_events requests_channel_events;

/* For session_list.events. */
extern const struct resumable_events requests_session_events;

#endif
