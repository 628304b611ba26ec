/* SPDX-License-Identifier: MIT */
/* Whether the machine keeps this process from the metadata services of clouds,
 * as the control group of moonfleet-workers.service should (IPAddressDeny=).
 * Systemd does that by BPF, and says nothing where it cannot. */
#ifndef MF_METADATA_PROBE_H
#define MF_METADATA_PROBE_H

/* Logs a warning if the machine does not. Sends an empty datagram to
 * 169.254.169.254, which is bound to the loopback device and therefore never
 * leaves the machine. [main, before confine_process] */
void metadata_probe(void);

#endif
