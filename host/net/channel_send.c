/* SPDX-License-Identifier: MIT */
#include "base/container.h"
#include "base/fault.h"
#include "net/channel_internal.h"

#include <endian.h>
#include <string.h>

enum {
  /* A message up to this size is copied behind the other frames of a send. */
  SMALL_MESSAGE = 4096,
  /* No frame is added to a send that has this many bytes. */
  SEND_SIZE = CHANNEL_MAX_FRAME,
};

static void write_head(uint8_t *p, enum protocol_frame kind, size_t len)
{
  uint32_t head = htole32((uint32_t)len | (uint32_t)kind << 24);
  memcpy(p, &head, HEAD_SIZE);
}

/* Appends a frame of a request or a reply to `queue`. */
int channel_add_frame(struct channel *c, enum protocol_frame kind, uint32_t id,
                      const void *data, size_t len)
{
  uint8_t *to = buf_room(&c->queue, HEAD_SIZE + ID_SIZE + len);
  if (!to) return -1;
  write_head(to, kind, ID_SIZE + len);
  id = htole32(id);
  memcpy(to + HEAD_SIZE, &id, ID_SIZE);
  if (len) memcpy(to + HEAD_SIZE + ID_SIZE, data, len);
  c->queue.len += HEAD_SIZE + ID_SIZE + len;
  return 0;
}

static void sent(struct channel *c)
{
  c->sending = false;
  c->replies_out = 0;
  buf_reset(&c->flight);
  channel_drop_slices(c);
}

static void add_ack(struct channel *c, const struct resumable_ack *ack)
{
  const uint64_t numbers[] = {htole64(ack->received), htole64(ack->bytes),
                              htole64(ack->tasks)};
  uint8_t frame[HEAD_SIZE + ACK_SIZE];
  _Static_assert(sizeof(numbers) == ACK_SIZE, "see protocol.h");
  write_head(frame, PROTOCOL_ACK, ACK_SIZE);
  memcpy(frame + HEAD_SIZE, numbers, ACK_SIZE);
  buf_add(&c->flight, frame, sizeof(frame));
}

/* The numbered message to send from, or NULL. */
static struct resumable_message *current(struct channel *c)
{
  if (c->message || !c->resumable) return c->message;
  c->message_at = 0;
  return c->message = resumable_next(c->resumable);
}

/* Appends frames of numbered messages to the parts, of which the first is to be
 * `flight`. */
static void add_slices(struct channel *c)
{
  struct resumable_message *m;
  size_t total = c->flight.len;
  c->part_count = 1;
  while (c->part_count + 2 <= CARRIER_MAX_PARTS && total < SEND_SIZE &&
         (m = current(c))) {
    uint8_t *from = m->bytes.data + c->message_at;
    size_t n = m->bytes.len - c->message_at;
    bool first = c->part_count == 1, last = n <= CHANNEL_MAX_FRAME;
    if (!last) n = CHANNEL_MAX_FRAME;
    uint8_t *head = c->heads[c->part_count / 2];
    write_head(head, last ? PROTOCOL_LAST : PROTOCOL_PART, n);
    total += HEAD_SIZE + n;
    c->message_at += n;
    if (last) c->message = NULL;
    if (first)
      buf_add(&c->flight, head, HEAD_SIZE);
    else
      c->parts[c->part_count++] = (struct iovec){head, HEAD_SIZE};
    if (first && last && n <= SMALL_MESSAGE) {
      buf_add(&c->flight, from, n);
      resumable_release(m);
      continue;
    }
    c->parts[c->part_count++] = (struct iovec){from, n};
    if (last) c->slices[c->slice_count++] = m;
  }
}

/* Collects what goes next into one send; returns whether there is anything. */
static bool gather(struct channel *c)
{
  struct resumable_ack ack;
  bool more = c->queue.len || current(c);
  bool news = c->resumable && resumable_take_ack(c->resumable, !more, &ack);
  if (!more && !news) return false;
  buf_swap(&c->queue, &c->flight);
  c->replies_out = c->replies;
  c->replies = 0;
  if (news) add_ack(c, &ack);
  add_slices(c);
  c->parts[0] = (struct iovec){c->flight.data, c->flight.len};
  if (!c->flight.failed) return true;
  channel_fail_memory(c);
  return false;
}

/* Hands the parts to the carrier. */
static void transmit(struct channel *c)
{
  if (carrier_send(c->carrier, c->parts, c->part_count))
    sent(c);
  else
    c->sending = true;
}

/* Drops the second half of the parts. */
static void truncate_parts(struct channel *c)
{
  size_t total = 0, at = 0;
  for (int i = 0; i < c->part_count; i++) total += c->parts[i].iov_len;
  for (int i = 0; i < c->part_count; i++) {
    size_t left = total / 2 - at;
    if (c->parts[i].iov_len > left) c->parts[i].iov_len = left;
    at += c->parts[i].iov_len;
  }
  while (!c->parts[c->part_count - 1].iov_len) c->part_count--;
}

static void send_parts(struct channel *c)
{
  struct fault fault = fault_at("send");
  switch (fault.what) {
  case FAULT_BREAK: channel_fail_fault(c); return;
  case FAULT_TRUNCATE:
    truncate_parts(c);
    carrier_send(c->carrier, c->parts, c->part_count);
    channel_fail_fault(c);
    return;
  case FAULT_DELAY:
    c->sending = true;
    if (loop_timer_set(c->loop, &c->delay, (uint64_t)fault.ms * LOOP_MS) == 0)
      return;
    break;
  default: break;
  }
  transmit(c);
}

void channel_pump(struct channel *c)
{
  while (!c->ended && !c->waits && !c->sending && gather(c)) send_parts(c);
  if (c->ended) return;
  if (c->paused && c->replies + c->replies_out < CHANNEL_MAX_REPLIES)
    channel_post(c); /* reads on */
}

void channel_on_delay(struct loop_timer *timer)
{
  struct channel *c = CONTAINER_OF(timer, struct channel, delay);
  channel_enter(c);
  if (!c->ended) transmit(c);
  channel_leave(c);
}

void channel_on_sent(void *arg)
{
  struct channel *c = arg;
  channel_enter(c);
  sent(c);
  channel_leave(c);
}
