/* SPDX-License-Identifier: MIT */
/* Reads HTML by gumbo, which follows the standard, and converts its tree to one
 * of libxml2. gumbo has no limits, and its time can grow with the square of the
 * length of a page. But it allocates all the while, and once its budget is
 * exceeded, the allocator leaves it by longjmp. The list of its blocks then has
 * all of its memory to free. */
#include "base/container.h"
#include "wrap/xml_internal.h"

#include "base/buf.h"

#include <gumbo.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* ---- gumbo's memory ---- */

struct block {
  LIST_ENTRY(block) link;
  size_t size;
  max_align_t bytes[];
};

struct page {
  const char *text;
  size_t len;
  struct budget *budget;
  LIST_HEAD(, block) blocks; /* the newest first */
  jmp_buf leave;
  bool out_of_memory;
  /* Blocks of the size of an attribute since the last of the size of a node. */
  unsigned attributes;
  unsigned overflow_line; /* line of an element with too many, or 0 */
};

/* 0 if the block, which has the size of an attribute, is not one. */
static unsigned line_of_attribute(const struct page *p, const struct block *b)
{
  GumboAttribute a;
  memcpy(&a, b->bytes, sizeof(a));
  uintptr_t name = (uintptr_t)a.original_name.data, text = (uintptr_t)p->text;
  return name >= text && name <= text + p->len ? a.name_start.line : 0;
}

/* gumbo compares each attribute with all before it, and reports the element
 * only at its end. */
static void count_attribute(struct page *p, size_t size)
{
  enum { BLOCKS = 3 }; /* per attribute: itself, its name, its value */
  if (size == sizeof(GumboNode)) p->attributes = 0;
  if (size != sizeof(GumboAttribute)) return;
  if (++p->attributes <= BLOCKS * MAX_ATTRIBUTES) return;
  const struct block *b;
  LIST_FOREACH (b, &p->blocks, link)
    if (b->size == size && !p->overflow_line)
      p->overflow_line = line_of_attribute(p, b);
}

static void *on_allocate(void *arg, size_t size)
{
  struct page *p = arg;
  struct block *b = malloc(sizeof(*b) + size);
  p->out_of_memory = !b;
  budget_count(p->budget, b ? (ptrdiff_t)malloc_usable_size(b) : 0);
  if (b) {
    count_attribute(p, size);
    b->size = size;
    LIST_INSERT_HEAD(&p->blocks, b, link);
  }
  if (!b || p->budget->exceeded || p->overflow_line) longjmp(p->leave, 1);
  return b->bytes;
}

static void on_free(void *arg, void *bytes)
{
  struct page *p = arg;
  if (!bytes) return;
  struct block *b = CONTAINER_OF(bytes, struct block, bytes);
  if (b->size == sizeof(GumboAttribute) && p->attributes) p->attributes--;
  LIST_REMOVE(b, link);
  p->budget->bytes -= (ptrdiff_t)malloc_usable_size(b);
  free(b);
}

static void free_all(struct page *p)
{
  while (!LIST_EMPTY(&p->blocks)) on_free(p, LIST_FIRST(&p->blocks)->bytes);
}

/* NULL if the allocator left gumbo. */
static const GumboOutput *read_page(struct page *p)
{
  GumboOptions options = kGumboDefaultOptions;
  options.allocator = on_allocate;
  options.deallocator = on_free;
  options.userdata = p;
  options.max_errors = 0;
  if (setjmp(p->leave)) return NULL;
  return gumbo_parse_with_options(&options, p->text, p->len);
}

/* ---- a tree of libxml2 ---- */

struct tree {
  xmlDocPtr doc;
  xmlNodePtr root;
  xmlNsPtr xlink; /* declared by the root if an attribute needs it */
  bool stands_in; /* texts contain stand-ins */
  struct budget *budget;
  struct err *e;
};

static int fail_memory(struct tree *t)
{
  return err_set(t->e, "memory", "out of memory for a document");
}

/* An element without attributes and namespace. NULL: out of memory. */
static xmlNodePtr make_element(const struct tree *t, const GumboElement *g)
{
  GumboStringPiece piece = g->original_tag;
  const char *known = gumbo_normalized_tagname(g->tag);
  if (piece.data) gumbo_tag_from_original_text(&piece);
  if (piece.data && g->tag_namespace == GUMBO_NAMESPACE_SVG) {
    const char *mixed = gumbo_normalize_svg_tagname(&piece);
    if (mixed) known = mixed;
  }
  if (*known)
    return libxml->xmlNewDocNode(t->doc, NULL, (const xmlChar *)known, NULL);
  char *name = calloc(piece.length + 1, 1);
  if (!name) return NULL;
  for (size_t i = 0; i < piece.length; i++) {
    char c = piece.data[i];
    name[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
  }
  if (t->stands_in) xml_take_stand_ins(name);
  xmlNodePtr node =
      libxml->xmlNewDocNode(t->doc, NULL, (const xmlChar *)name, NULL);
  free(name);
  return node;
}

/* A text of gumbo, which lies in one of our blocks and may be changed. */
static const xmlChar *text_of(const struct tree *t, const char *text)
{
  if (t->stands_in) xml_take_stand_ins((char *)(uintptr_t)text);
  return (const xmlChar *)text;
}

static const char *uri_of(const GumboElement *g)
{
  switch (g->tag_namespace) {
  case GUMBO_NAMESPACE_SVG: return "http://www.w3.org/2000/svg";
  case GUMBO_NAMESPACE_MATHML: return "http://www.w3.org/1998/Math/MathML";
  default: return NULL;
  }
}

/* The outermost element of a namespace declares it. */
static int set_namespace(struct tree *t, xmlNodePtr node, const char *uri)
{
  xmlNsPtr above = node->parent->ns;
  if (!uri) return 0;
  node->ns = above && !strcmp((const char *)above->href, uri)
                 ? above
                 : libxml->xmlNewNs(node, (const xmlChar *)uri, NULL);
  return node->ns ? 0 : fail_memory(t);
}

static int add_attribute(struct tree *t, xmlNodePtr node,
                         const GumboAttribute *a)
{
  static const xmlChar xlink[] = "http://www.w3.org/1999/xlink";
  xmlNsPtr ns = NULL;
  char declaration[sizeof("xmlns:xlink")] = "xmlns:xlink";
  const char *name = a->name;
  if (strlen(a->value) > MAX_TEXT || strlen(name) > MAX_TEXT)
    return xml_fail_limit(t->e, a->name_start.line, TEXT_TOO_LONG);
  switch (a->attr_namespace) {
  case GUMBO_ATTR_NAMESPACE_XLINK:
    if (!t->xlink)
      t->xlink = libxml->xmlNewNs(t->root, xlink, (const xmlChar *)"xlink");
    ns = t->xlink;
    if (!ns) return fail_memory(t);
    break;
  case GUMBO_ATTR_NAMESPACE_XML:
    ns = libxml->xmlSearchNs(t->doc, node, (const xmlChar *)"xml");
    if (!ns) return fail_memory(t);
    break;
  case GUMBO_ATTR_NAMESPACE_XMLNS: /* stays a plain attribute */
    if (strcmp(name, "xmlns") != 0) name = declaration;
    break;
  default: break;
  }
  xmlAttrPtr made =
      libxml->xmlNewNsProp(node, ns, text_of(t, name), text_of(t, a->value));
  return made ? 0 : fail_memory(t);
}

/* NULL and t->e on failure. */
static xmlNodePtr add_element(struct tree *t, xmlNodePtr parent,
                              const GumboElement *g)
{
  if (g->attributes.length > MAX_ATTRIBUTES) {
    xml_fail_limit(t->e, g->start_pos.line, TOO_MANY_ATTRIBUTES);
    return NULL;
  }
  xmlNodePtr node = make_element(t, g);
  if (!node) {
    fail_memory(t);
    return NULL;
  }
  libxml->xmlAddChild(parent, node);
  if (!t->root) t->root = node;
  if (set_namespace(t, node, uri_of(g)) < 0) return NULL;
  for (unsigned i = 0; i < g->attributes.length; i++)
    if (add_attribute(t, node, g->attributes.data[i]) < 0) return NULL;
  return node;
}

static int add_text(struct tree *t, xmlNodePtr parent, const GumboNode *g)
{
  const xmlChar *text = text_of(t, g->v.text.text);
  size_t len = strlen(g->v.text.text);
  xmlNodePtr node;
  if (len > MAX_TEXT)
    return xml_fail_limit(t->e, g->v.text.start_pos.line, TEXT_TOO_LONG);
  if (g->type == GUMBO_NODE_CDATA)
    node = libxml->xmlNewCDataBlock(t->doc, text, (int)len);
  else if (g->type == GUMBO_NODE_TEXT || g->type == GUMBO_NODE_WHITESPACE)
    node = libxml->xmlNewDocTextLen(t->doc, text, (int)len);
  else
    node = libxml->xmlNewDocComment(t->doc, text);
  if (!node) return fail_memory(t);
  libxml->xmlAddChild(parent, node); /* merges adjacent texts */
  return 0;
}

/* Not recursive, to spare the stack. */
static int add_all(struct tree *t, const GumboDocument *document)
{
  struct {
    const GumboVector *children;
    unsigned next;
    xmlNodePtr node;
  } open[MAX_DEPTH + 1] = {{&document->children, 0, (xmlNodePtr)t->doc}};
  for (unsigned depth = 0;;) {
    if (open[depth].next == open[depth].children->length) {
      if (!depth--) return 0;
      continue;
    }
    const GumboNode *g = open[depth].children->data[open[depth].next++];
    xmlNodePtr parent = open[depth].node;
    budget_count(t->budget, 0);
    if (t->budget->exceeded)
      return budget_fail(t->budget, "the document", t->e);
    if (g->type != GUMBO_NODE_ELEMENT && g->type != GUMBO_NODE_TEMPLATE) {
      if (add_text(t, parent, g) < 0) return -1;
      continue;
    }
    if (depth == MAX_DEPTH)
      return xml_fail_limit(t->e, g->v.element.start_pos.line, TOO_DEEP);
    xmlNodePtr made = add_element(t, parent, &g->v.element);
    if (!made) return -1;
    open[++depth].children = &g->v.element.children;
    open[depth].next = 0;
    open[depth].node = made;
  }
}

static xmlDocPtr build(const GumboOutput *output, bool stands_in,
                       struct budget *budget, struct err *e)
{
  struct tree t = {.doc = libxml->htmlNewDocNoDtD(NULL, NULL),
                   .stands_in = stands_in,
                   .budget = budget,
                   .e = e};
  int r = t.doc ? 0 : fail_memory(&t);
  if (r == 0 && output) r = add_all(&t, &output->document->v.document);
  if (r == 0) return t.doc;
  libxml->xmlFreeDoc(t.doc);
  return NULL;
}

xmlDocPtr xml_read_html(const char *utf8, size_t len, struct budget *budget,
                        struct err *e)
{
  struct page p = {.text = utf8, .len = len, .budget = budget};
  struct buf text;
  bool stands_in = xml_needs_stand_ins(utf8, len);
  xmlDocPtr doc = NULL;
  buf_init(&text, 4 * len);
  if (stands_in) {
    xml_put_stand_ins(utf8, len, &text);
    p.text = (const char *)text.data;
    p.len = text.len;
  }
  const GumboOutput *output = len && !text.failed ? read_page(&p) : NULL;
  if (text.failed || p.out_of_memory)
    err_set(e, "memory", "out of memory for a document");
  else if (p.overflow_line)
    xml_fail_limit(e, p.overflow_line, TOO_MANY_ATTRIBUTES);
  else if (budget->exceeded)
    budget_fail(budget, "the document", e);
  else
    doc = build(output, stands_in, budget, e);
  free_all(&p);
  buf_free(&text);
  return doc;
}
