/* SPDX-License-Identifier: MIT */
#include "base/container.h"
#include "net/channel_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- the end ---- */

void channel_drop_slices(struct channel *c)
{
  while (c->slice_count) resumable_release(c->slices[--c->slice_count]);
}

static void drop_message(struct channel *c)
{
  if (!c->message) return;
  if (c->sending && c->message_at)
    c->slices[c->slice_count++] = c->message; /* a piece of it is under way */
  else
    resumable_release(c->message);
  c->message = NULL;
}

static void destroy(struct channel *c)
{
  drop_message(c);
  channel_drop_slices(c);
  preface_free(&c->preface);
  buf_free(&c->queue);
  buf_free(&c->flight);
  buf_free(&c->frame);
  assembly_clear(&c->assembly);
  buf_free(&c->unread);
  buf_free(&c->asked);
  free(c);
}

void channel_post(struct channel *c)
{
  if (c->depth || c->posted) return;
  c->posted = true;
  loop_post(c->loop, &c->later);
}

/* Ends the channel; the owner learns it when no other callback is under way. */
static void end(struct channel *c, const struct err *reason)
{
  if (c->ended) return;
  c->ended = true;
  c->reason = *reason;
  channel_post(c);
}

void channel_fail(struct channel *c, const struct err *reason)
{
  if (c->ended) return;
  carrier_pause(c->carrier, true);
  end(c, reason);
}

void channel_fail_memory(struct channel *c)
{
  struct err e;
  err_set(&e, "memory", "out of memory for a channel");
  channel_fail(c, &e);
}

/* Tells everybody who waits for something. */
static void report(struct channel *c)
{
  c->reported = true;
  if (c->resumable) resumable_detach(c->resumable);
  for (struct channel_call *q; !c->closed && (q = LIST_FIRST(&c->calls));) {
    struct err lost;
    LIST_REMOVE(q, link);
    err_set(&lost, "lost", "%s", c->reason.text);
    if (q->on_reply) q->on_reply(q->arg, NULL, 0, &lost);
    free(q);
  }
  if (!c->closed) c->events->on_end(c->arg, &c->reason);
}

void channel_enter(struct channel *c)
{
  c->depth++;
}

void channel_leave(struct channel *c)
{
  if (c->depth == 1 && c->ended && !c->reported) {
    report(c);
  }
  if (--c->depth) return;
  if (c->closed) {
    if (!c->posted) destroy(c);
    return;
  }
  channel_pump(c);
}

void channel_fail_fault(struct channel *c)
{
  struct err e;
  err_set(&e, "lost", "a fault broke the channel (MOONFLEET_FAULT)");
  channel_fail(c, &e);
}

void channel_close(struct channel *c)
{
  if (!c || c->closed) return;
  c->closed = c->ended = c->reported = true;
  if (c->resumable) resumable_detach(c->resumable);
  loop_timer_clear(c->loop, &c->delay);
  carrier_close(c->carrier);
  c->carrier = NULL;
  for (struct channel_call *q; (q = LIST_FIRST(&c->calls));) {
    LIST_REMOVE(q, link);
    free(q);
  }
  if (!c->depth && !c->posted) destroy(c);
}

static void wake(struct channel *c)
{
  if (!c->depth && !c->sending) channel_pump(c);
}

struct channel_call *channel_find_call(struct channel *c, uint32_t id)
{
  struct channel_call *q;
  LIST_FOREACH (q, &c->calls, link)
    if (q->id == id) return q;
  return NULL;
}

uint32_t channel_request(struct channel *c, const void *data, size_t len,
                         channel_on_reply *on_reply, void *arg, struct err *e)
{
  if (c->ended) {
    err_set(e, "lost", "%s",
            *c->reason.text ? c->reason.text : "the channel is closed");
    return 0;
  }
  if (len > CHANNEL_MAX_REQUEST) {
    err_set(e, "too_large", "a request of %zu bytes is over the limit of %d",
            len, CHANNEL_MAX_REQUEST);
    return 0;
  }
  if (c->call_count == CHANNEL_MAX_REQUESTS) {
    err_set(e, "refused", "%d requests to %s are without a reply",
            CHANNEL_MAX_REQUESTS, c->peer);
    return 0;
  }
  struct channel_call *q = err_calloc(sizeof(*q), "a request", e);
  if (!q) return 0;
  do q->id = ++c->last_id;
  while (!q->id || channel_find_call(c, q->id));
  q->on_reply = on_reply;
  q->arg = arg;
  if (channel_add_frame(c, PROTOCOL_REQUEST, q->id, data, len) < 0) {
    free(q);
    channel_fail_memory(c);
    err_set(e, "memory", "out of memory for a request");
    return 0;
  }
  LIST_INSERT_HEAD(&c->calls, q, link);
  c->call_count++;
  uint32_t id = q->id;
  wake(c);
  return id;
}

void channel_cancel(struct channel *c, uint32_t id)
{
  struct channel_call *q = channel_find_call(c, id);
  if (q) q->on_reply = NULL;
}

bool channel_has_asked(const struct channel *c, uint32_t id)
{
  const uint32_t *ids = (const uint32_t *)(const void *)c->asked.data;
  for (size_t i = 0; i < c->asked.len / ID_SIZE; i++)
    if (ids[i] == id) return true;
  return false;
}

static bool forget_asked(struct channel *c, uint32_t id)
{
  uint32_t *ids = (uint32_t *)(void *)c->asked.data;
  size_t count = c->asked.len / ID_SIZE;
  for (size_t i = 0; i < count; i++) {
    if (ids[i] != id) continue;
    ids[i] = ids[count - 1];
    c->asked.len -= ID_SIZE;
    return true;
  }
  return false;
}

void channel_reply(struct channel *c, uint32_t id, const void *data, size_t len)
{
  struct err e;
  if (c->ended || !forget_asked(c, id)) return;
  if (len > CHANNEL_MAX_REQUEST) {
    err_set(&e, "protocol", "a reply of %zu bytes is over the limit of %d", len,
            CHANNEL_MAX_REQUEST);
    channel_fail(c, &e);
    return;
  }
  if (channel_add_frame(c, PROTOCOL_REPLY, id, data, len) < 0) {
    channel_fail_memory(c);
    return;
  }
  c->replies += HEAD_SIZE + ID_SIZE + len;
  if (!c->paused && c->replies + c->replies_out >= CHANNEL_MAX_REPLIES) {
    c->paused = true;
    carrier_pause(c->carrier, true);
  }
  wake(c);
}

static void on_carrier_end(void *arg, const struct err *reason)
{
  struct channel *c = arg;
  struct err e = *reason;
  char shown[PREFACE_SHOWN * 4 + 1];
  if (c->preface.text.len) {
    preface_show(&c->preface, shown, sizeof(shown));
    err_set(&e, reason->kind, "%.120s; it began with \"%s\"", reason->text,
            shown);
  }
  channel_enter(c);
  end(c, &e);
  channel_leave(c);
}

/* The session sends the message again, over another channel. */
static void on_evict(struct assembly *a)
{
  struct channel *c = CONTAINER_OF(a, struct channel, assembly);
  struct err e;
  err_set(&e, "lost", "messages of others need the room of its unfinished one");
  channel_fail(c, &e);
}

/* Something was left to do when no callback was under way. */
static void on_later(struct loop_msg *msg)
{
  struct channel *c = CONTAINER_OF(msg, struct channel, later);
  channel_enter(c);
  c->posted = false;
  if (c->paused && !c->ended) channel_read_on(c);
  channel_leave(c);
}

/* ---- making one ---- */

struct channel *channel_new(struct carrier *carrier,
                            const struct channel_options *options,
                            const struct channel_events *events, void *arg,
                            struct err *e)
{
  static const struct carrier_events carrier_events = {
      channel_on_bytes, channel_on_sent, on_carrier_end};
  struct channel *c = err_calloc(sizeof(*c), "a channel", e);
  if (!c) {
    carrier_close(carrier);
    return NULL;
  }
  c->carrier = carrier;
  c->loop = options->loop;
  c->events = events;
  c->arg = arg;
  c->waits = options->wait_for_peer;
  c->later.deliver = on_later;
  c->delay.on_expire = channel_on_delay;
  memcpy(c->peer, carrier->peer, sizeof(c->peer));
  preface_init(&c->preface, options->skip_noise);
  buf_init(&c->queue, SIZE_MAX / 4); /* the limits above bound it */
  buf_init(&c->flight, SIZE_MAX / 4);
  buf_init(&c->frame, CHANNEL_MAX_FRAME);
  assembly_init(&c->assembly, options->unfinished, PROTOCOL_MAX_MESSAGE,
                on_evict);
  buf_init(&c->unread, SIZE_MAX / 4); /* what a carrier delivers at once */
  buf_init(&c->asked, CHANNEL_MAX_REQUESTS * ID_SIZE);
  LIST_INIT(&c->calls);
  carrier_start(carrier, &carrier_events, c);
  if (buf_add(&c->queue, preface_text, strlen(preface_text)) < 0)
    channel_fail_memory(c);
  channel_pump(c);
  return c;
}

void channel_set_events(struct channel *c, const struct channel_events *events,
                        void *arg)
{
  c->events = events;
  c->arg = arg;
}

/* What is left of its messages is of no use. */
static void on_detach(struct channel *c)
{
  c->resumable = NULL;
  drop_message(c);
  if (c->kind > PROTOCOL_ACK) c->dropping = true;
  assembly_clear(&c->assembly);
}

void channel_attach(struct channel *c, struct resumable *r)
{
  resumable_detach(r);
  if (c->ended) return;
  if (c->resumable) resumable_detach(c->resumable);
  on_detach(c);
  c->resumable = r;
  r->channel = c;
  r->on_flush = wake;
  r->on_detach = on_detach;
}

const char *channel_peer(const struct channel *c)
{
  return c->peer;
}

struct carrier *channel_carrier(struct channel *c)
{
  return c->carrier;
}
