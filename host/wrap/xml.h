/* SPDX-License-Identifier: MIT */
/* Documents of XML, read by libxml2, and of HTML, read by gumbo into a tree of
 * libxml2, with XPath 1.0 over both.
 *
 * Documents come from strangers, so everything is bounded: the bytes read, the
 * memory and processor time for reading them, the depth, the length of one
 * text, the attributes of an element, and the steps, memory and processor time
 * of a query. Nothing is ever fetched. A document that declares entities or
 * default values of attributes is refused, because a few bytes of it could
 * expand to many. The time of a query is checked between its steps. A single
 * step is not bounded: neither a comparison of two large sets of nodes (//a =
 * //b), nor a search for one long text in another (contains, substring-before,
 * substring-after, translate).
 *
 * All functions are [loop]. */
#ifndef MF_XML_H
#define MF_XML_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* The version of libxml2 that the program was built with: "2.14.4". The library
 * is loaded at its first use. [any] */
const char *xml_library_version(void);

struct xml;      /* a document, counted references */
struct xml_node; /* a part of it, valid as long as the document */

struct xml_source {
  const char *bytes;
  size_t len;
  size_t max_bytes;         /* 0: 64 MiB */
  const char *encoding;     /* a label or a name of iconv; NULL: unknown */
  const char *content_type; /* of the HTTP response; NULL: none */
  bool html;                /* read any bytes as HTML, as browsers do */
};

/* NULL and `e` on failure: kind "decode" (for XML the text has line and column;
 * or `encoding` is unknown), "too_large" (bytes, depth, texts, attributes,
 * memory of the tree), "timeout", "memory", or "system" (libxml2 is missing).
 */
struct xml *xml_parse(const struct xml_source *source, struct err *e);

/* Drops the caller's reference. A result of a query keeps one, too; the last
 * one frees the document. Accepts NULL. */
void xml_release(struct xml *doc);

/* Bytes of memory that the document uses; the first query adds some. */
size_t xml_memory(const struct xml *doc);

struct xml_node *xml_document(struct xml *doc); /* the document as a node */
struct xml_node *xml_root(struct xml *doc);     /* NULL: the page is empty */

/* ---- nodes ---- */

/* "element", "attribute", "text" (CDATA too), "comment", "instruction",
 * "document" or "other" */
const char *xml_kind(const struct xml_node *node);
/* Without prefix; NULL if such nodes have no name. */
const char *xml_name(const struct xml_node *node);
const char *xml_namespace(const struct xml_node *node); /* NULL: none */

/* The first element in a node, and the next sibling element, or NULL. */
struct xml_node *xml_first(struct xml_node *node);
struct xml_node *xml_next(struct xml_node *node);

/* The attribute `name` of the namespace `uri` (NULL: of none), or NULL. */
struct xml_node *xml_attribute(struct xml_node *node, const char *name,
                               const char *uri);

/* Iterates over the pieces of text in `node`, in order. Start with a NULL in
 * `*at`. Returns the piece, which lies in the document, and its length; NULL
 * at the end. */
const char *xml_text(const struct xml_node *node, const struct xml_node **at,
                     size_t *len);

/* ---- queries ---- */

enum xml_result_type {
  XML_RESULT_NODES,
  XML_RESULT_NUMBER,
  XML_RESULT_STRING,
  XML_RESULT_BOOLEAN,
};

struct xml_result {
  enum xml_result_type type;
  size_t count; /* of nodes */
  double number;
  const char *string;
  bool boolean;
  struct xml *doc; /* kept */
  void *object;    /* of libxml2 */
};

/* Sets the prefixes of the next query. 0, or -1 with kind "usage" or "memory".
 */
void xml_forget_prefixes(struct xml *doc);
int xml_add_prefix(struct xml *doc, const char *prefix, const char *uri,
                   struct err *e);

/* Evaluates `query` relative to `from`. 0 and `r`, which the caller frees; or
 * -1 and `e` with kind "usage" (the words of libxml2), "timeout", "too_large"
 * or "memory", and `r` is all zero. */
int xml_query(struct xml *doc, struct xml_node *from, const char *query,
              struct xml_result *r, struct err *e);
/* Zeroes `r`. Accepts one that is all zero. */
void xml_result_free(struct xml_result *r);
struct xml_node *xml_result_node(const struct xml_result *r, size_t i);

#endif
