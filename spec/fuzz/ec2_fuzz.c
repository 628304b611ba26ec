/* SPDX-License-Identifier: MIT */
/* libFuzzer: any bytes as a page of DescribeInstances; all of it is read. */
#include "ec2.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned sum;

/* Reads every byte, for the address sanitizer. */
static void touch(struct ec2_text t)
{
  if (!t.bytes != !t.len) abort();
  for (size_t i = 0; i < t.len; i++) sum += (unsigned char)t.bytes[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct err e;
  struct ec2_instance i;
  struct ec2_tag tag;
  struct ec2_page *page = ec2_parse((const char *)data, size, &e);
  if (!page) {
    if (!e.kind[0] || !e.text[0]) abort();
    return 0;
  }
  while (ec2_next_instance(page, &i)) {
    if (!i.id.bytes) abort();
    touch(i.id), touch(i.state), touch(i.zone), touch(i.launched);
    touch(i.private_v4), touch(i.public_v4);
    touch(i.private_v6), touch(i.public_v6);
    while (ec2_next_tag(&i, &tag)) {
      if (!tag.key.bytes) abort();
      touch(tag.key), touch(tag.value);
    }
  }
  touch(ec2_next_token(page));
  ec2_page_free(page);
  return 0;
}
