/* SPDX-License-Identifier: MIT */
/* libxml2, loaded when it is first needed and called as
 * libxml->xmlFreeDoc(...). To link it would load ICU and the C++ library, too:
 * 2 MiB and 4 ms at the start of every process, most of which read no XML.
 * [loop] */
#ifndef MF_XML_LIB_H
#define MF_XML_LIB_H

#include "base/err.h"

#include <libxml/HTMLtree.h>
#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>

/* All functions that are called or passed. */
#define XML_FUNCTIONS(F)                                                       \
  F(htmlNewDocNoDtD)                                                           \
  F(xmlAddChild)                                                               \
  F(xmlCharEncCloseFunc)                                                       \
  F(xmlCtxtReadIO)                                                             \
  F(xmlDocGetRootElement)                                                      \
  F(xmlFindCharEncodingHandler)                                                \
  F(xmlFirstElementChild)                                                      \
  F(xmlFreeDoc)                                                                \
  F(xmlFreeEnumeration)                                                        \
  F(xmlFreeParserCtxt)                                                         \
  F(xmlInitParser)                                                             \
  F(xmlMemSetup)                                                               \
  F(xmlNewCDataBlock)                                                          \
  F(xmlNewDocComment)                                                          \
  F(xmlNewDocNode)                                                             \
  F(xmlNewDocTextLen)                                                          \
  F(xmlNewNs)                                                                  \
  F(xmlNewNsProp)                                                              \
  F(xmlNewParserCtxt)                                                          \
  F(xmlNextElementSibling)                                                     \
  F(xmlSAX2AttributeDecl)                                                      \
  F(xmlSAX2CDataBlock)                                                         \
  F(xmlSAX2Characters)                                                         \
  F(xmlSAX2EndElementNs)                                                       \
  F(xmlSAX2StartElementNs)                                                     \
  F(xmlSearchNs)                                                               \
  F(xmlSetGenericErrorFunc)                                                    \
  F(xmlSetStructuredErrorFunc)                                                 \
  F(xmlStopParser)                                                             \
  F(xmlValidateNCName)                                                         \
  F(xmlXPathEvalExpression)                                                    \
  F(xmlXPathFreeContext)                                                       \
  F(xmlXPathFreeNodeSet)                                                       \
  F(xmlXPathFreeObject)                                                        \
  F(xmlXPathNewContext)                                                        \
  F(xmlXPathNodeSetAddUnique)                                                  \
  F(xmlXPathNodeSetCreate)                                                     \
  F(xmlXPathNodeSetMerge)                                                      \
  F(xmlXPathNodeSetSort)                                                       \
  F(xmlXPathOrderDocElems)                                                     \
  F(xmlXPathRegisteredNsCleanup)                                               \
  F(xmlXPathRegisterNs)

struct xml_lib {
#define XML_FIELD(name) __typeof__(&(name)) name;
  XML_FUNCTIONS(XML_FIELD)
#undef XML_FIELD
};

/* Loads the library once for the life of the process. 0, or -1 and `e` (kind
 * "system") if there is none of the version that this was compiled with. */
int xml_lib_load(struct err *e);

/* NULL until then. */
extern const struct xml_lib *libxml;

#endif
