/* SPDX-License-Identifier: MIT */
/* The version of the program. */
#ifndef MF_VERSION_H
#define MF_VERSION_H

#define MOONFLEET_VERSION "0.1.0"

#endif
