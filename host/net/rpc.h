/* SPDX-License-Identifier: MIT */
/* Request and reply over nng (REQ/REP): the client side, one socket per peer
 * with many requests in flight (contexts), and the server side, which may reply
 * in any order and at any time. nng's threads only fill a struct and post it to
 * the loop's mailbox.
 *
 * nng's own resending is off (its default runs a long job again every minute);
 * a lost connection fails the requests on it at once, and the caller decides
 * whether to retry. All functions are [loop]; none calls back before it
 * returns.
 *
 * URLs: tcp://HOST:PORT, ipc://PATH, abstract://NAME. */
#ifndef MF_RPC_H
#define MF_RPC_H

#include "base/err.h"
#include "event/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest message either side accepts. */
enum { RPC_MAX_MESSAGE = 80 * 1024 * 1024 };

/* [any] The version of the nng in use: "1.11.0". */
const char *rpc_library_version(void);

/* ---- client ---- */

struct rpc_peer;
struct rpc_call;

enum rpc_state { RPC_UP, RPC_FAILED, RPC_DOWN };

/* Called with RPC_UP once the connection stands; with RPC_FAILED (`e`: kind
 * "connect" or "timeout") when it cannot be made; with RPC_DOWN (`e`: kind
 * "lost") when it breaks. After FAILED or DOWN the peer does not reconnect, and
 * every call fails. */
typedef void rpc_on_state(void *arg, enum rpc_state state, const struct err *e);

/* Starts to connect. NULL and `e` (kind "usage") when the URL is malformed. */
struct rpc_peer *rpc_dial(struct loop *loop, const char *url,
                          uint64_t timeout_ms, rpc_on_state *on_state,
                          void *arg, struct err *e);

/* Ends the connection; calls in flight that are not cancelled call back later,
 * with "lost", and the peer is freed after the last of them. Accepts NULL. */
void rpc_close(struct rpc_peer *peer);

/* Called once: the reply (valid during the call), or `e` with kind "lost",
 * "timeout" or "memory". */
typedef void rpc_on_reply(void *arg, const uint8_t *data, size_t len,
                          const struct err *e);

/* Sends a copy of `data`. timeout_ms 0 means none. NULL and `e` on failure. */
struct rpc_call *rpc_call(struct rpc_peer *peer, const void *data, size_t len,
                          uint64_t timeout_ms, rpc_on_reply *on_reply,
                          void *arg, struct err *e);

/* The call never calls back; a reply to it is dropped. */
void rpc_cancel(struct rpc_call *call);

/* ---- server ---- */

struct rpc_server;
struct rpc_request;

struct rpc_handlers {
  /* A request from connection `pipe`; `data` is valid during the call. The
   * handler must call rpc_reply or rpc_drop once, now or later. */
  void (*on_request)(void *arg, struct rpc_request *req, uint32_t pipe,
                     const uint8_t *data, size_t len);
  /* That connection has ended: no request comes from it any more, but those
   * that are held must still be replied to. */
  void (*on_disconnect)(void *arg, uint32_t pipe);
  size_t max_request; /* bytes; 0: RPC_MAX_MESSAGE */
};

/* Listens on every URL of the NULL-terminated list; NULL and `e` (kind "usage":
 * in use, malformed, not permitted) when one fails. A connection that has far
 * too many requests, or does not take its replies, is closed; so is one that
 * sends nothing at all for a while, and the quietest when there are too many.
 *
 * Sockets of ipc addresses get `ipc_mode` (0600, say), whatever the umask,
 * before anybody can connect. Without bits for others in it, only connections
 * of this process's user and of root are accepted where the transport tells the
 * user: ipc and abstract do, tcp does not. */
struct rpc_server *rpc_listen(struct loop *loop, const char *const *urls,
                              int ipc_mode, const struct rpc_handlers *handlers,
                              void *arg, struct err *e);
/* Requests without a reply are dropped, and must not be used again. */
void rpc_server_close(struct rpc_server *server);

/* Replies with a copy of `data` and ends the request. */
void rpc_reply(struct rpc_request *req, const void *data, size_t len);
/* Ends the request without a reply. */
void rpc_drop(struct rpc_request *req);

/* ---- both ---- */

/* Whether the URL can only be reached from this machine: ipc, abstract, or tcp
 * to a loopback address. */
bool rpc_is_local(const char *url);

/* [main] At exit, when every peer and server is closed and the loop freed. */
void rpc_global_free(void);

#endif
