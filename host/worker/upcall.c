/* SPDX-License-Identifier: MIT */
#include "worker/upcall.h"

#include "base/container.h"
#include "wire/msgpack.h"
#include "wire/protocol.h"

/* Queued bytes above which requests are sent at once: they and one more always
 * fit a frame. */
enum { FLUSH_BYTES = 512 * 1024 };

static void unlist(struct upcall *u)
{
  if (u->session) LIST_REMOVE(u, link);
  u->session = NULL;
}

/* Queues the whole event or nothing. */
static int put_event(struct job_session *s, int64_t number, const void *request,
                     size_t len)
{
  struct buf *b = &s->upcall_events;
  size_t start = b->len;
  event_begin(b, &s->host->worker, "upcall", 3);
  mp_put_int(b, "number", number);
  mp_write_cstr(b, "bytes");
  mp_write_bin(b, request, len);
  if (!b->failed) return 0;
  b->len = start;
  b->failed = false;
  return -1;
}

/* Tells the driver that it need not reply. Without memory it will, in vain. */
static void on_cancel(struct task_wait *w)
{
  struct upcall *u = CONTAINER_OF(w, struct upcall, wait);
  struct job_session *s = u->session;
  unlist(u);
  if (s) put_event(s, u->number, "", 0);
}

int upcall_begin(struct job_session *s, struct upcall *u, const void *request,
                 size_t len, struct err *e)
{
  buf_init(&u->reply, PROTOCOL_MAX_FRAME);
  if (len > PROTOCOL_MAX_VALUE)
    return err_set(e, "too_large", "the request takes more than %d bytes",
                   PROTOCOL_MAX_VALUE);
  if (s->upcall_events.len > FLUSH_BYTES) upcall_send(s);
  if (put_event(s, s->last_upcall + 1, request, len) < 0)
    return err_set(e, "memory", "out of memory for a request");
  u->number = ++s->last_upcall;
  u->wait.cancel = on_cancel;
  u->session = s;
  LIST_INSERT_HEAD(&s->upcalls, u, link);
  return 0;
}

void upcall_end(struct upcall *u)
{
  unlist(u);
  buf_free(&u->reply);
}

int upcall_reply(struct job_session *s, int64_t number, const uint8_t *reply,
                 size_t len)
{
  struct upcall *u;
  LIST_FOREACH (u, &s->upcalls, link)
    if (u->number == number) break;
  if (!u) return 0;
  if (buf_add(&u->reply, reply, len) < 0) return -1;
  unlist(u);
  task_wake(&u->wait);
  return 0;
}

void upcall_send(struct job_session *s)
{
  const struct buf *parts[] = {&s->upcall_events};
  if (!parts[0]->len) return;
  s->host->send(s->host->arg, s->number, 0, parts, 1);
  buf_reset(&s->upcall_events);
}
