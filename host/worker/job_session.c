/* SPDX-License-Identifier: MIT */
#include "lua/runtime.h"
#include "worker/job_session.h"

#include <stdlib.h>

/* Questions are sent once there are this many bytes of them: they and one more
 * always fit a frame. */
enum { FULL_UPCALLS = 512 * 1024 };

struct context {
  struct context *next;
  struct job_host host;
  struct job *jobs;
  struct blob_store blobs;
  struct upcall_list upcalls;
};

struct context *context_new(const struct context_options *options,
                            int64_t session, struct err *e)
{
  struct context *c = calloc(1, sizeof(*c));
  if (!c) {
    err_set(e, "memory", "out of memory for a session");
    return NULL;
  }
  struct vm_options vm = {.host = options->host,
                          .modules = options->modules,
                          .memory_cap = options->memory_cap,
                          .user = c};
  c->host = options->job;
  c->host.session = session;
  upcall_list_init(&c->upcalls, &c->host.worker);
  c->host.vm = runtime_new(&vm, e);
  if (c->host.vm) return c;
  context_free(c);
  return NULL;
}

void context_free(struct context *c)
{
  struct task_identity who = {.session = c->host.session};
  struct task_page_writer *task_page =
      c->host.vm ? c->host.vm->host->task_page : NULL;
  for (struct job *j = c->jobs; j; j = *job_next(j)) job_silence(j);
  task_page_set(task_page, &who, 0);
  runtime_free(c->host.vm);
  task_page_set(task_page, NULL, 0);
  for (struct job *j = c->jobs, *next; j; j = next) {
    next = *job_next(j);
    job_free(j);
  }
  blob_drop_all(&c->blobs);
  upcall_list_free(&c->upcalls);
  free(c);
}

struct context *context_of(lua_State *L)
{
  return vm_of(L)->user;
}

int64_t context_session(const struct context *c)
{
  return c->host.session;
}

struct context **context_next(struct context *c)
{
  return &c->next;
}

struct blob_store *context_blobs(struct context *c)
{
  return &c->blobs;
}

static void send_upcalls(struct context *c)
{
  struct buf *b = &c->upcalls.records;
  const struct buf *parts[] = {b};
  if (!b->len) return;
  c->host.send(c->host.arg, c->host.session, 0, parts, 1);
  buf_reset(b);
}

int context_upcall(struct context *c, struct upcall *a, const void *request,
                   size_t len, struct err *e)
{
  /* together they might not fit a frame */
  if (c->upcalls.records.len > FULL_UPCALLS) send_upcalls(c);
  return upcall_begin(&c->upcalls, a, request, len, e);
}

int context_reply(struct context *c, int64_t number, const uint8_t *reply,
                  size_t len)
{
  return upcall_reply(&c->upcalls, number, reply, len);
}

const struct record_worker *context_worker(const struct context *c)
{
  return &c->host.worker;
}

static struct job **find_job(struct context *c, int64_t number)
{
  struct job **at = &c->jobs;
  while (*at && job_number(*at) != number) at = job_next(*at);
  return at;
}

struct job *context_job(struct context *c, int64_t number)
{
  return *find_job(c, number);
}

int context_work(struct context *c, int64_t number, const uint8_t *key,
                 size_t key_len, const struct job_batch *batch)
{
  struct job **at = find_job(c, number);
  if (!*at) {
    const struct blob *b = blob_find(&c->blobs, key, key_len);
    *at = job_new(&c->host, number, b ? b->content : NULL, b ? b->len : 0);
  }
  return *at ? job_add(*at, batch) : -1;
}

int context_cancel(struct context *c, int64_t number, int64_t first,
                   int64_t count)
{
  struct job *j = *find_job(c, number);
  return j ? job_cancel(j, first, count) : 0;
}

void context_close(struct context *c, int64_t number)
{
  struct job **at = find_job(c, number);
  struct job *j = *at;
  if (!j) return;
  *at = *job_next(j);
  job_close(j);
}

int64_t context_running(const struct context *c)
{
  int64_t running = 0;
  for (struct job *j = c->jobs; j; j = *job_next(j)) running += job_running(j);
  return running;
}

bool context_turn(struct context *c, bool room)
{
  bool more = false;
  for (struct job *j = c->jobs; j; j = *job_next(j)) {
    if (room) more |= job_start_tasks(j);
    more |= job_report(j, room);
  }
  send_upcalls(c);
  return more;
}
