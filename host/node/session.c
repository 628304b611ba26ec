/* SPDX-License-Identifier: MIT */
#include "node/session.h"

#include "base/container.h"
#include "base/log.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list, leases ---- */

static void on_lease(struct loop_timer *timer)
{
  struct session_list *l = CONTAINER_OF(timer, struct session_list, timer);
  uint64_t now = loop_clock(), soonest = UINT64_MAX;
  for (struct session *s = l->first, *next; s; s = next) {
    next = s->next;
    if (s->lease <= now) l->on_expired(l, s);
  }
  /* only now: the end of one may have made others fail, whose lease is 0 */
  for (const struct session *s = l->first; s; s = s->next)
    if (s->lease < soonest) soonest = s->lease;
  if (l->first)
    loop_timer_set(l->loop, &l->timer, soonest > now ? soonest - now : 0);
}

void session_list_init(struct session_list *l, struct loop *loop, int workers)
{
  memset(l, 0, sizeof(*l));
  l->loop = loop;
  l->workers = workers;
  l->lease = PROTOCOL_LEASE * LOOP_S;
  l->timer.on_expire = on_lease;
}

struct session *session_find(struct session_list *l, const uint8_t *key)
{
  for (struct session *s = l->first; s; s = s->next)
    if (!memcmp(s->key, key, PROTOCOL_SESSION_SIZE))
      return s->failed ? NULL : s;
  return NULL;
}

struct session *session_numbered(struct session_list *l, int64_t number)
{
  for (struct session *s = l->first; s; s = s->next)
    if (s->number == number) return s->failed ? NULL : s;
  return NULL;
}

bool session_is_closed(const struct session_list *l, const uint8_t *key)
{
  for (const struct session *s = l->first; s; s = s->next)
    if (s->failed && !memcmp(s->key, key, PROTOCOL_SESSION_SIZE)) return true;
  for (int i = 0; i < SESSION_MAX_CLOSED && i < l->closed_count; i++)
    if (!memcmp(l->closed[i], key, PROTOCOL_SESSION_SIZE)) return true;
  return false;
}

struct session *session_new(struct session_list *l, const uint8_t *key)
{
  size_t workers = (size_t)l->workers * sizeof(struct session_worker);
  struct session *s = calloc(1, sizeof(*s) + workers);
  if (!s) return NULL;
  memcpy(s->key, key, PROTOCOL_SESSION_SIZE);
  s->list = l;
  s->number = ++l->last_number;
  s->blobs.workers = l->workers;
  resumable_init(&s->messages, l->loop, PROTOCOL_MAX_TASKS, l->events, s);
  s->next = l->first;
  l->first = s;
  l->count++;
  session_renew(s);
  if (!l->timer.slot) loop_timer_set(l->loop, &l->timer, l->lease);
  return s;
}

void session_renew(struct session *s)
{
  if (!s->failed) s->lease = loop_clock() + s->list->lease;
}

void session_end(struct session *s)
{
  struct session_list *l = s->list;
  struct session **at = &l->first;
  while (*at != s) at = &(*at)->next;
  *at = s->next;
  l->count--;
  memcpy(l->closed[l->closed_count++ % SESSION_MAX_CLOSED], s->key,
         sizeof(s->key));
  if (!l->first) loop_timer_clear(l->loop, &l->timer);
  resumable_free(&s->messages);
  blob_drop_all(&s->blobs);
  tdestroy(s->jobs, free);
  free(s);
}

void session_list_close(struct session_list *l)
{
  while (l->first) session_end(l->first);
}

void session_fail(struct session *s, const char *reason)
{
  if (s->failed) return;
  log_warn("the session of a driver cannot go on; ending it",
           LOG_INT("session", s->number), LOG_STR("why", reason));
  s->failed = true;
  s->lease = 0;
  loop_timer_set(s->list->loop, &s->list->timer, 0);
}

/* ---- events ---- */

struct buf *session_events(struct session *s)
{
  return resumable_message(&s->messages);
}

void session_flush(struct session *s)
{
  if (s->failed) return;
  if (resumable_failed(&s->messages))
    session_fail(s, "out of memory for its events");
  else if (resumable_bytes(&s->messages) > SESSION_MAX_EVENTS)
    session_fail(s, "it does not take its events, which are over 256 MiB");
  else
    resumable_flush(&s->messages);
}

/* ---- tasks and jobs ---- */

void session_tasks_finished(struct session *s, int64_t count)
{
  s->finished += (uint64_t)count;
  resumable_grant_tasks(&s->messages, s->finished + PROTOCOL_MAX_TASKS);
}

static int compare(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

bool session_add_job(struct session *s, int64_t number)
{
  if (tfind(&number, &s->jobs, compare)) return false;
  int64_t *job = malloc(sizeof(*job));
  if (!job) return false;
  *job = number;
  if (tsearch(job, &s->jobs, compare)) {
    s->job_count++;
    return true;
  }
  free(job);
  return false;
}

void session_drop_job(struct session *s, int64_t number)
{
  int64_t *const *found = tfind(&number, &s->jobs, compare);
  int64_t *job = found ? *found : NULL;
  if (!job) return;
  tdelete(job, &s->jobs, compare);
  s->job_count--;
  free(job);
}
