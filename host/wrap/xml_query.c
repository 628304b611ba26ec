/* SPDX-License-Identifier: MIT */
/* Evaluates XPath by libxml2, within a budget of steps, memory and time. */
#include "wrap/xml_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  MAX_QUERY_MEMORY = 256 * 1024 * 1024, /* of one query, besides the document */
  MAX_QUERY = 16 * 1024,                /* length of a query */
  MAX_STEPS = 30000000,                 /* about 0.6 s */
  QUERY_SECONDS = 1,
  MAX_OPERANDS = 64, /* of a union that is evaluated operand by operand */
};

static xmlXPathContextPtr context_of(struct xml *doc)
{
  if (doc->context) return doc->context;
  struct budget budget = {0};
  budget_begin(&budget, SIZE_MAX / 2, QUERY_SECONDS);
  doc->context = libxml->xmlXPathNewContext(doc->tree);
  budget_end();
  doc->memory += (size_t)budget.bytes;
  /* Numbers the elements; otherwise sorting siblings would walk them. */
  if (doc->context) libxml->xmlXPathOrderDocElems(doc->tree);
  return doc->context;
}

void xml_forget_prefixes(struct xml *doc)
{
  if (doc->context) libxml->xmlXPathRegisteredNsCleanup(doc->context);
}

int xml_add_prefix(struct xml *doc, const char *prefix, const char *uri,
                   struct err *e)
{
  xmlXPathContextPtr context = context_of(doc);
  if (libxml->xmlValidateNCName((const xmlChar *)prefix, 0) != 0)
    return err_set(e, "usage", "'%.100s' is not a valid prefix", prefix);
  if (!context || libxml->xmlXPathRegisterNs(context, (const xmlChar *)prefix,
                                             (const xmlChar *)uri) != 0)
    return err_set(e, "memory", "out of memory for a query");
  return 0;
}

/* The error that libxml2 reports for a query. Sometimes the generic handler
 * gets the name that the error is about first. */
struct query_error {
  struct err e; /* kind "": none yet */
  struct message about;
};

static void on_query_note(void *arg, const char *format, ...)
{
  struct query_error *c = arg;
  char text[256];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof(text), format, ap);
  va_end(ap);
  const char *colon = strstr(text, ": "); /* after the name of a function */
  if (!*c->about.text) message_of(colon ? colon + 2 : text, &c->about);
}

/* Keeps the first error; later ones are its consequences. */
static void on_query_error(void *arg, xml_error error)
{
  struct query_error *c = arg;
  struct message m;
  if (*c->e.kind) return;
  const char *text = message_of(error->message, &m);
  size_t len = error->str1 ? strlen(error->str1) : 0;
  if (error->code == XML_ERR_NO_MEMORY || error->code == XML_XPATH_MEMORY_ERROR)
    err_set(&c->e, "memory", "out of memory for a query");
  else if (*c->about.text)
    err_set(&c->e, "usage", "xpath: %s: %s", text, c->about.text);
  else if (error->int1 > 0 && (size_t)error->int1 < len)
    err_set(&c->e, "usage", "xpath: %s at byte %d", text, error->int1 + 1);
  else
    err_set(&c->e, "usage", "xpath: %s", text);
}

/* libxml2 copies namespace nodes into the result, so they would not outlive it.
 */
static bool has_namespace_node(const xmlXPathObject *object)
{
  const xmlNodeSet *set =
      object->type == XPATH_NODESET ? object->nodesetval : NULL;
  for (int i = 0; set && i < set->nodeNr; i++)
    if (set->nodeTab[i]->type == XML_NAMESPACE_DECL) return true;
  return false;
}

/* ---- unions ---- */

/* The time of libxml2 for the union of two large sets of nodes grows with the
 * square of their size (since 2.12 also for `//a | //b`, which earlier releases
 * collected in one walk). Therefore the operands of a union are evaluated one
 * by one, and one walk over the document merges them. If the query is not a
 * union after all, because another operator binds less, then an operand is no
 * set of nodes or not an expression. */

/* The end of the operand of `|` that begins at `at`. Skips brackets and
 * literals.
 */
static const char *end_of_operand(const char *at)
{
  int open = 0;
  for (; *at && (open || *at != '|'); at++) {
    if (strchr("([", *at)) open++;
    if (strchr(")]", *at)) open--;
    if (strchr("\"'", *at)) {
      const char *close = strchr(at + 1, *at);
      if (!close) break;
      at = close;
    }
  }
  return at + strcspn(at, "|");
}

/* The next node in document order; attributes come before children. */
static xmlNodePtr next_node(xmlNodePtr n)
{
  bool holds = n->type == XML_ELEMENT_NODE || n->type == XML_DOCUMENT_NODE ||
               n->type == XML_HTML_DOCUMENT_NODE;
  if (n->type == XML_ELEMENT_NODE && n->properties)
    return (xmlNodePtr)n->properties;
  if (n->type == XML_ATTRIBUTE_NODE) {
    if (n->next) return n->next;
    n = n->parent;
    holds = true;
  }
  if (holds && n->children) return n->children;
  while (n && !n->next) n = n->parent;
  return n ? n->next : NULL;
}

static void mark_nodes(const xmlNodeSet *set, void *mark)
{
  for (int i = 0; set && i < set->nodeNr; i++) set->nodeTab[i]->_private = mark;
}

/* Collects the marked nodes in document order and removes the marks. */
static xmlNodeSetPtr take_marked(xmlDocPtr doc, size_t most)
{
  xmlNodeSetPtr set = libxml->xmlXPathNodeSetCreate(NULL);
  for (xmlNodePtr n = (xmlNodePtr)doc; set && most && n; n = next_node(n)) {
    if (!n->_private) continue;
    n->_private = NULL;
    most--;
    if (libxml->xmlXPathNodeSetAddUnique(set, n) < 0) break;
  }
  return set;
}

/* Merges all operands into the first one. False: out of memory. */
static bool unite(xmlDocPtr doc, xmlXPathObjectPtr *operands, size_t n)
{
  enum { FEW = 256 };
  size_t total = 0;
  for (size_t i = 0; i < n; i++) {
    const xmlNodeSet *set = operands[i]->nodesetval;
    total += set && set->nodeNr > 0 ? (size_t)set->nodeNr : 0;
  }
  if (total <= FEW) {
    for (size_t i = 1; i < n; i++)
      operands[0]->nodesetval = libxml->xmlXPathNodeSetMerge(
          operands[0]->nodesetval, operands[i]->nodesetval);
    libxml->xmlXPathNodeSetSort(operands[0]->nodesetval);
    return operands[0]->nodesetval;
  }
  for (size_t i = 0; i < n; i++) mark_nodes(operands[i]->nodesetval, doc);
  xmlNodeSetPtr set = take_marked(doc, total);
  for (size_t i = 0; i < n; i++) mark_nodes(operands[i]->nodesetval, NULL);
  libxml->xmlXPathFreeNodeSet(operands[0]->nodesetval);
  operands[0]->nodesetval = set;
  return set;
}

/* NULL if the query is not a union, or fails. */
static xmlXPathObjectPtr evaluate_union(xmlXPathContextPtr context,
                                        const char *query)
{
  xmlXPathObjectPtr operands[MAX_OPERANDS] = {NULL};
  xmlNodePtr from = context->node;
  size_t n = 0;
  bool sets = *end_of_operand(query) == '|';
  for (const char *at = query; sets && n < MAX_OPERANDS;) {
    const char *end = end_of_operand(at);
    char *operand = strndup(at, (size_t)(end - at));
    context->node = from;
    operands[n] =
        operand ? libxml->xmlXPathEvalExpression((xmlChar *)operand, context)
                : NULL;
    free(operand);
    sets = operands[n] && operands[n]->type == XPATH_NODESET &&
           !has_namespace_node(operands[n]);
    if (operands[n]) n++;
    if (!sets || !*end) break;
    at = end + 1;
    if (n == MAX_OPERANDS) sets = false;
  }
  context->node = from;
  bool done = sets && unite(context->doc, operands, n);
  for (size_t i = done ? 1 : 0; i < n; i++)
    libxml->xmlXPathFreeObject(operands[i]);
  return done ? operands[0] : NULL;
}

static xmlXPathObjectPtr evaluate(xmlXPathContextPtr context, const char *query,
                                  struct err *e)
{
  struct budget budget = {.query = context};
  struct query_error error = {.about = {""}};
  /* handlers of this thread, because that of the context gets no text */
  libxml->xmlSetStructuredErrorFunc(&error, on_query_error);
  libxml->xmlSetGenericErrorFunc(&error, on_query_note);
  context->opLimit = MAX_STEPS;
  context->opCount = 0;
  context->depth = 0;
  budget_begin(&budget, MAX_QUERY_MEMORY, QUERY_SECONDS);
  xmlXPathObjectPtr object = evaluate_union(context, query);
  if (!object && !budget.exceeded && context->opCount < MAX_STEPS) {
    error = (struct query_error){.about = {""}};
    object = libxml->xmlXPathEvalExpression((const xmlChar *)query, context);
  }
  budget_end();
  libxml->xmlSetStructuredErrorFunc(NULL, NULL);
  xml_silence();
  if (budget.exceeded)
    budget_fail(&budget, "xpath: the query", e);
  else if (context->opCount >= MAX_STEPS)
    err_set(e, "timeout", "xpath: the query takes more than %d steps",
            MAX_STEPS);
  else if (*error.e.kind)
    *e = error.e;
  else if (!object)
    err_set(e, "usage", "xpath: libxml2 cannot evaluate the query");
  else if (has_namespace_node(object))
    err_set(e, "usage", "xpath: namespace nodes cannot be returned");
  else
    return object;
  libxml->xmlXPathFreeObject(object);
  return NULL;
}

static void set_result(struct xml_result *r, struct xml *doc,
                       xmlXPathObjectPtr object)
{
  const xmlNodeSet *set = object->nodesetval;
  const xmlChar *string = object->stringval;
  switch (object->type) {
  case XPATH_BOOLEAN: r->type = XML_RESULT_BOOLEAN; break;
  case XPATH_NUMBER: r->type = XML_RESULT_NUMBER; break;
  case XPATH_STRING: r->type = XML_RESULT_STRING; break;
  default: r->type = XML_RESULT_NODES; break;
  }
  r->count = set && set->nodeNr > 0 ? (size_t)set->nodeNr : 0;
  r->number = object->floatval;
  r->string = string ? (const char *)string : "";
  r->boolean = object->boolval != 0;
  r->doc = doc;
  r->object = object;
  doc->references++;
}

int xml_query(struct xml *doc, struct xml_node *from, const char *query,
              struct xml_result *r, struct err *e)
{
  xmlXPathContextPtr context = context_of(doc);
  *r = (struct xml_result){0};
  if (!context) return err_set(e, "memory", "out of memory for a query");
  if (strlen(query) > MAX_QUERY)
    return err_set(e, "usage", "xpath: the query is longer than 16 KiB");
  context->node = from_node(from);
  xmlXPathObjectPtr object = evaluate(context, query, e);
  if (!object) return -1;
  set_result(r, doc, object);
  return 0;
}

void xml_result_free(struct xml_result *r)
{
  if (r->object) libxml->xmlXPathFreeObject(r->object);
  xml_release(r->doc);
  *r = (struct xml_result){0};
}

struct xml_node *xml_result_node(const struct xml_result *r, size_t i)
{
  return to_node(((xmlXPathObjectPtr)r->object)->nodesetval->nodeTab[i]);
}
