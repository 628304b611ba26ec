/* SPDX-License-Identifier: MIT */
/* libFuzzer: any messages of drivers and workers to a node, in any order, on
 * channels that break and come again. The node and its channels are real, the
 * bytes under the channels and the worker processes are fakes; the input is a
 * list of steps. Whatever they are: each request is replied to once, unless its
 * channel has ended or it waits for a message; a driver gets whole events, a
 * worker whole frames, each blob once and before the work that needs it; tasks
 * are counted right. */
#include "node/cancel.c" /* NOLINT: for its timer */

#include "base/log.h"
#include "node/node.h"
#include "node/peer.h"
#include "node/requests.h"
#include "node/worker_events.h"

#include <endian.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORKERS = 2, CHANNELS = 3 };

/* ---- the stand-ins ---- */

/* The far end of a channel. */
struct wire {
  struct carrier carrier; /* first: passed to its functions */
  bool open, paused;
  struct buf received; /* of the node, beginning with its preface */
  struct channel *channel;
  struct peer *peer;
  uint64_t messages; /* numbered ones, whole */
  uint32_t asked;    /* ids of requests: 1, 2, ... */
  uint32_t replied;  /* how many */
  uint8_t replies[4096];
};

/* What a worker has. */
struct kept {
  struct kept *next;
  int64_t session;
  size_t len;
  uint8_t key[PROTOCOL_MAX_KEY];
};

struct workers {
  struct worker_process list[WORKERS];
  struct kept *kept[WORKERS];
  struct buf frame;
  bool killed[WORKERS];
  bool busy;     /* a cancelled task is on every processor */
  size_t queued; /* before every worker */
};

struct worker_process *workers_get(struct workers *p, int64_t index)
{
  return index < 1 || index > WORKERS ? NULL : &p->list[index - 1];
}

struct worker_process *workers_next(struct workers *p,
                                    const struct worker_process *w)
{
  return workers_get(p, w ? w->index + 1 : 1);
}

struct buf *workers_begin(struct worker_process *w)
{
  struct workers *p = w->workers;
  buf_clear(&p->frame);
  return w->alive ? &p->frame : NULL;
}

static struct kept **find_kept(struct workers *p,
                               const struct worker_process *w, int64_t session,
                               const uint8_t *key, size_t len)
{
  struct kept **at = &p->kept[w->index - 1];
  while (*at && ((*at)->session != session || (*at)->len != len ||
                 memcmp((*at)->key, key, len)))
    at = &(*at)->next;
  return at;
}

static void drop_kept(struct kept **at)
{
  struct kept *k = *at;
  *at = k->next;
  free(k);
}

static void keep(struct kept **at, int64_t session, const uint8_t *key,
                 size_t len)
{
  struct kept *k = calloc(1, sizeof(*k));
  if (!k || len > sizeof(k->key)) abort();
  k->session = session;
  k->len = len;
  memcpy(k->key, key, len);
  k->next = *at;
  *at = k;
}

static void drop_all(struct workers *p, struct worker_process *w,
                     int64_t session)
{
  struct kept **at = &p->kept[w->index - 1];
  while (*at) {
    if ((*at)->session == session)
      drop_kept(at);
    else
      at = &(*at)->next;
  }
}

/* Keeps the blobs that the worker would have. */
static void take_frame(struct workers *p, struct worker_process *w,
                       struct mp_reader *r)
{
  uint32_t count;
  const uint8_t *name, *key;
  size_t name_len, len;
  int64_t session;
  if (mp_read_array(r, &count) < 0 || mp_read_bytes(r, &name, &name_len) < 0 ||
      mp_read_int(r, &session) < 0)
    abort();
  bool is_blob = name_len == 4 && !memcmp(name, "blob", 4);
  bool is_drop = name_len == 4 && !memcmp(name, "drop", 4);
  bool is_work = name_len == 4 && !memcmp(name, "work", 4);
  if (name_len == 3 && !memcmp(name, "end", 3)) drop_all(p, w, session);
  if (!is_blob && !is_drop && !is_work) return;
  if (mp_read_bytes(r, &key, &len) < 0) abort();
  struct kept **at = find_kept(p, w, session, key, len);
  if (is_blob == !!*at) abort(); /* twice, or not at all */
  if (is_blob) keep(at, session, key, len);
  if (is_drop) drop_kept(at);
}

int workers_end(struct worker_process *w, const struct iovec *parts, int count)
{
  struct workers *p = w->workers;
  for (int i = 0; i < count; i++)
    buf_add(&p->frame, parts[i].iov_base, parts[i].iov_len);
  struct mp_reader r = {p->frame.data, p->frame.data + p->frame.len};
  if (p->frame.failed) return -1;
  if (mp_skip(&r) < 0 || r.at != r.end) abort();
  r.at = p->frame.data;
  take_frame(p, w, &r);
  return 0;
}

bool workers_is_queued(const void *w, uint64_t number)
{
  (void)w;
  return number % 2; /* some do */
}

size_t workers_unread(const struct worker_process *w)
{
  return w->workers->queued;
}

void workers_pause(struct workers *p, bool pause)
{
  (void)p, (void)pause;
}

void workers_kill(struct worker_process *w)
{
  w->workers->killed[w->index - 1] = true;
}

void workers_give_up(struct workers *p)
{
  WORKERS_FOREACH (w, p)
    if (w->outstanding) workers_kill(w);
}

bool workers_kill_if_running(struct worker_process *w, int64_t session,
                             int64_t job, int64_t first, int64_t count)
{
  (void)session;
  if (job < 0 || first < 0 || count < 0) abort();
  if (!w->workers->busy) return false;
  workers_kill(w);
  return true;
}

/* ---- the far ends ---- */

static void wire_start(struct carrier *c)
{
  (void)c;
}

/* Each frame of the node is whole in a send or in several. */
static bool wire_send(struct carrier *c, const struct iovec *parts, int count)
{
  struct wire *w = (struct wire *)c;
  for (int i = 0; i < count; i++)
    buf_add(&w->received, parts[i].iov_base, parts[i].iov_len);
  if (w->received.failed) abort();
  return true;
}

static void wire_pause(struct carrier *c, bool pause)
{
  ((struct wire *)c)->paused = pause;
}

static void wire_close(struct carrier *c)
{
  struct wire *w = (struct wire *)c;
  w->open = false;
  w->channel = NULL;
  w->peer = NULL;
}

/* What the node sends is not trusted to be whole values only where a worker has
 * written it. */
static void take_reply(struct wire *w, const uint8_t *data, size_t len)
{
  uint32_t id;
  struct mp_reader r = {data + sizeof(id), data + len};
  if (len < sizeof(id) || mp_skip(&r) < 0 || r.at != r.end) abort();
  memcpy(&id, data, sizeof(id));
  id = le32toh(id);
  if (!id || id > w->asked || w->replies[id]) abort();
  w->replies[id] = 1;
  w->replied++;
}

/* Reads what the node has sent. */
static void read_wire(struct wire *w)
{
  static const char preface[] = "moonfleet/5\n";
  size_t at = sizeof(preface) - 1;
  if (w->received.len < at) return;
  if (memcmp(w->received.data, preface, at)) abort();
  while (w->received.len - at >= 4) {
    uint32_t head;
    memcpy(&head, w->received.data + at, sizeof(head));
    head = le32toh(head);
    size_t len = head & 0xffffff;
    if (len > CHANNEL_MAX_FRAME) abort();
    if (w->received.len - at - 4 < len) break;
    at += 4;
    if (head >> 24 == PROTOCOL_REPLY)
      take_reply(w, w->received.data + at, len);
    else if (head >> 24 == PROTOCOL_LAST)
      w->messages++;
    else if (head >> 24 != PROTOCOL_PART && head >> 24 != PROTOCOL_ACK)
      abort();
    at += len;
  }
  /* the preface stays in front */
  size_t left = w->received.len - at;
  memmove(w->received.data + sizeof(preface) - 1, w->received.data + at, left);
  w->received.len = sizeof(preface) - 1 + left;
}

static void deliver(struct wire *w, const void *data, size_t len)
{
  if (w->open && !w->paused)
    w->carrier.events->on_bytes(w->carrier.arg, data, len);
}

static void send_frame(struct wire *w, enum protocol_frame kind,
                       const void *data, size_t len)
{
  uint8_t frame[4 + 65536 + 4];
  uint32_t head = htole32((uint32_t)len | (uint32_t)kind << 24);
  if (len > sizeof(frame) - 4) abort();
  memcpy(frame, &head, 4);
  if (len) memcpy(frame + 4, data, len);
  deliver(w, frame, 4 + len);
}

static void send_request(struct wire *w, const uint8_t *data, size_t len)
{
  uint8_t request[4 + 65536];
  if (w->asked + 1 >= sizeof(w->replies)) return;
  uint32_t id = htole32(++w->asked);
  memcpy(request, &id, 4);
  if (len) memcpy(request + 4, data, len);
  send_frame(w, PROTOCOL_REQUEST, request, 4 + len);
}

/* An acknowledgement of what has arrived or, with enough bytes, any other. */
static void send_ack(struct wire *w, const uint8_t *data, size_t len)
{
  uint64_t ack[3] = {htole64(w->messages), htole64((uint64_t)1 << 40), 0};
  if (len >= sizeof(ack)) memcpy(ack, data, sizeof(ack));
  send_frame(w, PROTOCOL_ACK, ack, sizeof(ack));
}

/* ---- the steps ---- */

struct bed {
  struct workers workers;
  struct node node;
  struct wire wires[CHANNELS];
};

static struct wire *connect_wire(struct bed *b, unsigned i)
{
  static const struct carrier_type type = {wire_start, wire_send, wire_pause,
                                           wire_close};
  const struct channel_options options = {.loop = b->node.loop};
  struct wire *w = &b->wires[i];
  struct err e;
  if (w->open) return w;
  buf_free(&w->received);
  *w = (struct wire){.carrier = {.type = &type, .peer = "fuzz"}, .open = true};
  buf_init(&w->received, SIZE_MAX / 2);
  w->channel =
      channel_new(&w->carrier, &options, &requests_channel_events, NULL, &e);
  if (!w->channel) abort();
  w->peer = requests_on_channel(&b->node, w->channel);
  if (!w->peer) abort();
  channel_set_events(w->channel, &requests_channel_events, w->peer);
  deliver(w, "moonfleet/5\n", 12);
  return w;
}

static void break_wire(struct wire *w)
{
  struct err e;
  err_set(&e, "lost", "the fuzzer broke it");
  if (w->open && !w->paused) w->carrier.events->on_end(w->carrier.arg, &e);
}

/* A worker that was killed dies, and another takes its place. */
static void replace(struct bed *b, struct worker_process *w)
{
  int i = w->index - 1;
  struct worker_death death = {.signal = SIGKILL,
                               .why = b->workers.killed[i] ? "cancelled" : NULL,
                               .has_task = w->outstanding > 0,
                               .task = {.session = b->node.sessions.last_number,
                                        .job = 1,
                                        .id = 1,
                                        .attempt = 1}};
  b->workers.killed[i] = false;
  w->alive = false;
  worker_events.on_down(&b->node, w, &death);
  while (b->workers.kept[i]) drop_kept(&b->workers.kept[i]);
  w->outstanding = w->running = 0;
  w->generation++;
  w->alive = true;
  worker_events.on_up(&b->node, w);
}

static void check_session(const struct session *s)
{
  int64_t outstanding = 0;
  for (int i = 0; i < WORKERS; i++) {
    if (s->workers[i].outstanding < 0) abort();
    outstanding += s->workers[i].outstanding;
  }
  if (!s->failed && s->tasks - s->finished != (uint64_t)outstanding) abort();
  if (s->messages.tasks != s->finished + PROTOCOL_MAX_TASKS) abort();
  if (s->peer && s->peer->session != s) abort();
  if (!s->peer != !s->messages.channel) abort();
  if ((s->blobs.bytes == 0) != !s->blobs.count) abort();
}

static void check_wire(struct wire *w)
{
  read_wire(w);
  if (!w->open) return;
  if (w->peer->session && w->peer->session->peer != w->peer) abort();
  if (!w->paused && w->replied + (uint32_t)w->peer->cancel_count != w->asked)
    abort();
}

static void check(struct bed *b)
{
  int sessions = 0, idle = 0;
  const struct peer *p;
  loop_drain(b->node.loop);
  for (struct session *s = b->node.sessions.first; s; s = s->next, sessions++)
    check_session(s);
  if (sessions != b->node.sessions.count) abort();
  for (int i = 0; i < CHANNELS; i++) check_wire(&b->wires[i]);
  TAILQ_FOREACH (p, &b->node.idle, link) idle++;
  if (idle != b->node.idle_count) abort();
  for (int i = 0; i < WORKERS; i++) {
    struct worker_process *w = &b->workers.list[i];
    int64_t sum = 0;
    if (b->workers.killed[i]) replace(b, w);
    for (struct session *s = b->node.sessions.first; s; s = s->next)
      sum += s->workers[i].outstanding;
    if (w->outstanding != sum) abort();
  }
}

/* Whatever is waited for has taken long enough. */
static void expire(struct bed *b, uint8_t what)
{
  struct session *first = b->node.sessions.first;
  struct peer *quietest = TAILQ_FIRST(&b->node.idle);
  if (what % 4 == 0 && first) {
    first->lease = 0;
    b->node.sessions.timer.on_expire(&b->node.sessions.timer);
  } else if (what % 4 == 1 && quietest) {
    quietest->heard = 0;
    b->node.idle_timer.on_expire(&b->node.idle_timer);
  } else if (what % 4 >= 2) {
    struct worker_process *w = &b->workers.list[what / 4 % WORKERS];
    struct cancel *c;
    STAILQ_FOREACH (c, &w->cancels, link) c->due = 0;
    b->workers.busy = what % 4 == 2;
    if (w->cancel_count) b->node.cancel_timer.on_expire(&b->node.cancel_timer);
  }
}

static void step(struct bed *b, uint8_t what, const uint8_t *data, size_t len)
{
  struct worker_process *w = &b->workers.list[what / 8 % WORKERS];
  unsigned wire = what / 8 % CHANNELS;
  switch (what % 8) {
  case 0: worker_events.on_frame(&b->node, w, data, len); break;
  case 1: replace(b, w); break;
  case 2: break_wire(&b->wires[wire]); break;
  case 3: expire(b, what / 8); break;
  case 4:
    if (what / 8 % 32 == 0) node_drain(&b->node);
    b->workers.queued = (size_t)(what / 8 % 4) << 29; /* past either limit */
    if (!b->workers.queued) worker_events.on_drained(&b->node, w);
    break;
  case 5: send_request(connect_wire(b, wire), data, len); break;
  case 6: send_frame(connect_wire(b, wire), PROTOCOL_LAST, data, len); break;
  default: send_ack(connect_wire(b, wire), data, len);
  }
  check(b);
}

static void bed_open(struct bed *b, const struct serve_options *options)
{
  struct err e;
  memset(b, 0, sizeof(*b));
  struct loop *loop = loop_new(&e);
  if (!loop || node_init(&b->node, options, loop, &e) < 0) abort();
  b->node.workers = &b->workers;
  b->node.sessions.events = &requests_session_events;
  buf_init(&b->workers.frame, PROTOCOL_MAX_FRAME);
  for (int i = 0; i < WORKERS; i++) {
    struct worker_process *w = &b->workers.list[i];
    *w = (struct worker_process){
        .index = i + 1, .generation = 1, .alive = true, .workers = &b->workers};
    not_begun_init(&w->not_begun);
    STAILQ_INIT(&w->cancels);
  }
}

static void bed_close(struct bed *b)
{
  struct session *s;
  b->workers.queued = 0;
  while ((s = b->node.sessions.first)) node_end_session(&b->node, s);
  for (int i = 0; i < WORKERS; i++)
    if (b->workers.list[i].outstanding || b->workers.kept[i]) abort();
  struct loop *loop = b->node.loop;
  node_free(&b->node);
  for (int i = 0; i < CHANNELS; i++) {
    if (b->wires[i].open) abort();
    buf_free(&b->wires[i].received);
  }
  loop_free(loop);
  buf_free(&b->workers.frame);
}

/* Each step: what, two bytes of length, so many bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const struct serve_options options = {.name = "fuzz",
                                               .release = "fuzz",
                                               .workers = WORKERS,
                                               .in_fd = -1,
                                               .out_fd = -1};
  static struct bed bed;
  log_init("fuzz", LOG_ERROR);
  bed_open(&bed, &options);
  while (size >= 3) {
    size_t len = (size_t)data[1] | (size_t)data[2] << 8;
    if (len > size - 3) len = size - 3;
    step(&bed, data[0], data + 3, len);
    data += 3 + len;
    size -= 3 + len;
  }
  bed_close(&bed);
  return 0;
}
