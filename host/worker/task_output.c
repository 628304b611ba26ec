/* SPDX-License-Identifier: MIT */
#include "worker/task_output.h"

#include "wire/msgpack.h"
#include "wire/protocol.h"

#include <stdlib.h>

void output_queue_init(struct output_queue *queue,
                       const struct record_worker *from)
{
  queue->from = from;
  queue->first = queue->last = NULL;
  buf_init(&queue->records, PROTOCOL_MAX_FRAME);
}

void output_queue_free(struct output_queue *queue)
{
  buf_free(&queue->records);
}

void task_output_begin(struct task_output *s, const struct task_identity *who)
{
  *s = (struct task_output){.who = who};
  buf_init(&s->progress, TASK_OUTPUT_MAX);
}

static bool is_queued(const struct output_queue *queue,
                      const struct task_output *s)
{
  return s->prev || queue->first == s;
}

static void dequeue(struct output_queue *queue, struct task_output *s)
{
  if (!is_queued(queue, s)) return;
  *(s->prev ? &s->prev->next : &queue->first) = s->next;
  *(s->next ? &s->next->prev : &queue->last) = s->prev;
  s->prev = s->next = NULL;
}

/* The head of a record, up to its value. */
static void begin_record(struct output_queue *queue,
                         const struct task_output *s, const char *what)
{
  struct buf *b = &queue->records;
  record_event(b, queue->from, "output", 6);
  mp_put_int(b, "job", s->who->job);
  mp_put_int(b, "id", s->who->id);
  mp_put_int(b, "attempt", s->who->attempt);
  mp_put_str(b, "what", what);
  mp_write_cstr(b, "value");
}

static void write_progress(struct output_queue *queue, struct task_output *s)
{
  if (!s->progress.len) return;
  begin_record(queue, s, "progress");
  buf_add(&queue->records, s->progress.data, s->progress.len);
  buf_clear(&s->progress);
}

void task_output_end(struct output_queue *queue, struct task_output *s)
{
  dequeue(queue, s);
  write_progress(queue, s);
  buf_free(&s->progress);
}

void task_output_print(struct output_queue *queue, struct task_output *s,
                       const char *text, size_t len)
{
  size_t left = TASK_OUTPUT_MAX - s->printed;
  size_t n = len < left ? len : left;
  if (s->cut) return;
  if (n || !len) {
    begin_record(queue, s, "print");
    mp_write_str(&queue->records, text, n);
    s->printed += n;
  }
  if (n == len) return;
  s->cut = true;
  begin_record(queue, s, "print");
  mp_write_cstr(&queue->records,
                "... (a task may print 64 KiB; the rest is left out)");
}

struct buf *task_output_progress(struct task_output *s)
{
  buf_clear(&s->progress);
  return &s->progress;
}

void task_output_progress_end(struct output_queue *queue, struct task_output *s)
{
  if (!s->progress.len) { /* it could not be encoded */
    dequeue(queue, s);
  } else if (!is_queued(queue, s)) {
    s->prev = queue->last;
    *(s->prev ? &s->prev->next : &queue->first) = s;
    queue->last = s;
  }
}

bool output_queue_add_progress(struct output_queue *queue, size_t most)
{
  while (queue->first && queue->records.len < most) {
    struct task_output *s = queue->first;
    dequeue(queue, s);
    write_progress(queue, s);
  }
  return queue->first != NULL;
}

void output_queue_clear(struct output_queue *queue)
{
  buf_reset(&queue->records);
}
