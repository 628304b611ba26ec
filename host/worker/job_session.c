/* SPDX-License-Identifier: MIT */
#include "worker/job_session.h"

#include "lua/runtime.h"

#include <stdlib.h>

struct job_session *job_session_new(const struct job_host *host, int64_t number,
                                    struct err *e)
{
  struct job_session *s = err_calloc(sizeof(*s), "a session", e);
  if (!s) return NULL;
  struct vm_options options = host->vm;
  options.user = s;
  s->host = host;
  s->number = number;
  buf_init(&s->upcall_events, PROTOCOL_MAX_FRAME);
  s->vm = runtime_new(&options, e);
  if (s->vm) return s;
  free(s);
  return NULL;
}

void job_session_free(struct job_session *s)
{
  struct task_identity identity = {.session = s->number};
  struct task_page_writer *page = s->vm->host->task_page;
  struct job *j;
  LIST_FOREACH (j, &s->jobs, link) j->silent = true;
  task_page_set(page, &identity, 0);
  runtime_free(s->vm);
  task_page_set(page, NULL, 0);
  while ((j = LIST_FIRST(&s->jobs))) job_free(j);
  blob_drop_all(&s->blobs);
  buf_free(&s->upcall_events);
  free(s);
}

struct job *job_session_find(const struct job_session *s, int64_t number)
{
  struct job *j;
  LIST_FOREACH (j, &s->jobs, link)
    if (j->number == number) break;
  return j;
}

int job_session_add(struct job_session *s, int64_t number, const uint8_t *key,
                    size_t key_len, const struct job_batch *batch)
{
  struct job *j = job_session_find(s, number);
  if (!j) {
    const struct blob *b = blob_find(&s->blobs, key, key_len);
    j = job_new(s, number, b ? b->content : NULL, b ? b->len : 0);
  }
  return j ? job_add(j, batch) : -1;
}

bool job_session_run(struct job_session *s, bool room)
{
  bool more = false;
  struct job *j;
  LIST_FOREACH (j, &s->jobs, link) {
    if (room) more |= job_start_tasks(j);
    more |= job_report(j, room);
  }
  upcall_send(s);
  return more;
}
