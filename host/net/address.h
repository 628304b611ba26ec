/* SPDX-License-Identifier: MIT */
/* Addresses of nodes: tcp://HOST:PORT, ipc://PATH, abstract://NAME. [any] */
#ifndef MF_ADDRESS_H
#define MF_ADDRESS_H

#include <stdbool.h>

enum address_kind {
  ADDRESS_TCP,
  ADDRESS_IPC,
  ADDRESS_ABSTRACT,
  ADDRESS_UNKNOWN, /* no address of a node */
};

enum address_kind address_kind(const char *url);

/* Whether only this machine can reach the address. A name other than localhost
 * counts as one of another machine, whatever it resolves to. */
bool address_is_local(const char *url);

#endif
