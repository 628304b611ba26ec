/* SPDX-License-Identifier: MIT */
/* MessagePack tokens over plain bytes
 * (https://github.com/msgpack/msgpack/blob/master/spec.md): writers that append
 * to a buf, and a reader that never reads past its end. There is no Lua here:
 * codec.c builds Lua values on it. [any] thread: no shared state. */
#ifndef MF_MSGPACK_H
#define MF_MSGPACK_H

#include "base/buf.h"

enum mp_type {
  MP_NIL,
  MP_BOOL,
  MP_INT,   /* fits int64_t */
  MP_UINT,  /* above INT64_MAX */
  MP_FLOAT, /* float 32 or 64 */
  MP_STR,
  MP_BIN,
  MP_ARRAY,
  MP_MAP,
  MP_EXT,
};

struct mp_token {
  enum mp_type type;
  union {
    bool boolean;
    int64_t integer;
    uint64_t unsigned_integer;
    double number;
    struct { /* STR, BIN, EXT: points into the input */
      const uint8_t *data;
      size_t len;
      int8_t ext_type;
    } bytes;
    uint32_t count; /* ARRAY: elements; MAP: pairs */
  } u;
};

struct mp_reader {
  const uint8_t *at, *end;
};

/* Reads the next token. Returns 0; 1 at the end of the input; -1 when the input
 * is malformed or cut, and the reader stays where it was. The token of a
 * container is its head only; its elements follow as tokens. A count larger
 * than the bytes left is an error, so that the caller may allocate by it. */
int mp_read(struct mp_reader *r, struct mp_token *t);

/* Typed reads: 0, or -1 when the next token is of another type. */
int mp_read_array(struct mp_reader *r, uint32_t *count);
int mp_read_int(struct mp_reader *r, int64_t *value);
/* STR or BIN; points into the input. */
int mp_read_bytes(struct mp_reader *r, const uint8_t **data, size_t *len);
/* A number of seconds, 0 to 1e9. */
int mp_read_seconds(struct mp_reader *r, double *seconds);
/* Skips one whole value, however deep, in constant memory. Returns 0 or -1. */
int mp_skip(struct mp_reader *r);

/* Writers pick the shortest form, float 32 too when it loses nothing. A token
 * is written whole or not at all; failure is sticky in the buf. Lengths above
 * UINT32_MAX make the buf fail. */
void mp_write_nil(struct buf *b);
void mp_write_bool(struct buf *b, bool value);
void mp_write_int(struct buf *b, int64_t value);
void mp_write_float(struct buf *b, double value);
void mp_write_str(struct buf *b, const void *data, size_t len);
void mp_write_cstr(struct buf *b, const char *s);
void mp_write_bin(struct buf *b, const void *data, size_t len);
/* The head only: the caller appends the `len` bytes. */
void mp_write_bin_head(struct buf *b, size_t len);
void mp_write_array(struct buf *b, size_t count);
void mp_write_map(struct buf *b, size_t count);

/* Write one entry of a map. */
void mp_put_int(struct buf *b, const char *key, int64_t value);
void mp_put_str(struct buf *b, const char *key, const char *value);
void mp_put_float(struct buf *b, const char *key, double value);

#endif
