/* SPDX-License-Identifier: MIT */
/* The descriptor of a stream of nng, which nng itself does not tell. [any] */
#ifndef MF_STREAM_DESCRIPTOR_H
#define MF_STREAM_DESCRIPTOR_H

struct nng_stream;

/* Returns the only descriptor of this process that has all that nng tells of
 * the stream: both addresses for tcp; the process at the other end for ipc.
 * Returns -1 when several do, or when it cannot be told. It stays nng's, which
 * closes it when the stream is freed. */
int stream_descriptor(struct nng_stream *stream);

#endif
