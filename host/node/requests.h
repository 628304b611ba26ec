/* SPDX-License-Identifier: MIT */
/* Acts on the requests of drivers: for struct rpc_handlers, whose argument is
 * the node. [loop] */
#ifndef MF_REQUESTS_H
#define MF_REQUESTS_H

#include "net/rpc.h"

void requests_on_request(void *node, struct rpc_request *req, uint32_t pipe,
                         const uint8_t *data, size_t len);
/* A connection has ended. */
void requests_on_disconnect(void *node, uint32_t pipe);

#endif
