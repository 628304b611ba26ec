/* SPDX-License-Identifier: MIT */
/* The version of the program. */
#ifndef MF_VERSION_H
#define MF_VERSION_H

#define MOONFLEET_VERSION "0.1.0"

/* [any] The commit that the program was built from: 40 hexadecimal digits, then
 * "-dirty" if its files were changed; or "unknown". scripts/commit.sh writes
 * it. */
extern const char moonfleet_commit[];

#endif
