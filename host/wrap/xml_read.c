/* SPDX-License-Identifier: MIT */
/* Reads XML by libxml2's parser. Its callbacks refuse what is too large, too
 * deep, or declares entities. */
#include "wrap/xml_internal.h"

#include <string.h>

struct feed {
  xmlParserCtxtPtr ctxt;
  const char *at;
  size_t left;
  struct budget *budget;
  unsigned depth; /* of open elements */
  size_t text;    /* length so far of the current text */
  bool failed;    /* `e` has the first reason */
  struct err *e;
};

/* ---- refusals ---- */

static unsigned line_of(const struct feed *f)
{
  int line = f->ctxt->input ? f->ctxt->input->line : 0;
  return line > 0 ? (unsigned)line : 0;
}

/* Stops the parser from within a callback. */
static void refuse(struct feed *f, const char *reason)
{
  if (!f->failed) xml_fail_limit(f->e, line_of(f), reason);
  f->failed = true;
  libxml->xmlStopParser(f->ctxt);
}

static void refuse_declaration(struct feed *f, const char *what,
                               const xmlChar *name)
{
  struct message m;
  if (!f->failed)
    err_set(f->e, "decode", "line %u: the document must not declare %s %s",
            line_of(f), what, message_of((const char *)name, &m));
  f->failed = true;
  libxml->xmlStopParser(f->ctxt);
}

static void on_error(void *arg, xml_error error)
{
  struct feed *f = ((xmlParserCtxtPtr)arg)->_private;
  struct message m;
  bool large = error->code == XML_ERR_NAME_TOO_LONG;
#if LIBXML_VERSION >= 21300
  large = large || error->code == XML_ERR_RESOURCE_LIMIT;
#endif
  if (error->level < XML_ERR_ERROR || f->failed || f->budget->exceeded) return;
  f->failed = true;
  if (error->code == XML_ERR_NO_MEMORY)
    err_set(f->e, "memory", "out of memory for a document");
  else if (large)
    err_set(f->e, "too_large", "line %d: %s", error->line,
            message_of(error->message, &m));
  else
    err_set(f->e, "decode", "line %d, column %d: %s", error->line, error->int2,
            message_of(error->message, &m));
}

/* ---- callbacks ---- */

static int on_read(void *arg, char *to, int room)
{
  struct feed *f = arg;
  size_t n = room > 0 ? (size_t)room : 0;
  budget_check(f->budget);
#if LIBXML_VERSION < 21200
  /* an attribute takes five entries of a table whose size doubles when it is
   * full, and is compared with all others when its element ends */
  if (f->ctxt->maxatts > 12 * MAX_ATTRIBUTES && !f->failed) {
    xml_fail_limit(f->e, line_of(f), TOO_MANY_ATTRIBUTES);
    f->failed = true; /* xmlStopParser would crash here */
  }
#endif
  if (f->budget->exceeded || f->failed) return -1;
  if (n > f->left) n = f->left;
  memcpy(to, f->at, n);
  f->at += n;
  f->left -= n;
  return (int)n;
}

/* libxml2 walks a list to append each attribute to it. */
static void on_element(void *arg, const xmlChar *name, const xmlChar *prefix,
                       const xmlChar *uri, int namespaces,
                       const xmlChar **declared, int attributes, int defaulted,
                       const xmlChar **values)
{
  struct feed *f = ((xmlParserCtxtPtr)arg)->_private;
  if (attributes > MAX_ATTRIBUTES || namespaces > MAX_ATTRIBUTES)
    refuse(f, TOO_MANY_ATTRIBUTES);
  else if (++f->depth > MAX_DEPTH)
    refuse(f, TOO_DEEP);
  else
    libxml->xmlSAX2StartElementNs(arg, name, prefix, uri, namespaces, declared,
                                  attributes, defaulted, values);
}

static void on_element_end(void *arg, const xmlChar *name,
                           const xmlChar *prefix, const xmlChar *uri)
{
  struct feed *f = ((xmlParserCtxtPtr)arg)->_private;
  f->depth--;
  libxml->xmlSAX2EndElementNs(arg, name, prefix, uri);
}

static void on_text(void *arg, const xmlChar *text, int len)
{
  struct feed *f = ((xmlParserCtxtPtr)arg)->_private;
  const xmlNode *last = f->ctxt->node ? f->ctxt->node->last : NULL;
  if (!last || last->type != XML_TEXT_NODE) f->text = 0; /* a new text */
  f->text += len > 0 ? (size_t)len : 0;
  if (f->text > MAX_TEXT)
    refuse(f, TEXT_TOO_LONG);
  else
    libxml->xmlSAX2Characters(arg, text, len);
}

static void on_cdata(void *arg, const xmlChar *text, int len)
{
  struct feed *f = ((xmlParserCtxtPtr)arg)->_private;
  if (len > MAX_TEXT)
    refuse(f, TEXT_TOO_LONG);
  else
    libxml->xmlSAX2CDataBlock(arg, text, len);
}

static void on_entity(void *arg, const xmlChar *name, int type,
                      const xmlChar *public, const xmlChar *system,
                      xmlChar *content)
{
  (void)type, (void)public, (void)system, (void)content;
  refuse_declaration(((xmlParserCtxtPtr)arg)->_private, "the entity", name);
}

static void on_attribute(void *arg, const xmlChar *element, const xmlChar *name,
                         int type, int otherwise, const xmlChar *value,
                         xmlEnumerationPtr choices)
{
  if (!value) { /* declares only its type */
    libxml->xmlSAX2AttributeDecl(arg, element, name, type, otherwise, value,
                                 choices);
    return;
  }
  libxml->xmlFreeEnumeration(choices); /* this callback owns them */
  refuse_declaration(((xmlParserCtxtPtr)arg)->_private,
                     "a value for the attribute", name);
}

xmlDocPtr xml_read(const char *bytes, size_t len, const char *encoding,
                   struct budget *budget, struct err *e)
{
  /* not XML_PARSE_NOERROR: libxml2 2.14 and later would call no handler */
  enum { OPTIONS = XML_PARSE_NONET | XML_PARSE_NOWARNING | XML_PARSE_COMPACT };
  struct feed f = {.at = bytes, .left = len, .budget = budget, .e = e};
  xmlParserCtxtPtr ctxt = f.ctxt = libxml->xmlNewParserCtxt();
  xmlDocPtr tree = NULL;
  if (!ctxt) {
    err_set(e, "memory", "out of memory for a document");
    return NULL;
  }
  ctxt->_private = &f;
  xmlSAXHandlerPtr sax = ctxt->sax;
  sax->serror = on_error;
  sax->startElementNs = on_element;
  sax->endElementNs = on_element_end;
  sax->characters = sax->ignorableWhitespace = on_text;
  sax->cdataBlock = on_cdata;
  sax->entityDecl = on_entity;
  sax->attributeDecl = on_attribute;
  tree =
      libxml->xmlCtxtReadIO(ctxt, on_read, NULL, &f, NULL, encoding, OPTIONS);
  if (budget->exceeded)
    budget_fail(budget, "the document", e);
  else if (!tree && !f.failed)
    err_set(e, "decode", "no document");
  libxml->xmlFreeParserCtxt(ctxt);
  if (!budget->exceeded && !f.failed) return tree;
  libxml->xmlFreeDoc(tree);
  return NULL;
}
