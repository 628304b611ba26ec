/* SPDX-License-Identifier: MIT */
/* What xml.c and the xml_*.c files share, and no other file includes: the
 * document, the budget, limits, and the readers. */
#ifndef MF_XML_INTERNAL_H
#define MF_XML_INTERNAL_H

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
  MAX_DEPTH = 255,       /* of nested elements */
  MAX_TEXT = 10000000,   /* bytes of one text */
  MAX_ATTRIBUTES = 4096, /* and namespaces, of one element */
};

struct xml {
  size_t references;
  size_t memory;
  xmlDocPtr tree;
  xmlXPathContextPtr context; /* made by the first query */
};

/* struct xml_node is never defined. It is libxml2's node under another name,
 * for files that do not include its headers. */
static inline struct xml_node *to_node(xmlNodePtr node)
{
  return (struct xml_node *)node;
}

static inline xmlNodePtr from_node(const struct xml_node *node)
{
  return (xmlNodePtr)(uintptr_t)node;
}

/* ---- the budget of a parse or a query ---- */

/* No parser reports its progress, but all allocate memory for work that takes
 * long, and allocations can be counted. */
struct budget {
  ptrdiff_t bytes, max_bytes;
  uint64_t until;            /* wall clock; then processor time is read */
  uint64_t began, cpu_limit; /* processor time of this thread, ns */
  unsigned calls;
  xmlXPathContextPtr query; /* NULL: a parse, which checks by itself */
  enum { WITHIN, OUT_OF_TIME, OUT_OF_MEMORY } exceeded;
};

/* Loads libxml2 at its first use in the process. 0, or -1 and `e`. */
int xml_load(struct err *e);

/* Drops error messages of libxml2 that no handler of a caller gets. */
void xml_silence(void);

/* Between begin and end, allocations of libxml2 in this thread count. */
void budget_begin(struct budget *budget, size_t max_bytes, unsigned seconds);
void budget_end(void);

/* Sets `exceeded` if the time is up. */
void budget_check(struct budget *budget);
/* Counts bytes, and checks the time once every few calls. */
void budget_count(struct budget *budget, ptrdiff_t bytes);

/* Always -1, and `e` for `exceeded`. */
int budget_fail(const struct budget *budget, const char *what, struct err *e);

/* One line of a message of libxml2, cut between two characters. */
struct message {
  char text[160];
};

const char *message_of(const char *from, struct message *m);

/* Always -1 and `e` of kind "too_large". `reason` is one of these. */
int xml_fail_limit(struct err *e, unsigned line, const char *reason);
#define TOO_DEEP "elements are nested too deep"
#define TEXT_TOO_LONG "one text is longer than 10 MB"
#define TOO_MANY_ATTRIBUTES "an element has too many attributes"

/* gumbo replaces control characters and noncharacters (U+FFFE) by U+FFFD; the
 * HTML standard keeps them. Therefore they pass through gumbo as other
 * characters that stand in for them. The text is UTF-8. */
bool xml_needs_stand_ins(const char *utf8, size_t len);
void xml_put_stand_ins(const char *utf8, size_t len, struct buf *out);
void xml_take_stand_ins(char *utf8); /* restores them in place */

/* The readers return a tree, or NULL and `e`. The budget has begun. */
xmlDocPtr xml_read(const char *bytes, size_t len, const char *encoding,
                   struct budget *budget, struct err *e);
xmlDocPtr xml_read_html(const char *utf8, size_t len, struct budget *budget,
                        struct err *e);

#endif
