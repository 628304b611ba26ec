/* SPDX-License-Identifier: MIT */
/* This unit mends two faults of nng 1.x from outside: calls that the library
 * makes to sendmsg and to nng_stream_recv and nng_stream_send come here first,
 * because a program's own symbols go before a library's. Where nng is linked
 * static only the first is mended; the other has to be in its source. */
#ifndef MF_NNG_MEND_H
#define MF_NNG_MEND_H

/* [any] Before the first socket of nng is opened. */
void nng_mend(void);

#endif
