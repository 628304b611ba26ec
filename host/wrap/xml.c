/* SPDX-License-Identifier: MIT */
#include "wrap/xml.h"

#include "base/buf.h"
#include "wrap/charset.h"
#include "wrap/xml_internal.h"

#include <stdlib.h>
#include <string.h>

const char *xml_library_version(void)
{
  return LIBXML_DOTTED_VERSION;
}

enum {
  DEFAULT_MAX_BYTES = 64 * 1024 * 1024,
  MAX_TREE = 512 * 1024 * 1024, /* memory of one document */
  PARSE_SECONDS = 5,            /* of processor time */
};

/* ---- documents ---- */

/* The charset that the caller or the transport gives; NULL: none is known. */
static const struct charset *given_charset(const struct xml_source *s)
{
  if (s->encoding) return charset_find(s->encoding, strlen(s->encoding));
  return s->content_type ? charset_of_type(s->content_type) : NULL;
}

/* Appends the page to `out`, as UTF-8. */
static int decode_page(const struct xml_source *s, struct buf *out,
                       struct err *e)
{
  const struct charset by_name = {s->encoding, CHARSET_MULTI, s->encoding, ""};
  const struct charset *given = given_charset(s);
  size_t mark;
  if (s->encoding && !given) {
    if (!charset_is_known(s->encoding))
      return err_set(e, "decode", "unknown encoding '%.100s'", s->encoding);
    given = &by_name;
  }
  const struct charset *c = charset_of_page(s->bytes, s->len, given, &mark);
  if (charset_decode(c, s->bytes + mark, s->len - mark, out, e) < 0) return -1;
  return out->failed ? err_set(e, "memory", "out of memory for a document") : 0;
}

static xmlDocPtr read_page(const struct xml_source *s, struct budget *budget,
                           struct err *e)
{
  struct buf text;
  xmlDocPtr tree = NULL;
  buf_init(&text, 4 * s->len + 4); /* a byte becomes at most 4 */
  if (decode_page(s, &text, e) == 0)
    tree = xml_read_html(text.len ? (const char *)text.data : "", text.len,
                         budget, e);
  buf_free(&text);
  return tree;
}

/* Sets `*name` to the name of the encoding for libxml2; NULL: libxml2 detects
 * it. Of declared charsets only those of East Asia are passed: documents use
 * more characters than the declared label has. */
static int find_encoding(const struct xml_source *s, const char **name,
                         struct err *e)
{
  const struct charset *c = given_charset(s);
  *name = s->encoding;
  if (!c && !s->encoding) {
    c = charset_of_declaration(s->bytes, s->len);
    if (c && c->kind != CHARSET_MULTI) c = NULL;
  }
  if (c) *name = c->iconv;
  if (!*name && !s->encoding) return 0;
  xmlCharEncodingHandlerPtr known =
      *name ? libxml->xmlFindCharEncodingHandler(*name) : NULL;
  if (!known)
    return err_set(e, "decode", "unknown encoding '%.100s'",
                   s->encoding ? s->encoding : *name);
  /* each call makes a new one */
  libxml->xmlCharEncCloseFunc(known);
  return 0;
}

static xmlDocPtr read_document(const struct xml_source *s,
                               struct budget *budget, struct err *e)
{
  const char *encoding;
  if (find_encoding(s, &encoding, e) < 0) return NULL;
  return xml_read(s->bytes, s->len, encoding, budget, e);
}

struct xml *xml_parse(const struct xml_source *source, struct err *e)
{
  size_t max = source->max_bytes ? source->max_bytes : DEFAULT_MAX_BYTES;
  struct budget budget = {0};
  if (xml_load(e) < 0) return NULL;
  if (source->len > max) {
    err_set(e, "too_large", "a document of %zu bytes, over the limit of %zu",
            source->len, max);
    return NULL;
  }
  struct xml *doc = err_calloc(sizeof(*doc), "a document", e);
  if (!doc) return NULL;
  budget_begin(&budget, MAX_TREE, PARSE_SECONDS);
  doc->tree = source->html ? read_page(source, &budget, e)
                           : read_document(source, &budget, e);
  budget_end();
  if (!doc->tree) {
    free(doc);
    return NULL;
  }
  doc->references = 1;
  doc->memory = sizeof(*doc) + (size_t)(budget.bytes > 0 ? budget.bytes : 0);
  return doc;
}

void xml_release(struct xml *doc)
{
  if (!doc || (doc->references && --doc->references)) return;
  libxml->xmlXPathFreeContext(doc->context);
  libxml->xmlFreeDoc(doc->tree);
  free(doc);
}

size_t xml_memory(const struct xml *doc)
{
  return doc->memory;
}

/* ---- nodes ---- */

struct xml_node *xml_document(struct xml *doc)
{
  return to_node((xmlNodePtr)doc->tree);
}

struct xml_node *xml_root(struct xml *doc)
{
  return to_node(libxml->xmlDocGetRootElement(doc->tree));
}

const char *xml_kind(const struct xml_node *node)
{
  switch (from_node(node)->type) {
  case XML_ELEMENT_NODE: return "element";
  case XML_ATTRIBUTE_NODE: return "attribute";
  case XML_TEXT_NODE:
  case XML_CDATA_SECTION_NODE: return "text";
  case XML_COMMENT_NODE: return "comment";
  case XML_PI_NODE: return "instruction";
  case XML_DOCUMENT_NODE:
  case XML_HTML_DOCUMENT_NODE: return "document";
  default: return "other";
  }
}

static bool has_name(xmlNodePtr n)
{
  return n->type == XML_ELEMENT_NODE || n->type == XML_ATTRIBUTE_NODE;
}

const char *xml_name(const struct xml_node *node)
{
  xmlNodePtr n = from_node(node);
  return has_name(n) || n->type == XML_PI_NODE ? (const char *)n->name : NULL;
}

const char *xml_namespace(const struct xml_node *node)
{
  xmlNodePtr n = from_node(node);
  return has_name(n) && n->ns ? (const char *)n->ns->href : NULL;
}

struct xml_node *xml_first(struct xml_node *node)
{
  return to_node(libxml->xmlFirstElementChild(from_node(node)));
}

struct xml_node *xml_next(struct xml_node *node)
{
  return to_node(libxml->xmlNextElementSibling(from_node(node)));
}

struct xml_node *xml_attribute(struct xml_node *node, const char *name,
                               const char *uri)
{
  xmlNodePtr n = from_node(node);
  if (n->type != XML_ELEMENT_NODE) return NULL;
  for (xmlAttrPtr a = n->properties; a; a = a->next) {
    const char *ns = a->ns ? (const char *)a->ns->href : NULL;
    if (!strcmp((const char *)a->name, name) &&
        (uri && ns ? !strcmp(uri, ns) : uri == ns))
      return to_node((xmlNodePtr)a);
  }
  return NULL;
}

/* Whether the node has no children that count as its text. */
static bool is_leaf(xmlNodePtr n)
{
  return n->type != XML_ELEMENT_NODE && n->type != XML_ATTRIBUTE_NODE &&
         n->type != XML_DOCUMENT_NODE && n->type != XML_HTML_DOCUMENT_NODE;
}

static bool is_text(xmlNodePtr n)
{
  return n->type == XML_TEXT_NODE || n->type == XML_CDATA_SECTION_NODE;
}

static const char *content_of(xmlNodePtr n)
{
  bool has =
      is_text(n) || n->type == XML_COMMENT_NODE || n->type == XML_PI_NODE;
  return has && n->content ? (const char *)n->content : "";
}

/* The next node in `top` in document order. Not recursive, to spare the stack.
 */
static xmlNodePtr following(xmlNodePtr n, xmlNodePtr top)
{
  if (!is_leaf(n) && n->children) return n->children;
  while (n != top && !n->next) n = n->parent;
  return n == top ? NULL : n->next;
}

const char *xml_text(const struct xml_node *node, const struct xml_node **at,
                     size_t *len)
{
  xmlNodePtr top = from_node(node);
  xmlNodePtr n = *at ? following(from_node(*at), top) : top;
  while (n && !is_text(n) && !(n == top && is_leaf(n))) n = following(n, top);
  *at = to_node(n);
  if (!n) return NULL;
  const char *text = content_of(n);
  *len = strlen(text);
  return text;
}
