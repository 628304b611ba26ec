/* SPDX-License-Identifier: MIT */
#include "worker/upcall.h"

#include "wire/msgpack.h"
#include "wire/protocol.h"

void upcall_list_init(struct upcall_list *list,
                      const struct record_worker *from)
{
  *list = (struct upcall_list){.from = from};
  buf_init(&list->records, PROTOCOL_MAX_FRAME);
}

void upcall_list_free(struct upcall_list *list)
{
  buf_free(&list->records);
}

static void unlist(struct upcall *a)
{
  if (!a->list) return;
  *(a->prev ? &a->prev->next : &a->list->first) = a->next;
  if (a->next) a->next->prev = a->prev;
  a->list = NULL;
}

/* The whole record or nothing. */
static int put_record(struct upcall_list *list, int64_t number,
                      const void *request, size_t len)
{
  struct buf *b = &list->records;
  size_t start = b->len;
  record_event(b, list->from, "upcall", 3);
  mp_put_int(b, "number", number);
  mp_write_cstr(b, "bytes");
  mp_write_bin(b, request, len);
  if (!b->failed) return 0;
  b->len = start;
  b->failed = false;
  return -1;
}

/* The driver need not go on. When memory is out it does so in vain. */
static void on_cancel(struct task_wait *w)
{
  struct upcall *a = (struct upcall *)w;
  struct upcall_list *list = a->list;
  unlist(a);
  if (list) put_record(list, a->number, "", 0);
}

int upcall_begin(struct upcall_list *list, struct upcall *a,
                 const void *request, size_t len, struct err *e)
{
  buf_init(&a->reply, PROTOCOL_MAX_FRAME);
  if (len > PROTOCOL_MAX_VALUE)
    return err_set(e, "too_large", "the request takes more than %d bytes",
                   PROTOCOL_MAX_VALUE);
  if (put_record(list, list->last_number + 1, request, len) < 0)
    return err_set(e, "memory", "out of memory for a request");
  a->number = ++list->last_number;
  a->wait.cancel = on_cancel;
  a->list = list;
  a->prev = NULL;
  a->next = list->first;
  if (a->next) a->next->prev = a;
  list->first = a;
  return 0;
}

void upcall_end(struct upcall *a)
{
  unlist(a);
  buf_free(&a->reply);
}

int upcall_reply(struct upcall_list *list, int64_t number, const uint8_t *reply,
                 size_t len)
{
  struct upcall *a = list->first;
  while (a && a->number != number) a = a->next;
  if (!a) return 0;
  if (buf_add(&a->reply, reply, len) < 0) return -1;
  unlist(a);
  task_wake(&a->wait);
  return 0;
}
