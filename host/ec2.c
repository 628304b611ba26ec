/* SPDX-License-Identifier: MIT */
#include "ec2.h"

#include "xml.h"

#include <stdlib.h>
#include <string.h>

struct ec2_page {
  struct xml *doc;
  const char *space;            /* the namespace of all elements; NULL: none */
  struct xml_node *reservation; /* the items of these two are under way */
  struct xml_node *instance;
  struct ec2_text next_token;
};

static const struct ec2_text absent;

static bool is_named(const struct ec2_page *p, const struct xml_node *n,
                     const char *name)
{
  const char *space = xml_namespace(n), *own = xml_name(n);
  if (!own || strcmp(own, name) != 0) return false;
  return p->space ? space && !strcmp(space, p->space) : !space;
}

/* The first child of that name; NULL when there is none, or no parent. */
static struct xml_node *child(const struct ec2_page *p, struct xml_node *parent,
                              const char *name)
{
  struct xml_node *n = parent ? xml_first(parent) : NULL;
  while (n && !is_named(p, n, name)) n = xml_next(n);
  return n;
}

/* The element `n`, or the next after it, that is an item of a list. */
static struct xml_node *item(const struct ec2_page *p, struct xml_node *n)
{
  while (n && !is_named(p, n, "item")) n = xml_next(n);
  return n;
}

static struct xml_node *first_item(const struct ec2_page *p,
                                   struct xml_node *list)
{
  return item(p, list ? xml_first(list) : NULL);
}

static struct xml_node *next_item(const struct ec2_page *p, struct xml_node *n)
{
  return item(p, xml_next(n));
}

/* The text of an element, without the white space around it. */
static struct ec2_text text(const struct xml_node *n)
{
  struct ec2_text t = absent;
  if (n) t.bytes = xml_text_piece(n, &t.len);
  if (!t.bytes) return absent;
  while (t.len && strchr(" \t\r\n", t.bytes[0])) t.bytes++, t.len--;
  while (t.len && strchr(" \t\r\n", t.bytes[t.len - 1])) t.len--;
  return t.len ? t : absent;
}

static struct ec2_text field(const struct ec2_page *p, struct xml_node *parent,
                             const char *name)
{
  return text(child(p, parent, name));
}

/* ---- instances ---- */

static bool is_local(struct ec2_text v6)
{
  return v6.len > 1 && (v6.bytes[0] == 'f' || v6.bytes[0] == 'F') &&
         strchr("cCdD", v6.bytes[1]);
}

static void add_v6(struct ec2_instance *out, struct ec2_text v6)
{
  if (!v6.bytes) return;
  if (!out->private_v6.bytes) out->private_v6 = v6;
  if (!out->public_v6.bytes && !is_local(v6)) out->public_v6 = v6;
}

static void read_v6(const struct ec2_page *p, struct xml_node *n,
                    struct ec2_instance *out)
{
  struct xml_node *interface = child(p, n, "networkInterfaceSet");
  add_v6(out, field(p, n, "ipv6Address"));
  for (interface = first_item(p, interface); interface;
       interface = next_item(p, interface)) {
    struct xml_node *a = child(p, interface, "ipv6AddressesSet");
    for (a = first_item(p, a); a; a = next_item(p, a))
      add_v6(out, field(p, a, "ipv6Address"));
  }
}

static void read_instance(const struct ec2_page *p, struct xml_node *n,
                          struct ec2_instance *out)
{
  memset(out, 0, sizeof(*out));
  out->id = field(p, n, "instanceId");
  out->state = field(p, child(p, n, "instanceState"), "name");
  out->zone = field(p, child(p, n, "placement"), "availabilityZone");
  out->launched = field(p, n, "launchTime");
  out->private_v4 = field(p, n, "privateIpAddress");
  out->public_v4 = field(p, n, "ipAddress");
  read_v6(p, n, out);
  out->tags = first_item(p, child(p, n, "tagSet"));
}

bool ec2_next_instance(struct ec2_page *p, struct ec2_instance *out)
{
  while (p->reservation) {
    while (p->instance) {
      struct xml_node *n = p->instance;
      p->instance = next_item(p, n);
      read_instance(p, n, out);
      if (out->id.bytes) return true;
    }
    p->reservation = next_item(p, p->reservation);
    p->instance = first_item(p, child(p, p->reservation, "instancesSet"));
  }
  return false;
}

bool ec2_next_tag(struct ec2_instance *instance, struct ec2_tag *out)
{
  for (struct xml_node *n = instance->tags; n; n = xml_next(n)) {
    /* the namespace was looked at on the way here */
    out->key = out->value = absent;
    for (struct xml_node *c = xml_first(n); c; c = xml_next(c)) {
      if (!strcmp(xml_name(c), "key")) out->key = text(c);
      if (!strcmp(xml_name(c), "value")) out->value = text(c);
    }
    instance->tags = xml_next(n);
    if (out->key.bytes) return true;
  }
  instance->tags = NULL;
  return false;
}

struct ec2_text ec2_next_token(const struct ec2_page *p)
{
  return p->next_token;
}

/* ---- pages ---- */

struct ec2_page *ec2_parse(const char *bytes, size_t len, struct err *e)
{
  struct xml_source source = {.bytes = bytes, .len = len};
  struct ec2_page *p = calloc(1, sizeof(*p));
  if (!p) {
    err_set(e, "memory", "out of memory");
    return NULL;
  }
  p->doc = xml_parse(&source, e);
  if (!p->doc) goto fail;
  struct xml_node *root = xml_root(p->doc);
  p->space = root ? xml_namespace(root) : NULL;
  if (!root || !is_named(p, root, "DescribeInstancesResponse")) {
    const char *name = root ? xml_name(root) : NULL;
    err_set(e, "decode", "no answer of EC2, but an XML document '%.40s'",
            name ? name : "");
    goto fail;
  }
  struct xml_node *set = child(p, root, "reservationSet");
  if (!set) { /* must not look like an empty fleet */
    err_set(e, "decode", "an answer of EC2 without its set of reservations");
    goto fail;
  }
  p->reservation = first_item(p, set);
  p->instance = first_item(p, child(p, p->reservation, "instancesSet"));
  p->next_token = field(p, root, "nextToken");
  return p;
fail:
  ec2_page_free(p);
  return NULL;
}

void ec2_page_free(struct ec2_page *p)
{
  if (!p) return;
  xml_drop(p->doc);
  free(p);
}
