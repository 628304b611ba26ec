/* SPDX-License-Identifier: MIT */
/* Works around two faults of nng 1.x from outside: the library's calls of
 * sendmsg, nng_stream_recv and nng_stream_send come here first, because a
 * program's own symbols go before a library's. Where nng is linked statically
 * only the first is worked around; the other has to be fixed in its source. */
#ifndef MF_NNG_WORKAROUND_H
#define MF_NNG_WORKAROUND_H

/* [any] Before the first socket of nng is opened. */
void nng_workaround_init(void);

#endif
