/* SPDX-License-Identifier: MIT */
/* This unit provides documents of XML, read by libxml2, and of HTML, read by
 * gumbo into a tree of libxml2, and XPath 1.0 over both. No Lua here; lib_xml.c
 * binds it, because no file sees both.
 *
 * Documents come from strangers, so everything is bounded: bytes read, memory
 * and processor time to read them, depth, length of one text, attributes of an
 * element, steps, memory and processor time of a query. Nothing is ever
 * fetched. A document that declares entities, or values for attributes that are
 * not there, is refused: a few bytes of it would stand for many. The time of a
 * query is looked at between its steps: one step has no bound of its own, be it
 * a comparison of two large sets of nodes (//a = //b), or a function that looks
 * for one long text in another (contains, substring-before, substring-after,
 * translate).
 *
 * [any] thread; a document with its nodes belongs to one thread at a time. */
#ifndef MF_XML_H
#define MF_XML_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* [any] Of the libxml2 that the program was built with: "2.14.4". That which is
 * in use is loaded when it is needed. */
const char *xml_library_version(void);

struct xml;      /* a document, counted references */
struct xml_node; /* a part of it, lives as long as the document */

struct xml_source {
  const char *bytes;
  size_t len;
  size_t max_bytes;         /* 0: 64 MiB */
  const char *encoding;     /* a label or a name of iconv; NULL: not told */
  const char *content_type; /* of the transport; NULL: none */
  bool html;                /* any bytes are HTML, as browsers read it */
};

/* NULL and `e` on failure: kind "decode" (of XML the text has line and column;
 * or nobody knows `encoding`), "too_large" (bytes, depth, texts, attributes,
 * memory of the tree), "timeout", "memory", or "system" (no libxml2 here). */
struct xml *xml_parse(const struct xml_source *source, struct err *e);

/* Drops the caller's reference. A result of a query keeps one, too; the last
 * one frees the document. Accepts NULL. */
void xml_drop(struct xml *doc);

/* Bytes that the document takes up; the first query makes it more. */
size_t xml_memory(const struct xml *doc);

struct xml_node *xml_document(struct xml *doc); /* the document as a node */
struct xml_node *xml_root(struct xml *doc);     /* NULL: of an empty page */

/* ---- nodes ---- */

/* "element", "attribute", "text" (CDATA too), "comment", "instruction",
 * "document" or "other" */
const char *xml_kind(const struct xml_node *node);
/* Without its prefix; NULL when such nodes have none. */
const char *xml_name(const struct xml_node *node);
const char *xml_namespace(const struct xml_node *node); /* NULL: in none */

/* The first element in a node, and the next one beside it; NULL: none. */
struct xml_node *xml_first(struct xml_node *node);
struct xml_node *xml_next(struct xml_node *node);

/* The attribute `name` of the namespace `uri`, NULL: of no namespace. NULL
 * when it is not there. */
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

/* The prefixes that the next query may use. 0, or -1 with kind "usage" or
 * "memory". */
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
