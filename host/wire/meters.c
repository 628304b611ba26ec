/* SPDX-License-Identifier: MIT */
#include "wire/meters.h"

const double meters_seconds[METERS_SECONDS] = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5,   1,      2.5,   5,    10,    30,   60};

#define KIB UINT64_C(1024)
const uint64_t meters_bytes[METERS_BYTES] = {
    KIB,           4 * KIB,        16 * KIB,     64 * KIB,
    256 * KIB,     KIB *KIB,       4 * KIB *KIB, 16 * KIB *KIB,
    64 * KIB *KIB, 256 * KIB *KIB, KIB *KIB *KIB};

/* Only we write it, so no atomic operation is needed for the whole. */
void meters_add(struct meters *m, enum meter which, uint64_t n)
{
  if (!m) return;
  uint64_t before =
      atomic_load_explicit(&m->values[which], memory_order_relaxed);
  atomic_store_explicit(&m->values[which], before + n, memory_order_relaxed);
}

static enum meter place(enum meter histogram, int index)
{
  return (enum meter)((int)histogram + index);
}

void meters_add_time(struct meters *m, enum meter histogram, uint64_t ns)
{
  int i = 0;
  double seconds = (double)ns / 1e9;
  while (i < METERS_SECONDS && seconds > meters_seconds[i]) i++;
  meters_add(m, place(histogram, i), 1);
  meters_add(m, place(histogram, METERS_SECONDS + 1), ns);
}

void meters_add_bytes(struct meters *m, uint64_t bytes)
{
  int i = 0;
  while (i < METERS_BYTES && bytes > meters_bytes[i]) i++;
  meters_add(m, place(METER_FETCH_BYTES, i), 1);
  meters_add(m, place(METER_FETCH_BYTES, METERS_BYTES + 1), bytes);
}

void meters_sum(const struct meters *m, uint64_t totals[METERS])
{
  for (int i = 0; i < METERS; i++)
    totals[i] += atomic_load_explicit(&m->values[i], memory_order_relaxed);
}
