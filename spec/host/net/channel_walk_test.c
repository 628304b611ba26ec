/* SPDX-License-Identifier: MIT */
/* Random walks over two ends of a session: channels over carriers that take and
 * deliver any number of bytes, block, and break at any byte, at one end or at
 * both. WALK_STEPS sets the number of steps (default: 200,000), WALK_SEED the
 * first seed; a failure prints the seed of its walk. */
#include "../test.h"
#include "net/channel_internal.h"
#include "pipe_carrier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct test channel_walk_tests[];

enum {
  STEPS_PER_WALK = 2000,
  MAX_LINKS = 4,
  MAX_ELEMENT = 1024 * 1024,
  HEADER = 12, /* of an element: number, bytes */
  MAX_CALLS = 64,
  MAX_WIRE = 1024 * 1024,
};

/* What the walks met; one that meets nothing proves nothing. */
enum met {
  CONNECTED,
  RESUMED,
  BROKEN,
  HALF_BROKEN,
  CLOSED,
  TAKEN_OVER,
  STALE,
  DETACHED,
  FULL,
  HELD,
  CUT,
  BLOCKED,
  ANSWERED,
  FAILED,
  CANCELLED,
  LATE_REPLY,
  MET,
};
static const char *const met_names[MET] = {
    "connected", "resumed",  "broken",    "half broken", "closed", "taken over",
    "stale",     "detached", "full",      "held",        "cut",    "blocked",
    "answered",  "failed",   "cancelled", "late reply",
};

struct world;
struct link;

/* A request of a side. */
struct call {
  struct side *side;
  struct link *link; /* NULL: unused */
  uint32_t id;
  int over;       /* calls of on_reply */
  bool cancelled; /* never calls back */
};

/* One end of the session. */
struct side {
  struct world *world;
  struct resumable r;
  uint64_t appended, arrived; /* elements */
  size_t largest;             /* of the elements appended, with its header */
  struct call calls[MAX_CALLS];
  int last_call;
};

/* One end of a connection. */
struct tip {
  struct link *link;
  struct side *side;
  struct pipe_end pipe;
  struct channel *channel; /* NULL: closed */
  struct {
    uint32_t id;
    size_t len;
  } late[8]; /* requests to be replied to later */
  int late_count;
};

struct link {
  bool used, opened, opening;
  struct tip tips[2]; /* of the driver, of the node */
};

struct world {
  struct test_run *t;
  struct loop *loop;
  uint64_t random;
  struct side sides[2];
  struct link links[MAX_LINKS];
  struct link *newest; /* of the driver */
  bool calm;           /* nothing happens but what must */
  bool wrong;
  unsigned met[MET];
};

static uint8_t pattern[MAX_ELEMENT + 65536];

static size_t below(struct world *w, size_t n)
{
  return (size_t)(test_random(&w->random) % n);
}

/* Mostly small numbers of 1 to max. */
static size_t any_size(struct world *w, size_t max)
{
  size_t top = (size_t)1 << below(w, 21);
  return 1 + below(w, top < max ? top : max);
}

static void require(struct world *w, bool ok, const char *what)
{
  if (ok || w->wrong) return;
  w->wrong = true;
  CHECK(w->t, ok);
  printf("  %s\n", what);
}

/* ---- elements ---- */

static const uint8_t *content(uint64_t number)
{
  return pattern + number * 7919 % 65536;
}

static void append(struct side *s)
{
  struct world *w = s->world;
  if (!resumable_has_room(&s->r)) {
    w->met[FULL]++;
    return;
  }
  struct buf *b = resumable_message(&s->r);
  uint64_t number = ++s->appended;
  uint32_t len = (uint32_t)any_size(w, MAX_ELEMENT);
  if (len + HEADER > s->largest) s->largest = len + HEADER;
  buf_add(b, &number, sizeof(number));
  buf_add(b, &len, sizeof(len));
  buf_add(b, content(number), len);
  if (below(w, 2)) resumable_flush(&s->r);
}

static int on_message(void *arg, const uint8_t *data, size_t len, struct err *e)
{
  struct side *s = arg;
  struct world *w = s->world;
  for (size_t at = 0; at < len;) {
    uint64_t number = 0;
    uint32_t size = 0;
    if (len - at >= HEADER) {
      memcpy(&number, data + at, sizeof(number));
      memcpy(&size, data + at + sizeof(number), sizeof(size));
    }
    at += HEADER;
    require(w, number == ++s->arrived, "an element is missing or repeated");
    require(w, size && at <= len && size <= len - at, "an element is cut");
    if (w->wrong) return err_set(e, "protocol", "wrong");
    require(w, !memcmp(data + at, content(number), size), "an element changed");
    at += size;
  }
  switch (w->calm ? 3 : below(w, 40)) {
  case 0:
    resumable_hold(&s->r, true);
    w->met[HELD]++;
    break;
  case 1: append(s); break;
  case 2:
    w->met[DETACHED]++;
    resumable_detach(&s->r);
    break;
  }
  return 0;
}

static void on_room(void *arg)
{
  struct side *s = arg;
  if (!s->world->calm && !below(s->world, 4)) append(s);
}

static const struct resumable_events session_events = {on_message, on_room};

/* ---- requests ---- */

static void on_reply(void *arg, const uint8_t *data, size_t len,
                     const struct err *e)
{
  struct call *call = arg;
  struct world *w = call->side->world;
  call->over++;
  require(w, !call->cancelled, "a cancelled request called back");
  w->met[e ? FAILED : ANSWERED]++;
  if (e)
    require(w, !strcmp(e->kind, "lost"), e->text);
  else
    require(w, len && !memcmp(data, content(len), len), "a reply changed");
}

static void ask(struct tip *tip)
{
  struct side *s = tip->side;
  struct world *w = s->world;
  struct err e;
  struct call *call = &s->calls[++s->last_call % MAX_CALLS];
  if (!tip->channel || (call->link && !call->over && !call->cancelled)) return;
  size_t len = any_size(w, below(w, 20) ? 2000 : CHANNEL_MAX_REQUEST);
  *call = (struct call){.side = s, .link = tip->link};
  call->id =
      channel_request(tip->channel, content(len), len, on_reply, call, &e);
  if (call->id) return;
  call->link = NULL;
  require(w, !strcmp(e.kind, "lost") || !strcmp(e.kind, "refused"), e.text);
}

static void cancel(struct side *s)
{
  struct world *w = s->world;
  struct call *call = &s->calls[below(w, MAX_CALLS)];
  if (!call->link || call->over || call->cancelled) return;
  struct tip *tip = &call->link->tips[s - w->sides];
  channel_cancel(tip->channel, call->id);
  call->cancelled = true;
  w->met[CANCELLED]++;
}

static void reply(struct tip *tip, uint32_t id, size_t len)
{
  channel_reply(tip->channel, id, content(len), len);
}

/* ---- connections ---- */

/* Closes one end. Its calls end without a word. */
static void close_tip(struct tip *tip)
{
  struct side *s = tip->side;
  if (!tip->channel) return;
  for (int i = 0; i < MAX_CALLS; i++)
    if (s->calls[i].link == tip->link && !s->calls[i].over)
      s->calls[i].cancelled = true;
  channel_close(tip->channel);
  tip->channel = NULL;
  if (s->world->newest == tip->link && s == s->world->sides)
    s->world->newest = NULL;
}

static void on_opened(void *arg, const uint8_t *data, size_t len,
                      const struct err *e)
{
  struct tip *tip = arg;
  struct side *s = tip->side;
  struct resumable_ack ack;
  struct err why;
  tip->link->opening = false;
  if (e || len != 1 + sizeof(ack)) return;
  memcpy(&ack, data + 1, sizeof(ack));
  tip->link->opened = true;
  channel_attach(tip->channel, &s->r);
  s->world->met[RESUMED]++;
  if (resumable_resume(&s->r, &ack, &why) < 0)
    require(s->world, false, why.text);
}

/* A driver sends "open" with what it has; opens the session on this link. */
static void open_session(struct tip *tip)
{
  struct resumable_ack ack;
  struct err e;
  uint8_t bytes[1 + sizeof(ack)] = {0};
  resumable_detach(&tip->side->r);
  resumable_offer(&tip->side->r, &ack);
  memcpy(bytes + 1, &ack, sizeof(ack));
  tip->link->opened = false;
  tip->link->opening =
      channel_request(tip->channel, bytes, sizeof(bytes), on_opened, tip, &e);
}

static void on_ready(void *arg)
{
  struct tip *tip = arg;
  struct world *w = tip->side->world;
  w->met[CONNECTED]++;
  if (tip->side == w->sides) open_session(tip);
}

/* The node opens it, and closes the connection that had it. */
static void accept_session(struct tip *tip, uint32_t id,
                           const struct resumable_ack *theirs)
{
  struct side *s = tip->side;
  struct world *w = s->world;
  struct resumable_ack ours;
  struct err e;
  uint8_t bytes[1 + sizeof(ours)] = {0};
  if (resumable_is_stale(&s->r, theirs)) {
    w->met[STALE]++;
    channel_reply(tip->channel, id, "", 0);
    return;
  }
  for (int i = 0; i < MAX_LINKS; i++) {
    struct tip *other = &w->links[i].tips[1];
    if (other == tip || !other->channel || other->channel != s->r.channel)
      continue;
    close_tip(other);
    w->met[TAKEN_OVER]++;
  }
  channel_attach(tip->channel, &s->r);
  resumable_offer(&s->r, &ours);
  if (resumable_resume(&s->r, theirs, &e) < 0) require(w, false, e.text);
  memcpy(bytes + 1, &ours, sizeof(ours));
  channel_reply(tip->channel, id, bytes, sizeof(bytes));
}

static void on_request(void *arg, uint32_t id, const uint8_t *data, size_t len)
{
  struct tip *tip = arg;
  struct world *w = tip->side->world;
  if (len == 1 + sizeof(struct resumable_ack) && !data[0] &&
      tip->side == &w->sides[1]) {
    struct resumable_ack ack;
    memcpy(&ack, data + 1, sizeof(ack));
    accept_session(tip, id, &ack);
    return;
  }
  require(w, !memcmp(data, content(len), len), "a request changed");
  size_t n = any_size(w, below(w, 50) ? 2000 : CHANNEL_MAX_REQUEST);
  if (below(w, 3) == 0 && tip->late_count < 8) {
    tip->late[tip->late_count].id = id;
    tip->late[tip->late_count++].len = n;
  } else if (!w->calm && below(w, 200) == 0) {
    w->met[CLOSED]++;
    close_tip(tip);
  } else {
    reply(tip, id, n);
  }
}

static void on_end(void *arg, const struct err *reason)
{
  struct tip *tip = arg;
  struct side *s = tip->side;
  struct world *w = s->world;
  require(w, !strcmp(reason->kind, "lost"), reason->text);
  for (int i = 0; i < MAX_CALLS; i++)
    require(w,
            s->calls[i].link != tip->link || s->calls[i].over ||
                s->calls[i].cancelled,
            "a request is forgotten");
  require(w, !s->r.channel || s->r.channel != tip->channel,
          "the session was not detached");
  close_tip(tip);
}

static const struct channel_events channel_events = {on_ready, on_request,
                                                     on_end};

static bool is_over(const struct link *l)
{
  return l->tips[0].pipe.closed && l->tips[1].pipe.closed;
}

static void free_link(struct world *w, struct link *l)
{
  for (int i = 0; i < 2; i++) {
    require(w, !l->tips[i].pipe.wrong, "the carrier was misused");
    require(w, l->tips[i].pipe.largest < 16 * 1024 * 1024, "a huge send");
    pipe_free(&l->tips[i].pipe);
    for (int j = 0; j < MAX_CALLS; j++) {
      struct call *call = &w->sides[i].calls[j];
      if (call->link != l) continue;
      require(w, call->over + call->cancelled == 1,
              "a request did not end exactly once");
      call->link = NULL;
    }
  }
  l->used = false;
}

/* The driver connects once more. */
static void connect_again(struct world *w)
{
  struct link *l = NULL;
  for (int i = 0; i < MAX_LINKS; i++) {
    if (w->links[i].used && is_over(&w->links[i])) free_link(w, &w->links[i]);
    if (!w->links[i].used) l = &w->links[i];
  }
  if (!l) return;
  memset(l, 0, sizeof(*l));
  l->used = true;
  if (w->newest) close_tip(&w->newest->tips[0]);
  pipe_init(&l->tips[0].pipe, &l->tips[1].pipe);
  w->newest = l;
  for (int i = 0; i < 2; i++) {
    struct channel_options options = {
        .loop = w->loop, .skip_noise = below(w, 2), .wait_for_peer = i};
    struct err e;
    l->tips[i].link = l;
    l->tips[i].side = &w->sides[i];
    l->tips[i].pipe.room = below(w, 3) ? any_size(w, MAX_WIRE) : SIZE_MAX;
    l->tips[i].channel = channel_new(&l->tips[i].pipe.carrier, &options,
                                     &channel_events, &l->tips[i], &e);
    require(w, l->tips[i].channel, "no channel");
  }
}

/* ---- the walk ---- */

static struct tip *any_tip(struct world *w)
{
  struct link *l = &w->links[below(w, MAX_LINKS)];
  if (w->newest && below(w, 4)) l = w->newest;
  return l->used ? &l->tips[below(w, 2)] : NULL;
}

static void move_bytes(struct world *w, struct tip *tip)
{
  struct pipe_end *p = &tip->pipe;
  if (below(w, 10) == 0) p->room = any_size(w, MAX_WIRE);
  w->met[BLOCKED] += p->count != 0;
  if (p->wire.len < MAX_WIRE) pipe_take(p, any_size(w, MAX_WIRE));
  for (int i = 0; i < 3; i++) pipe_deliver(p, any_size(w, MAX_WIRE));
}

static void reply_late(struct tip *tip)
{
  while (tip->channel && tip->late_count) {
    int i = --tip->late_count;
    tip->side->world->met[LATE_REPLY]++;
    reply(tip, tip->late[i].id, tip->late[i].len);
  }
}

/* The delay of an acknowledgement is over. */
static void expire(struct side *s)
{
  struct loop_timer *timer = &s->r.ack_timer;
  if (!timer->slot) return;
  loop_timer_clear(s->world->loop, timer);
  timer->on_expire(timer);
}

static void trouble(struct world *w, struct tip *tip)
{
  switch (below(w, 7)) {
  case 0:
    w->met[BROKEN]++;
    pipe_break(&tip->pipe);
    pipe_break(tip->pipe.peer);
    break;
  case 1:
    w->met[HALF_BROKEN]++;
    pipe_break(&tip->pipe);
    break;
  case 2:
    w->met[CLOSED]++;
    close_tip(tip);
    break;
  case 3:
    if (tip->channel && tip->channel == tip->side->r.channel) {
      if (tip->channel->sending && tip->channel->message) w->met[CUT]++;
      w->met[DETACHED]++;
      resumable_detach(&tip->side->r);
    }
    break;
  default: break;
  }
}

/* The driver opens the session on the channel that it has, or on a new one. */
static void open_again(struct world *w)
{
  struct tip *tip = w->newest ? &w->newest->tips[0] : NULL;
  if (!tip || below(w, 4) == 0)
    connect_again(w);
  else if (tip->channel->preface.done && !tip->link->opening)
    open_session(tip);
}

static void check_side(struct side *s)
{
  struct world *w = s->world;
  struct resumable *r = &s->r;
  size_t one = RESUMABLE_MESSAGE + MAX_ELEMENT + HEADER;
  require(w, !resumable_failed(r), "an append failed");
  require(w, r->received_bytes < r->granted.bytes + one,
          "more has arrived than was granted, and one message");
  require(w, resumable_bytes(r) < RESUMABLE_WINDOW + one,
          "more is kept than a window and one message");
  require(w, r->kept <= r->end && r->acked <= r->number, "a count is wrong");
  if (!r->channel) return;
  struct channel *c = r->channel;
  require(w, c->resumable == r, "channel and session differ");
  require(w, c->assembly.bytes.len < one, "an assembly is too long");
  require(w,
          c->replies + c->replies_out <
              CHANNEL_MAX_REPLIES + 9 * (size_t)CHANNEL_MAX_FRAME,
          "too many replies");
}

static void step(struct world *w)
{
  struct tip *tip = any_tip(w);
  struct side *s = &w->sides[below(w, 2)];
  switch (below(w, 16)) {
  case 0:
  case 1:
  case 2: append(s); break;
  case 3: resumable_flush(&s->r); break;
  case 4:
    if (s->r.held || below(w, 8) == 0) resumable_hold(&s->r, !s->r.held);
    break;
  case 5: expire(s); break;
  case 6:
    if (tip) ask(tip);
    break;
  case 7:
    if (below(w, 4) == 0)
      cancel(s);
    else if (tip)
      reply_late(tip);
    break;
  case 8:
    if (tip && below(w, 10) == 0) trouble(w, tip);
    break;
  case 9:
    if (!w->newest || below(w, w->newest->opening ? 8 : 30) == 0) open_again(w);
    break;
  default:
    if (tip) move_bytes(w, tip);
    break;
  }
  loop_drain(w->loop);
  check_side(s);
}

/* Without trouble all arrives, and is acknowledged. */
static void settle(struct world *w)
{
  for (int i = 0; i < MAX_LINKS; i++)
    for (int j = 0; j < 2 && w->links[i].used; j++)
      close_tip(&w->links[i].tips[j]);
  for (int i = 0; i < MAX_LINKS; i++) {
    struct link *l = &w->links[i];
    while (l->used && !is_over(l)) {
      pipe_run(&l->tips[0].pipe, &l->tips[1].pipe);
      loop_drain(w->loop);
    }
    if (l->used) free_link(w, l);
  }
  w->calm = true;
  connect_again(w);
  struct link *l = w->newest;
  for (int turn = 0; turn < 20 && !w->wrong; turn++) {
    for (int i = 0; i < 2; i++) {
      resumable_hold(&w->sides[i].r, false);
      resumable_flush(&w->sides[i].r);
      reply_late(&l->tips[i]);
      expire(&w->sides[i]);
    }
    pipe_run(&l->tips[0].pipe, &l->tips[1].pipe);
    loop_drain(w->loop);
  }
  for (int i = 0; i < 2; i++) {
    struct side *s = &w->sides[i];
    require(w, s->appended == w->sides[1 - i].arrived,
            "an element has not arrived");
    require(w, resumable_bytes(&s->r) == 0, "something is not acknowledged");
    for (int j = 0; j < MAX_CALLS; j++)
      require(
          w, !s->calls[j].link || s->calls[j].over + s->calls[j].cancelled == 1,
          "a request has not ended");
  }
  for (int i = 0; i < 2; i++) close_tip(&l->tips[i]);
  free_link(w, l);
}

static void walk(struct test_run *t, struct world *w, uint64_t seed)
{
  struct err e;
  unsigned met[MET];
  memcpy(met, w->met, sizeof(met));
  memset(w, 0, sizeof(*w));
  memcpy(w->met, met, sizeof(met));
  w->t = t;
  w->random = seed;
  w->loop = loop_new(&e);
  if (!CHECK(t, w->loop)) return;
  for (int i = 0; i < 2; i++) {
    w->sides[i].world = w;
    resumable_init(&w->sides[i].r, w->loop, 0, &session_events, &w->sides[i]);
  }
  for (int i = 0; i < STEPS_PER_WALK && !w->wrong; i++) step(w);
  if (!w->wrong) settle(w);
  for (int i = 0; i < 2; i++) resumable_free(&w->sides[i].r);
  if (w->wrong) printf("  seed %llu\n", (unsigned long long)seed);
  loop_free(w->loop);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
  const char *text = getenv(name);
  return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void test_walk(struct test_run *t)
{
  uint64_t steps = number_of("WALK_STEPS", 200000);
  uint64_t seed = number_of("WALK_SEED", 1), random = 1;
  struct world *w = calloc(1, sizeof(*w));
  if (!CHECK(t, w)) return;
  for (size_t i = 0; i < sizeof(pattern); i++)
    pattern[i] = (uint8_t)test_random(&random);
  for (uint64_t i = 0; i < steps / STEPS_PER_WALK && !w->wrong; i++)
    walk(t, w, seed + i);
  for (int i = 0; i < MET; i++) {
    if (getenv("WALK_STEPS")) printf("  %s: %u\n", met_names[i], w->met[i]);
    if (steps >= 200000 && !w->wrong && !w->met[i])
      require(w, false, met_names[i]);
  }
  free(w);
}

const struct test channel_walk_tests[] = {
    {"channel: random walk", test_walk},
    {NULL, NULL},
};
