/* SPDX-License-Identifier: MIT */
/* libFuzzer: a page, or a document of XML, of any bytes. The first byte says
 * how its charset is told, as a label of the list or by the page itself, and
 * whether it is XML. Every page is read, and what is read is UTF-8 throughout;
 * a union has the same nodes whatever its parts. */
#include "base/buf.h"
#include "wrap/charset.h"
#include "wrap/xml.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const labels[] = {
    "utf-8",    "latin1",       "gb2312",         "big5",
    "euc-jp",   "shift_jis",    "euc-kr",         "iso-2022-jp",
    "utf-16le", "windows-1258", "x-user-defined", "iso-2022-kr",
};

enum { LABELS = sizeof(labels) / sizeof(labels[0]) };

static void check(bool ok)
{
  if (!ok) abort();
}

static void check_text(const char *text, size_t len)
{
  check(charset_is_utf8(text, len));
  check(!memchr(text, '\0', len));
}

static void check_node(const struct xml_node *node)
{
  const struct xml_node *at = NULL;
  const char *name = xml_name(node), *uri = xml_namespace(node), *text;
  size_t len;
  while ((text = xml_text(node, &at, &len))) check_text(text, len);
  if (name) check_text(name, strlen(name));
  if (uri) check_text(uri, strlen(uri));
}

/* How many nodes a query gives. */
static size_t look_at(struct xml *doc, const char *query)
{
  struct err e;
  struct xml_result r;
  if (xml_query(doc, xml_document(doc), query, &r, &e) < 0) {
    check(!strcmp(e.kind, "timeout") || !strcmp(e.kind, "too_large"));
    return 0;
  }
  size_t n = r.count;
  for (size_t i = 0; i < n && i < 100; i++) check_node(xml_result_node(&r, i));
  xml_result_free(&r);
  return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct err e;
  char type[64];
  struct xml_source source = {0};
  if (!size) return 0;
  unsigned how = *data % (2 * LABELS + 1);
  source.bytes = (const char *)data + 1;
  source.len = size - 1;
  source.html = *data < 0xc0;
  if (how < LABELS) {
    source.encoding = labels[how];
  } else if (how < 2 * LABELS) {
    snprintf(type, sizeof(type), "text/html; charset=%s", labels[how - LABELS]);
    source.content_type = type;
  }
  struct xml *doc = xml_parse(&source, &e);
  if (!doc) {
    check(!source.html || strcmp(e.kind, "decode") != 0);
    return 0;
  }
  size_t nodes = look_at(doc, "//node() | //@*");
  check(nodes == look_at(doc, "//@* | //text() | //comment() | //* | "
                              "//processing-instruction()"));
  look_at(doc, "string(//title)");
  xml_release(doc);
  return 0;
}
