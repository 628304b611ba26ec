/* SPDX-License-Identifier: MIT */
#include "worker/task_output.h"

#include "wire/msgpack.h"
#include "wire/protocol.h"

#include <stdlib.h>

void said_list_init(struct said_list *list, const struct record_worker *from)
{
  list->from = from;
  list->first = list->last = NULL;
  buf_init(&list->records, PROTOCOL_MAX_FRAME);
}

void said_list_free(struct said_list *list)
{
  buf_free(&list->records);
}

void said_begin(struct said *s, const struct task_identity *who)
{
  *s = (struct said){.who = who};
  buf_init(&s->progress, SAID_MAX);
}

static bool is_listed(const struct said_list *list, const struct said *s)
{
  return s->prev || list->first == s;
}

static void unlist(struct said_list *list, struct said *s)
{
  if (!is_listed(list, s)) return;
  *(s->prev ? &s->prev->next : &list->first) = s->next;
  *(s->next ? &s->next->prev : &list->last) = s->prev;
  s->prev = s->next = NULL;
}

/* The head of a record, up to its value. */
static void begin_record(struct said_list *list, const struct said *s,
                         const char *what)
{
  struct buf *b = &list->records;
  record_event(b, list->from, "said", 6);
  record_int(b, "stream", s->who->stream);
  record_int(b, "id", s->who->id);
  record_int(b, "attempt", s->who->attempt);
  mp_write_cstr(b, "what");
  mp_write_cstr(b, what);
  mp_write_cstr(b, "value");
}

static void write_progress(struct said_list *list, struct said *s)
{
  if (!s->progress.len) return;
  begin_record(list, s, "progress");
  buf_add(&list->records, s->progress.data, s->progress.len);
  buf_clear(&s->progress);
}

void said_end(struct said_list *list, struct said *s)
{
  unlist(list, s);
  write_progress(list, s);
  buf_free(&s->progress);
}

void said_print(struct said_list *list, struct said *s, const char *text,
                size_t len)
{
  size_t left = SAID_MAX - s->printed;
  size_t n = len < left ? len : left;
  if (s->cut) return;
  if (n || !len) {
    begin_record(list, s, "print");
    mp_write_str(&list->records, text, n);
    s->printed += n;
  }
  if (n == len) return;
  s->cut = true;
  begin_record(list, s, "print");
  mp_write_cstr(&list->records,
                "... (a task may print 64 KiB; the rest is left out)");
}

struct buf *said_progress(struct said *s)
{
  buf_clear(&s->progress);
  return &s->progress;
}

void said_progress_end(struct said_list *list, struct said *s)
{
  if (!s->progress.len) { /* it could not be encoded */
    unlist(list, s);
  } else if (!is_listed(list, s)) {
    s->prev = list->last;
    *(s->prev ? &s->prev->next : &list->first) = s;
    list->last = s;
  }
}

bool said_add_progress(struct said_list *list, size_t most)
{
  while (list->first && list->records.len < most) {
    struct said *s = list->first;
    unlist(list, s);
    write_progress(list, s);
  }
  return list->first != NULL;
}

void said_clear(struct said_list *list)
{
  if (list->records.cap > 1024 * 1024)
    buf_free(&list->records);
  else
    buf_clear(&list->records);
}
