/* SPDX-License-Identifier: MIT */
#include "xml.h"

#include "buf.h"
#include "xml_lib.h"

#include <limits.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if LIBXML_VERSION >= 21200
typedef const xmlError *error_ptr;
#else
typedef xmlErrorPtr error_ptr;
#endif

enum {
  DEFAULT_MAX_BYTES = 64 * 1024 * 1024,
  MAX_TREE = 512 * 1024 * 1024,         /* memory of one document */
  MAX_QUERY_MEMORY = 256 * 1024 * 1024, /* of one query, beside it */
  MAX_QUERY = 16 * 1024,                /* length of a query */
  MAX_STEPS = 30000000,                 /* some 0.6 s of libxml2's steps */
  MAX_ATTRIBUTES = 4096,                /* and namespaces, of one element */
  PARSE_SECONDS = 5,                    /* of processor time */
  QUERY_SECONDS = 1,
};

/* ---- what bounds a parse or a query ---- */

/* libxml2 has no hook that says how far it is, but it asks for memory for all
 * that takes long, and what it asks can be counted. */
struct work {
  ptrdiff_t bytes, max_bytes;
  uint64_t until;            /* by the clock, then the processor's is read */
  uint64_t began, cpu_limit; /* of this thread's processor time */
  unsigned calls;
  xmlXPathContextPtr query; /* NULL: a parse, which looks itself */
  enum { WITHIN, OVER_TIME, OVER_MEMORY } over;
};

/* Mutable and not passed on: the allocator of libxml2 takes no argument. */
static _Thread_local struct work *at_work;

static uint64_t read_clock(clockid_t clock)
{
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void work_begin(struct work *w, size_t max_bytes, unsigned seconds)
{
  w->max_bytes = (ptrdiff_t)max_bytes;
  w->cpu_limit = (uint64_t)seconds * 1000000000;
  w->until = read_clock(CLOCK_MONOTONIC) + w->cpu_limit;
  w->began = read_clock(CLOCK_THREAD_CPUTIME_ID);
  at_work = w;
}

/* The processor's clock is a system call, and time spent waiting for a
 * processor is not the document's fault. */
static void look_at_clock(struct work *w)
{
  if (w->over || read_clock(CLOCK_MONOTONIC) < w->until) return;
  if (read_clock(CLOCK_THREAD_CPUTIME_ID) - w->began > w->cpu_limit)
    w->over = OVER_TIME;
}

static void count(void *p, size_t before)
{
  enum { LARGE = 4096, EVERY = 16 };
  struct work *w = at_work;
  if (!w) return;
  size_t n = p ? malloc_usable_size(p) : 0;
  w->bytes += (ptrdiff_t)n - (ptrdiff_t)before;
  if (w->bytes > w->max_bytes) w->over = OVER_MEMORY;
  if (!w->query) return;
  if (n >= LARGE || ++w->calls % EVERY == 0) look_at_clock(w);
  if (w->over) w->query->opLimit = 1; /* it ends with its next step */
}

static void *counted_malloc(size_t n)
{
  void *p = malloc(n);
  count(p, 0);
  return p;
}

static void *counted_realloc(void *old, size_t n)
{
  size_t before = at_work && old ? malloc_usable_size(old) : 0;
  void *p = realloc(old, n);
  count(p, p ? before : 0);
  return p;
}

static char *counted_strdup(const char *s)
{
  char *p = strdup(s);
  count(p, 0);
  return p;
}

static void counted_free(void *p)
{
  if (at_work && p) at_work->bytes -= (ptrdiff_t)malloc_usable_size(p);
  free(p);
}

/* The first use of libxml2 in a process is by its one Lua thread. */
static int load_once(struct err *e)
{
  if (xml_lib) return 0;
  if (xml_lib_load(e) < 0) return -1;
  xmlMemSetup(counted_free, counted_malloc, counted_realloc, counted_strdup);
  xmlInitParser();
  return 0;
}

static int fail_over(const struct work *w, const char *what, struct err *e)
{
  if (w->over == OVER_TIME)
    return err_set(e, "timeout", "%s takes too much processor time", what);
  return err_set(e, "too_large", "%s takes too much memory", what);
}

/* ---- messages ---- */

/* What libxml2 says, on one line, cut between two characters. */
struct message {
  char text[160];
};

static const char *message_of(const char *from, struct message *m)
{
  size_t n = from ? strcspn(from, "\r\n") : 0;
  if (n >= sizeof(m->text)) {
    n = sizeof(m->text) - 1;
    while (n && ((unsigned char)from[n] & 0xc0) == 0x80) n--;
  }
  if (n) memcpy(m->text, from, n);
  m->text[n] = '\0';
  return n ? m->text : "no reason given";
}

/* ---- parsing ---- */

static const char too_many[] = "an element has too many attributes";

struct xml {
  size_t references;
  size_t memory;
  xmlDocPtr tree;
  xmlXPathContextPtr context; /* made by the first query */
};

struct feed {
  xmlParserCtxtPtr ctxt;
  const char *at;
  size_t left;
  struct work work;
  bool html;
  bool failed; /* and `e` says why; the first reason stays */
  struct err e;
};

static void give_up(struct feed *f, const char *kind, const char *what,
                    const xmlChar *name)
{
  struct message m;
  int line = f->ctxt->input ? f->ctxt->input->line : 0;
  if (!f->failed)
    err_set(&f->e, kind, "line %d: %s%s", line, what,
            name ? message_of((const char *)name, &m) : "");
  f->failed = true;
}

static int on_read(void *arg, char *to, int room)
{
  struct feed *f = arg;
  size_t n = room > 0 ? (size_t)room : 0;
  look_at_clock(&f->work);
  /* each attribute has five places, which are doubled when they run out, and
   * is compared with each other one when its element ends */
  if (f->ctxt->maxatts > 12 * MAX_ATTRIBUTES)
    give_up(f, "too_large", too_many, NULL);
  if (f->work.over || f->failed) return -1;
  if (n > f->left) n = f->left;
  memcpy(to, f->at, n);
  f->at += n;
  f->left -= n;
  return (int)n;
}

static void keep_error(struct feed *f, const xmlError *error)
{
  struct message m;
  if (f->failed || f->work.over) return;
  f->failed = true;
  const char *text = message_of(error->message, &m);
  if (strstr(text, "Excessive depth"))
    err_set(&f->e, "too_large", "line %d: elements are nested too deep",
            error->line);
  else if (strstr(text, "uge text node"))
    err_set(&f->e, "too_large", "line %d: one text is longer than 10 MB",
            error->line);
  else
    err_set(&f->e, "decode", "line %d, column %d: %s", error->line, error->int2,
            text);
}

/* Of XML only: no handler is called for HTML, where all is read somehow. */
static void on_error(void *arg, error_ptr error)
{
  xmlParserCtxtPtr ctxt = arg;
  if (error->level >= XML_ERR_ERROR) keep_error(ctxt->_private, error);
}

/* Ends the reading from inside of it. */
static void refuse(xmlParserCtxtPtr ctxt, const char *kind, const char *what,
                   const xmlChar *name)
{
  give_up(ctxt->_private, kind, what, name);
  xmlStopParser(ctxt);
}

/* libxml2 adds each attribute at the end of a list, which it walks. */
static bool has_too_many(xmlParserCtxtPtr ctxt, int n)
{
  if (n <= MAX_ATTRIBUTES) return false;
  refuse(ctxt, "too_large", too_many, NULL);
  return true;
}

static void on_element(void *arg, const xmlChar *name, const xmlChar *prefix,
                       const xmlChar *uri, int namespaces,
                       const xmlChar **declared, int attributes, int defaulted,
                       const xmlChar **values)
{
  if (has_too_many(arg, attributes) || has_too_many(arg, namespaces)) return;
  xmlSAX2StartElementNs(arg, name, prefix, uri, namespaces, declared,
                        attributes, defaulted, values);
}

static void on_tag(void *arg, const xmlChar *name, const xmlChar **attributes)
{
  int n = 0;
  while (attributes && attributes[n]) n += 2; /* name, value */
  if (!has_too_many(arg, n / 2)) xmlSAX2StartElement(arg, name, attributes);
}

static void on_entity(void *arg, const xmlChar *name, int type,
                      const xmlChar *public, const xmlChar *system,
                      xmlChar *content)
{
  (void)type, (void)public, (void)system, (void)content;
  refuse(arg, "decode", "the document must not declare the entity ", name);
}

static void on_attribute(void *arg, const xmlChar *element, const xmlChar *name,
                         int type, int otherwise, const xmlChar *value,
                         xmlEnumerationPtr choices)
{
  if (!value) { /* which attributes are ids, and the like */
    xmlSAX2AttributeDecl(arg, element, name, type, otherwise, value, choices);
    return;
  }
  xmlFreeEnumeration(choices); /* of who takes this call */
  refuse(arg, "decode",
         "the document must not declare a value for the attribute ", name);
}

static xmlDocPtr read_tree(xmlParserCtxtPtr ctxt, struct feed *f,
                           const char *encoding)
{
  enum {
    XML = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
          XML_PARSE_COMPACT,
    HTML = HTML_PARSE_NONET | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING |
           HTML_PARSE_COMPACT | HTML_PARSE_RECOVER,
  };
  ctxt->_private = f;
  f->ctxt = ctxt;
  ctxt->sax->serror = on_error;
  if (f->html) {
    ctxt->sax->startElement = on_tag;
    xmlDocPtr tree =
        htmlCtxtReadIO(ctxt, on_read, NULL, f, NULL, encoding, HTML);
    /* a page that passes a limit of libxml2 just ends there */
    if (ctxt->disableSAX) keep_error(f, &ctxt->lastError);
    return tree;
  }
  ctxt->sax->startElementNs = on_element;
  ctxt->sax->entityDecl = on_entity;
  ctxt->sax->attributeDecl = on_attribute;
  return xmlCtxtReadIO(ctxt, on_read, NULL, f, NULL, encoding, XML);
}

/* Pages without a charset of their own are taken for Latin-1 by libxml2. What
 * reads as UTF-8 and is not ASCII is UTF-8, whatever it says. */
static const char *guess_encoding(const struct xml_source *s)
{
  bool ascii = true;
  if (s->encoding || !s->html) return s->encoding;
  for (size_t i = 0; ascii && i < s->len; i++)
    ascii = !((unsigned char)s->bytes[i] & 0x80);
  if (ascii || memchr(s->bytes, 0, s->len)) return NULL;
  return xmlCheckUTF8((const xmlChar *)s->bytes) ? "UTF-8" : NULL;
}

static int check_source(const struct xml_source *s, struct err *e)
{
  size_t max = s->max_bytes ? s->max_bytes : DEFAULT_MAX_BYTES;
  if (s->len > max)
    return err_set(e, "too_large",
                   "a document of %zu bytes, over the limit of "
                   "%zu",
                   s->len, max);
  if (!s->encoding) return 0;
  xmlCharEncodingHandlerPtr known = xmlFindCharEncodingHandler(s->encoding);
  if (!known)
    return err_set(e, "decode", "unknown encoding '%.100s'", s->encoding);
  xmlCharEncCloseFunc(known); /* those of iconv are made for each who asks */
  return 0;
}

struct xml *xml_parse(const struct xml_source *source, struct err *e)
{
  struct feed f = {
      .at = source->bytes, .left = source->len, .html = source->html};
  struct xml *doc = NULL;
  xmlParserCtxtPtr ctxt = NULL;
  if (load_once(e) < 0 || check_source(source, e) < 0) return NULL;
  const char *encoding = guess_encoding(source);
  doc = calloc(1, sizeof(*doc));
  work_begin(&f.work, MAX_TREE, PARSE_SECONDS);
  ctxt = f.html ? htmlNewParserCtxt() : xmlNewParserCtxt();
  if (!doc || !ctxt) {
    err_set(e, "memory", "out of memory for a document");
    goto fail;
  }
  doc->references = 1;
  doc->tree = read_tree(ctxt, &f, encoding);
  if (f.work.over) {
    fail_over(&f.work, "the document", e);
  } else if (f.failed) {
    *e = f.e;
  } else if (!doc->tree) {
    err_set(e, "decode", "no document");
  } else {
    xmlFreeParserCtxt(ctxt);
    at_work = NULL;
    doc->memory = sizeof(*doc) + (size_t)f.work.bytes;
    return doc;
  }
fail:
  xmlFreeParserCtxt(ctxt);
  at_work = NULL;
  xml_drop(doc);
  return NULL;
}

void xml_keep(struct xml *doc)
{
  doc->references++;
}

void xml_drop(struct xml *doc)
{
  if (!doc || (doc->references && --doc->references)) return;
  xmlXPathFreeContext(doc->context);
  xmlFreeDoc(doc->tree);
  free(doc);
}

size_t xml_memory(const struct xml *doc)
{
  return doc->memory;
}

/* ---- nodes ---- */

/* struct xml_node is never defined: it is libxml2's node, by another name for
 * those who do not see its headers. */
static struct xml_node *to_node(xmlNodePtr node)
{
  return (struct xml_node *)node;
}

static xmlNodePtr from_node(const struct xml_node *node)
{
  return (xmlNodePtr)(uintptr_t)node;
}

struct xml_node *xml_document(struct xml *doc)
{
  return to_node((xmlNodePtr)doc->tree);
}

struct xml_node *xml_root(struct xml *doc)
{
  return to_node(xmlDocGetRootElement(doc->tree));
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
  return to_node(xmlFirstElementChild(from_node(node)));
}

struct xml_node *xml_next(struct xml_node *node)
{
  return to_node(xmlNextElementSibling(from_node(node)));
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

/* Whether the node itself is text, not what is in it. */
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

const char *xml_text_piece(const struct xml_node *node, size_t *len)
{
  xmlNodePtr n = from_node(node);
  const char *text = NULL;
  if (is_leaf(n))
    text = content_of(n);
  else if (!n->children)
    text = "";
  else if (is_text(n->children) && !n->children->next)
    text = content_of(n->children);
  if (text) *len = strlen(text);
  return text;
}

/* Not by recursion, for the sake of the stack. */
void xml_text(const struct xml_node *node, struct buf *out)
{
  xmlNodePtr top = from_node(node), n = top;
  for (;;) {
    bool counts = is_text(n) || (n == top && is_leaf(n));
    const char *text = counts ? content_of(n) : "";
    if (buf_add(out, text, strlen(text)) < 0) return;
    if (!is_leaf(n) && n->children) {
      n = n->children;
      continue;
    }
    while (n != top && !n->next) n = n->parent;
    if (n == top) return;
    n = n->next;
  }
}

/* ---- queries ---- */

struct xml_result {
  struct xml *doc;
  xmlXPathObjectPtr object;
};

static xmlXPathContextPtr context_of(struct xml *doc)
{
  if (doc->context) return doc->context;
  struct work w = {0};
  work_begin(&w, SIZE_MAX / 2, QUERY_SECONDS);
  doc->context = xmlXPathNewContext(doc->tree);
  at_work = NULL;
  doc->memory += (size_t)w.bytes;
  /* Numbers the elements. Without it, sorting siblings walks them. */
  if (doc->context) xmlXPathOrderDocElems(doc->tree);
  return doc->context;
}

void xml_forget_prefixes(struct xml *doc)
{
  if (doc->context) xmlXPathRegisteredNsCleanup(doc->context);
}

int xml_add_prefix(struct xml *doc, const char *prefix, const char *uri,
                   struct err *e)
{
  xmlXPathContextPtr context = context_of(doc);
  if (xmlValidateNCName((const xmlChar *)prefix, 0) != 0)
    return err_set(e, "usage", "'%.100s' is no prefix", prefix);
  if (!context || xmlXPathRegisterNs(context, (const xmlChar *)prefix,
                                     (const xmlChar *)uri) != 0)
    return err_set(e, "memory", "out of memory for a query");
  return 0;
}

/* What libxml2 says of a query: the error, and before it sometimes, by another
 * way, the name that the error is about. */
struct complaint {
  struct err e; /* without a kind: none yet */
  struct message about;
};

static void on_query_note(void *arg, const char *format, ...)
{
  struct complaint *c = arg;
  char text[256];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof(text), format, ap);
  va_end(ap);
  const char *colon = strstr(text, ": "); /* after a function of libxml2 */
  if (!*c->about.text) message_of(colon ? colon + 2 : text, &c->about);
}

/* The first counts; those that follow are its consequences. */
static void on_query_error(void *arg, error_ptr error)
{
  struct complaint *c = arg;
  struct message m;
  if (*c->e.kind) return;
  const char *text = message_of(error->message, &m);
  size_t len = error->str1 ? strlen(error->str1) : 0;
  if (*c->about.text)
    err_set(&c->e, "usage", "xpath: %s: %s", text, c->about.text);
  else if (error->int1 > 0 && (size_t)error->int1 < len)
    err_set(&c->e, "usage", "xpath: %s at byte %d", text, error->int1 + 1);
  else
    err_set(&c->e, "usage", "xpath: %s", text);
}

/* A namespace node would not outlive the result: it is a copy that libxml2
 * makes for it. */
static bool has_namespace_node(const xmlXPathObject *object)
{
  const xmlNodeSet *set =
      object->type == XPATH_NODESET ? object->nodesetval : NULL;
  for (int i = 0; set && i < set->nodeNr; i++)
    if (set->nodeTab[i]->type == XML_NAMESPACE_DECL) return true;
  return false;
}

static xmlXPathObjectPtr evaluate(xmlXPathContextPtr context, const char *query,
                                  struct err *e)
{
  struct work w = {.query = context};
  struct complaint said = {.about = {""}};
  /* of this thread; the context's own handler would get no text */
  xmlSetStructuredErrorFunc(&said, on_query_error);
  xmlSetGenericErrorFunc(&said, on_query_note);
  context->opLimit = MAX_STEPS;
  context->opCount = 0;
  context->depth = 0;
  work_begin(&w, MAX_QUERY_MEMORY, QUERY_SECONDS);
  xmlXPathObjectPtr object =
      xmlXPathEvalExpression((const xmlChar *)query, context);
  at_work = NULL;
  xmlSetStructuredErrorFunc(NULL, NULL);
  xmlSetGenericErrorFunc(NULL, NULL);
  if (w.over)
    fail_over(&w, "xpath: the query", e);
  else if (context->opCount >= MAX_STEPS)
    err_set(e, "timeout", "xpath: the query takes more than %d steps",
            MAX_STEPS);
  else if (*said.e.kind)
    *e = said.e;
  else if (!object)
    err_set(e, "usage", "xpath: libxml2 cannot evaluate the query");
  else if (has_namespace_node(object))
    err_set(e, "usage", "xpath: namespace nodes cannot be returned");
  else
    return object;
  xmlXPathFreeObject(object);
  return NULL;
}

struct xml_result *xml_query(struct xml *doc, struct xml_node *from,
                             const char *query, struct err *e)
{
  xmlXPathContextPtr context = context_of(doc);
  struct xml_result *r = calloc(1, sizeof(*r));
  if (!context || !r) {
    err_set(e, "memory", "out of memory for a query");
  } else if (strlen(query) > MAX_QUERY) {
    err_set(e, "usage", "xpath: the query is longer than 16 KiB");
  } else {
    context->node = from_node(from);
    r->object = evaluate(context, query, e);
    if (r->object) {
      r->doc = doc;
      xml_keep(doc);
      return r;
    }
  }
  free(r);
  return NULL;
}

void xml_result_free(struct xml_result *r)
{
  if (!r) return;
  xmlXPathFreeObject(r->object);
  xml_drop(r->doc);
  free(r);
}

enum xml_result_type xml_result_type(const struct xml_result *r)
{
  switch (r->object->type) {
  case XPATH_BOOLEAN: return XML_RESULT_BOOLEAN;
  case XPATH_NUMBER: return XML_RESULT_NUMBER;
  case XPATH_STRING: return XML_RESULT_STRING;
  default: return XML_RESULT_NODES;
  }
}

size_t xml_result_count(const struct xml_result *r)
{
  const xmlNodeSet *set = r->object->nodesetval;
  return set && set->nodeNr > 0 ? (size_t)set->nodeNr : 0;
}

struct xml_node *xml_result_node(const struct xml_result *r, size_t i)
{
  return to_node(r->object->nodesetval->nodeTab[i]);
}

double xml_result_number(const struct xml_result *r)
{
  return r->object->floatval;
}

const char *xml_result_string(const struct xml_result *r)
{
  const xmlChar *text = r->object->stringval;
  return text ? (const char *)text : "";
}

bool xml_result_boolean(const struct xml_result *r)
{
  return r->object->boolval != 0;
}
