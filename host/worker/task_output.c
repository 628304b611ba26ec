/* SPDX-License-Identifier: MIT */
#include "worker/task_output.h"

#include "lua/codec.h"
#include "wire/msgpack.h"
#include "wire/protocol.h"

void output_queue_init(struct output_queue *queue,
                       const struct worker_identity *worker)
{
  queue->worker = worker;
  TAILQ_INIT(&queue->tasks);
  buf_init(&queue->events, PROTOCOL_MAX_FRAME);
}

void task_output_begin(struct task_output *s, const struct task_identity *task)
{
  *s = (struct task_output){.task = task};
  buf_init(&s->progress, TASK_OUTPUT_MAX);
}

/* Begins an event, up to its value. */
static void begin(struct output_queue *queue, const struct task_output *s,
                  const char *what)
{
  struct buf *b = &queue->events;
  event_begin(b, queue->worker, "output", 6);
  mp_put_int(b, "job", s->task->job);
  mp_put_int(b, "id", s->task->id);
  mp_put_int(b, "attempt", s->task->attempt);
  mp_put_str(b, "what", what);
  mp_write_cstr(b, "value");
}

/* Takes the task off the queue and writes its progress. */
static void flush(struct output_queue *queue, struct task_output *s)
{
  if (!s->queued) return;
  s->queued = false;
  TAILQ_REMOVE(&queue->tasks, s, link);
  if (!s->progress.len) return;
  begin(queue, s, "progress");
  buf_add(&queue->events, s->progress.data, s->progress.len);
  buf_clear(&s->progress);
}

void task_output_end(struct output_queue *queue, struct task_output *s)
{
  flush(queue, s);
  buf_free(&s->progress);
}

void task_output_print(struct output_queue *queue, struct task_output *s,
                       const char *text, size_t len)
{
  size_t left = TASK_OUTPUT_MAX - s->printed;
  size_t n = len < left ? len : left;
  if (s->cut) return;
  if (n || !len) {
    begin(queue, s, "print");
    mp_write_str(&queue->events, text, n);
    s->printed += n;
  }
  if (n == len) return;
  s->cut = true;
  begin(queue, s, "print");
  mp_write_cstr(&queue->events,
                "... (a task may print 64 KiB; the rest is left out)");
}

int task_output_progress(struct output_queue *queue, struct task_output *s,
                         lua_State *L, int idx, struct err *e)
{
  buf_clear(&s->progress);
  if (!s->queued) TAILQ_INSERT_TAIL(&queue->tasks, s, link);
  s->queued = true;
  return codec_encode(L, idx, "progress", &s->progress, e);
}

bool output_queue_add_progress(struct output_queue *queue, size_t max)
{
  while (!TAILQ_EMPTY(&queue->tasks) && queue->events.len < max)
    flush(queue, TAILQ_FIRST(&queue->tasks));
  return !TAILQ_EMPTY(&queue->tasks);
}
