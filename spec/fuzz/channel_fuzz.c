/* SPDX-License-Identifier: MIT */
/* libFuzzer: any bytes as the peer of a channel, cut at any place, amid
 * whatever its owner does: sessions attached and detached, requests, replies,
 * messages, a carrier that blocks. The input is an option byte and a list of
 * steps. Whatever they are: what the channel sends are whole frames within the
 * limits that the peer has granted; a request calls back once at most; the end
 * has a kind and one line of text. */
#include "../host/net/pipe_carrier.c" /* NOLINT: programs here are one file */

#include "net/channel_internal.h"

#include <endian.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_CALLS = 64, MAX_STEPS = 400, MAX_SENT = 8 * 1024 * 1024 };

enum step {
  FEED,  /* length (1 byte), bytes */
  FRAME, /* kind, length (2 bytes): a frame of the bytes that follow */
  ZEROS, /* kind, length (2 bytes, in units of 8): a frame of zeros */
  TAKE,  /* bytes (2 bytes) */
  ROOM,  /* bytes that are taken at once (1 byte, in units of 64) */
  ATTACH,
  DETACH,
  RESUME, /* messages received, limit (1 byte each, in units of 1 KiB) */
  ADD,    /* a message: length (2 bytes, in units of 8) */
  FLUSH,
  HOLD,
  TASKS,
  REQUEST, /* length (1 byte) */
  CANCEL,  /* which */
  REPLY,   /* to the id (1 byte): length (2 bytes, in units of 8) */
  ACTION,  /* in the next callback: a step of this list */
  EXPIRE,
  LATER,
  SHARED, /* the owner changes */
  CLOSE,
  BREAK,
  STEPS,
};

struct world {
  struct loop *loop;
  struct pipe_end pipe, peer;
  struct channel *c;
  struct resumable r;
  const uint8_t *at, *stop;
  uint8_t action; /* 0: none */
  int depth;
  int ready, ended;
  struct {
    bool open;
    uint32_t id;
  } calls[MAX_CALLS];
  int call_count;
  size_t sent; /* bytes that have been taken */
  /* what the channel sends */
  bool greeted;
  uint64_t granted; /* the highest limit ever */
};

static void step(struct world *w, enum step what);

static void require(bool ok)
{
  if (!ok) abort();
}

static size_t next(struct world *w, size_t bytes)
{
  size_t n = 0;
  while (bytes-- && w->at < w->stop) n = n << 8 | *w->at++;
  return n;
}

static void check_error(const struct err *e)
{
  require(e->kind[0] && e->text[0]);
  for (const char *s = e->text; *s; s++) require(*s >= ' ' && *s <= '~');
}

/* ---- the owner ---- */

static void act(struct world *w)
{
  uint8_t action = w->action;
  w->action = 0;
  w->depth++;
  if (action && w->depth < 4) step(w, action % STEPS);
  w->depth--;
}

static void on_ready(void *arg)
{
  struct world *w = arg;
  require(!w->ready++ && !w->ended);
  act(w);
}

static void on_request(void *arg, uint32_t id, const uint8_t *data, size_t len)
{
  struct world *w = arg;
  uint8_t sum = 0;
  require(w->ready && !w->ended && w->c);
  for (size_t i = 0; i < len; i++) sum ^= data[i]; /* can be read */
  if (sum & 1) channel_reply(w->c, id, data, len);
  act(w);
}

static void on_end(void *arg, const struct err *reason)
{
  struct world *w = arg;
  require(!w->ended++ && w->c);
  check_error(reason);
  for (int i = 0; i < w->call_count; i++) require(!w->calls[i].open);
  require(!w->r.channel);
  act(w);
}

static void on_reply(void *arg, const uint8_t *data, size_t len,
                     const struct err *e)
{
  struct world *w = arg;
  require(!w->ended && w->call_count);
  if (e) check_error(e);
  require(e ? !len && !data : w->ready);
  act(w);
}

/* Requests are told apart by their reply functions' argument. */
static struct call {
  struct world *w;
  int index;
} call_args[MAX_CALLS];

static void on_call(void *arg, const uint8_t *data, size_t len,
                    const struct err *e)
{
  struct call *call = arg;
  require(call->w->calls[call->index].open);
  call->w->calls[call->index].open = false;
  on_reply(call->w, data, len, e);
}

static int on_message(void *arg, const uint8_t *data, size_t len, struct err *e)
{
  struct world *w = arg;
  uint8_t sum = 0;
  require(w->ready && !w->ended && len && len <= PROTOCOL_MAX_MESSAGE);
  for (size_t i = 0; i < len; i++) sum ^= data[i];
  act(w);
  return sum == 0xff ? err_set(e, "protocol", "malformed") : 0;
}

static void on_room(void *arg)
{
  act(arg);
}

static const struct channel_events events = {on_ready, on_request, on_end};
static const struct resumable_events session_events = {on_message, on_room};

/* ---- what the channel sends ---- */

/* Consumes whole frames of what was taken. */
static void check_sent(struct world *w)
{
  static const char preface[] = "moonfleet/5\n";
  struct buf *b = &w->pipe.wire;
  size_t at = 0;
  if (!w->greeted) {
    if (b->len < sizeof(preface) - 1) return;
    require(!memcmp(b->data, preface, sizeof(preface) - 1));
    at = sizeof(preface) - 1;
    w->greeted = true;
  }
  while (b->len - at >= HEAD_SIZE) {
    uint32_t head;
    memcpy(&head, b->data + at, HEAD_SIZE);
    size_t len = le32toh(head) & 0xffffff, kind = le32toh(head) >> 24;
    require(kind >= PROTOCOL_REQUEST && kind <= PROTOCOL_LAST);
    require(len && len <= CHANNEL_MAX_FRAME);
    require(kind != PROTOCOL_ACK || len == ACK_SIZE);
    require(kind != PROTOCOL_PART || len == CHANNEL_MAX_FRAME);
    if (b->len - at - HEAD_SIZE < len) break;
    at += HEAD_SIZE + len;
  }
  w->sent += at;
  buf_consume(b, at);
}

static void check(struct world *w)
{
  struct resumable *r = &w->r;
  check_sent(w);
  require(!w->pipe.wrong);
  require(r->acked <= r->begun && r->begun <= r->number);
  require(r->kept <= r->end && resumable_bytes(r) >= r->kept);
  if (r->limit.bytes > w->granted) w->granted = r->limit.bytes;
  for (struct resumable_message *m = STAILQ_FIRST(&r->sent); m;
       m = STAILQ_NEXT(m, link))
    require(m->number > r->begun || m->start < w->granted);
  if (!w->c) return;
  require(w->c->assembly.bytes.len <= PROTOCOL_MAX_MESSAGE);
  require(w->c->frame.len <= CHANNEL_MAX_FRAME);
  require(w->c->asked.len <= CHANNEL_MAX_REQUESTS * ID_SIZE);
  require(w->c->replies + w->c->replies_out <
          CHANNEL_MAX_REPLIES + 16 * CHANNEL_MAX_FRAME);
  require(w->c->resumable == (r->channel ? r : NULL));
}

/* ---- the steps ---- */

static void forget_channel(struct world *w)
{
  for (int i = 0; i < w->call_count; i++) w->calls[i].open = false;
  w->c = NULL;
}

static void feed_frame(struct world *w, bool zeros)
{
  uint8_t head[HEAD_SIZE];
  uint32_t kind = (uint32_t)next(w, 1);
  size_t len = next(w, 2), left = (size_t)(w->stop - w->at);
  if (zeros)
    len *= 8;
  else if (len > left)
    len = left;
  uint32_t word = htole32((uint32_t)len | kind << 24);
  memcpy(head, &word, sizeof(head));
  const uint8_t *from = w->at;
  if (!zeros) w->at += len; /* a callback may read on */
  pipe_feed(&w->pipe, head, sizeof(head));
  uint8_t *content = zeros ? calloc(1, len + 1) : NULL;
  if (!zeros || content) pipe_feed(&w->pipe, zeros ? content : from, len);
  free(content);
}

static void request(struct world *w)
{
  static const uint8_t zeros[255];
  struct err e;
  int i = w->call_count;
  size_t len = next(w, 1);
  if (!w->c || i == MAX_CALLS) return;
  call_args[i] = (struct call){w, i};
  uint32_t id = channel_request(w->c, zeros, len, on_call, &call_args[i], &e);
  if (id) {
    w->calls[i].id = id;
    w->calls[i].open = true;
    w->call_count++;
  } else {
    check_error(&e);
  }
}

static void add(struct world *w)
{
  size_t len = next(w, 2) * 8 + 1;
  if (resumable_failed(&w->r) || !resumable_has_room(&w->r)) return;
  struct buf *b = resumable_message(&w->r);
  uint8_t *to = buf_room(b, len);
  if (!to) return;
  memset(to, 'm', len);
  b->len += len;
}

static void reply(struct world *w)
{
  uint32_t id = (uint32_t)next(w, 1);
  size_t len = next(w, 2) * 8;
  void *content = calloc(1, len + 1);
  if (w->c && content) channel_reply(w->c, id, content, len);
  free(content);
}

static void resume(struct world *w)
{
  struct resumable_ack ack = {.received = next(w, 1)};
  struct err e;
  ack.bytes = next(w, 1) * 1024;
  if (resumable_resume(&w->r, &ack, &e) < 0) check_error(&e);
}

static void step(struct world *w, enum step what)
{
  size_t n;
  switch (what) {
  case FEED:
    n = next(w, 1);
    if (n > (size_t)(w->stop - w->at)) n = (size_t)(w->stop - w->at);
    w->at += n;
    pipe_feed(&w->pipe, w->at - n, n);
    break;
  case FRAME: feed_frame(w, false); break;
  case ZEROS: feed_frame(w, true); break;
  case TAKE:
    if (!w->depth && w->sent < MAX_SENT) pipe_take(&w->pipe, next(w, 2));
    break;
  case ROOM: w->pipe.room = next(w, 1) * 64; break;
  case ATTACH:
    if (w->c && !w->ended) channel_attach(w->c, &w->r);
    break;
  case DETACH: resumable_detach(&w->r); break;
  case RESUME: resume(w); break;
  case ADD: add(w); break;
  case FLUSH: resumable_flush(&w->r); break;
  case HOLD: resumable_hold(&w->r, !w->r.held); break;
  case TASKS: resumable_grant_tasks(&w->r, next(w, 1)); break;
  case REQUEST: request(w); break;
  case CANCEL:
    n = next(w, 1);
    if (!w->c || n >= (size_t)w->call_count) break;
    channel_cancel(w->c, w->calls[n].id);
    w->calls[n].open = false;
    break;
  case REPLY: reply(w); break;
  case ACTION: w->action = (uint8_t)next(w, 1); break;
  case EXPIRE:
    if (!w->r.ack_timer.slot) break;
    loop_timer_clear(w->loop, &w->r.ack_timer);
    w->r.ack_timer.on_expire(&w->r.ack_timer);
    break;
  case LATER:
    if (!w->depth) loop_drain(w->loop);
    break;
  case SHARED:
    if (w->c) channel_set_events(w->c, &events, w);
    break;
  case CLOSE:
    if (!w->c) break;
    channel_close(w->c);
    forget_channel(w);
    break;
  case BREAK:
    if (!w->depth) pipe_break(&w->pipe);
    break;
  case STEPS: break;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct world w = {.at = data, .stop = data + size};
  struct err e;
  if (!size) return 0;
  w.loop = loop_new(&e);
  require(w.loop);
  uint8_t options = (uint8_t)next(&w, 1);
  struct channel_options how = {
      .loop = w.loop, .skip_noise = options & 1, .wait_for_peer = options & 2};
  pipe_init(&w.pipe, &w.peer);
  w.pipe.room = options & 4 ? 0 : SIZE_MAX;
  resumable_init(&w.r, w.loop, 1, &session_events, &w);
  w.c = channel_new(&w.pipe.carrier, &how, &events, &w, &e);
  require(w.c);
  if (options & 8) pipe_feed(&w.pipe, "moonfleet/5\n", 12);
  for (int i = 0; i < MAX_STEPS && w.at < w.stop; i++) {
    step(&w, (enum step)(next(&w, 1) % STEPS));
    check(&w);
  }
  if (w.c && !w.ended) pipe_break(&w.pipe);
  loop_drain(w.loop);
  require(!w.c || w.ended);
  check(&w);
  channel_close(w.c);
  loop_drain(w.loop);
  require(w.pipe.closed);
  resumable_free(&w.r);
  loop_free(w.loop);
  pipe_free(&w.pipe);
  pipe_free(&w.peer);
  return 0;
}
