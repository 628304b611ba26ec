/* SPDX-License-Identifier: MIT */
/* What the files of xml.h share; no interface of theirs. */
#ifndef MF_XML_INNER_H
#define MF_XML_INNER_H

#include "base/err.h"
#include "wrap/xml.h"
#include "wrap/xml_lib.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

#if LIBXML_VERSION >= 21200
typedef const xmlError *xml_error;
#else
typedef xmlErrorPtr xml_error;
#endif

enum {
  MAX_DEPTH = 255,       /* of elements in each other */
  MAX_TEXT = 10000000,   /* bytes of one text */
  MAX_ATTRIBUTES = 4096, /* and namespaces, of one element */
};

struct xml {
  size_t references;
  size_t memory;
  xmlDocPtr tree;
  xmlXPathContextPtr context; /* made by the first query */
};

/* struct xml_node is never defined: it is libxml2's node, by another name for
 * those who do not see its headers. */
static inline struct xml_node *to_node(xmlNodePtr node)
{
  return (struct xml_node *)node;
}

static inline xmlNodePtr from_node(const struct xml_node *node)
{
  return (xmlNodePtr)(uintptr_t)node;
}

/* ---- what bounds a parse or a query ---- */

/* No parser has a hook that says how far it is, but all ask for memory for what
 * takes long, and what is asked for can be counted. */
struct work {
  ptrdiff_t bytes, max_bytes;
  uint64_t until;            /* by the clock, then the processor's is read */
  uint64_t began, cpu_limit; /* of this thread's processor time */
  unsigned calls;
  xmlXPathContextPtr query; /* NULL: a parse, which looks itself */
  enum { WITHIN, OVER_TIME, OVER_MEMORY } over;
};

/* Loads libxml2, for the first use in a process. 0, or -1 and `e`. */
int work_load(struct err *e);

/* What libxml2 says of errors to nobody in particular, this thread drops. */
void work_silence(void);

/* From here to work_end, what this thread asks libxml2 for counts. */
void work_begin(struct work *w, size_t max_bytes, unsigned seconds);
void work_end(void);

/* Sets `over` when the time is up. */
void work_look(struct work *w);
/* The same, and counts; each few calls it looks at the clock. */
void work_count(struct work *w, ptrdiff_t bytes);

/* Always -1, with the kind and words for `over`. */
int work_fail(const struct work *w, const char *what, struct err *e);

/* What libxml2 says, on one line, cut between two characters. */
struct message {
  char text[160];
};

const char *message_of(const char *from, struct message *m);

/* Always -1 and `e` of kind "too_large". `why` is one of these. */
int xml_fail_limit(struct err *e, unsigned line, const char *why);
#define TOO_DEEP "elements are nested too deep"
#define TEXT_TOO_LONG "one text is longer than 10 MB"
#define TOO_MANY_ATTRIBUTES "an element has too many attributes"

/* gumbo takes control characters, and those that are none (U+FFFE), for U+FFFD,
 * where the standard only calls them errors and keeps them. So they go through
 * it as others, which stand in for them. The text is UTF-8 throughout. */
bool xml_needs_stand_ins(const char *utf8, size_t len);
void xml_put_stand_ins(const char *utf8, size_t len, struct buf *out);
void xml_take_stand_ins(char *utf8); /* back again, in place */

/* The readers: a tree, or NULL and `e`. `w` has begun. */
xmlDocPtr xml_read(const char *bytes, size_t len, const char *encoding,
                   struct work *w, struct err *e);
xmlDocPtr xml_read_html(const char *utf8, size_t len, struct work *w,
                        struct err *e);

#endif
