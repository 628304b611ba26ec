/* SPDX-License-Identifier: MIT */
/* This unit provides libxml2, loaded when it is first needed: with it come ICU
 * and the C++ library, which cost every process that is linked with them 2 MiB
 * and 4 ms at its start, and most processes read no XML. Used by xml.c. [loop]
 */
#ifndef MF_XML_LIB_H
#define MF_XML_LIB_H

#include "base/err.h"

#include <libxml/HTMLtree.h>
#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>

/* Every function that is used. */
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
  F(xmlSAX2Comment)                                                            \
  F(xmlSAX2EndElementNs)                                                       \
  F(xmlSAX2ProcessingInstruction)                                              \
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

/* Loads it, once for the life of the process. 0, or -1 and `e` (kind "system")
 * when there is none of the version that this was compiled with. */
int xml_lib_load(struct err *e);

/* NULL until then. What is below is called by its usual name. */
extern const struct xml_lib *xml_lib;

#ifndef XML_LIB_ITSELF
#define htmlNewDocNoDtD (xml_lib->htmlNewDocNoDtD)
#define xmlAddChild (xml_lib->xmlAddChild)
#define xmlCharEncCloseFunc (xml_lib->xmlCharEncCloseFunc)
#define xmlCtxtReadIO (xml_lib->xmlCtxtReadIO)
#define xmlDocGetRootElement (xml_lib->xmlDocGetRootElement)
#define xmlFindCharEncodingHandler (xml_lib->xmlFindCharEncodingHandler)
#define xmlFirstElementChild (xml_lib->xmlFirstElementChild)
#define xmlFreeDoc (xml_lib->xmlFreeDoc)
#define xmlFreeEnumeration (xml_lib->xmlFreeEnumeration)
#define xmlFreeParserCtxt (xml_lib->xmlFreeParserCtxt)
#define xmlInitParser (xml_lib->xmlInitParser)
#define xmlMemSetup (xml_lib->xmlMemSetup)
#define xmlNewCDataBlock (xml_lib->xmlNewCDataBlock)
#define xmlNewDocComment (xml_lib->xmlNewDocComment)
#define xmlNewDocNode (xml_lib->xmlNewDocNode)
#define xmlNewDocTextLen (xml_lib->xmlNewDocTextLen)
#define xmlNewNs (xml_lib->xmlNewNs)
#define xmlNewNsProp (xml_lib->xmlNewNsProp)
#define xmlNewParserCtxt (xml_lib->xmlNewParserCtxt)
#define xmlNextElementSibling (xml_lib->xmlNextElementSibling)
#define xmlSAX2AttributeDecl (xml_lib->xmlSAX2AttributeDecl)
#define xmlSAX2CDataBlock (xml_lib->xmlSAX2CDataBlock)
#define xmlSAX2Characters (xml_lib->xmlSAX2Characters)
#define xmlSAX2Comment (xml_lib->xmlSAX2Comment)
#define xmlSAX2EndElementNs (xml_lib->xmlSAX2EndElementNs)
#define xmlSAX2ProcessingInstruction (xml_lib->xmlSAX2ProcessingInstruction)
#define xmlSAX2StartElementNs (xml_lib->xmlSAX2StartElementNs)
#define xmlSearchNs (xml_lib->xmlSearchNs)
#define xmlSetGenericErrorFunc (xml_lib->xmlSetGenericErrorFunc)
#define xmlSetStructuredErrorFunc (xml_lib->xmlSetStructuredErrorFunc)
#define xmlStopParser (xml_lib->xmlStopParser)
#define xmlValidateNCName (xml_lib->xmlValidateNCName)
#define xmlXPathEvalExpression (xml_lib->xmlXPathEvalExpression)
#define xmlXPathFreeContext (xml_lib->xmlXPathFreeContext)
#define xmlXPathFreeNodeSet (xml_lib->xmlXPathFreeNodeSet)
#define xmlXPathFreeObject (xml_lib->xmlXPathFreeObject)
#define xmlXPathNewContext (xml_lib->xmlXPathNewContext)
#define xmlXPathNodeSetAddUnique (xml_lib->xmlXPathNodeSetAddUnique)
#define xmlXPathNodeSetCreate (xml_lib->xmlXPathNodeSetCreate)
#define xmlXPathNodeSetMerge (xml_lib->xmlXPathNodeSetMerge)
#define xmlXPathNodeSetSort (xml_lib->xmlXPathNodeSetSort)
#define xmlXPathOrderDocElems (xml_lib->xmlXPathOrderDocElems)
#define xmlXPathRegisteredNsCleanup (xml_lib->xmlXPathRegisteredNsCleanup)
#define xmlXPathRegisterNs (xml_lib->xmlXPathRegisterNs)
#endif

#endif
