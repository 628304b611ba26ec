/* SPDX-License-Identifier: MIT */
/* This unit provides the answers of EC2's DescribeInstances: a page of XML as
 * instances. It asks nothing itself; fleet.discovery.ec2 does, page by page.
 * Uses xml; lib_ec2.c binds it. [any] thread; a page belongs to one at a
 * time. */
#ifndef MF_EC2_H
#define MF_EC2_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>

struct ec2_page;
struct xml_node;

/* Not terminated; lives as long as the page. NULL: the answer has none. */
struct ec2_text {
  const char *bytes;
  size_t len;
};

struct ec2_instance {
  struct ec2_text id, state, zone, launched;
  struct ec2_text private_v4, public_v4;
  struct ec2_text private_v6; /* the first of its IPv6 addresses */
  struct ec2_text public_v6;  /* the first that is not of fc00::/7 */
  struct xml_node *tags;      /* for ec2_next_tag; NULL: none */
};

struct ec2_tag {
  struct ec2_text key, value;
};

/* Reads a page of at most 64 MiB. NULL and `e` with kind "decode" (no XML, cut
 * off, or another document than DescribeInstancesResponse), "too_large",
 * "timeout" or "memory". */
struct ec2_page *ec2_parse(const char *bytes, size_t len, struct err *e);
void ec2_page_free(struct ec2_page *page); /* accepts NULL */

/* The next instance, in order; false after the last. One without an id is left
 * out: it cannot be told from others. */
bool ec2_next_instance(struct ec2_page *page, struct ec2_instance *out);
/* The next tag of an instance; `out->key` is never NULL. */
bool ec2_next_tag(struct ec2_instance *instance, struct ec2_tag *out);

/* What to ask for the next page with; NULL: this was the last. */
struct ec2_text ec2_next_token(const struct ec2_page *page);

#endif
