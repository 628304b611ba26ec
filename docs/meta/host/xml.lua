---@meta host.xml
-- SPDX-License-Identifier: MIT
-- XML and HTML by libxml2 (host/bindings/lib_xml.c); fleet.xml is the public face.

local xml = {}

--- @class host.XmlDocument
local Document = {}

--- @class host.XmlNode
local Node = {}

--- Reads an XML document.
---@param s string
---@param max_bytes integer|nil default, also for 0: 64 MiB
---@param encoding string|nil of the bytes; default: the one they declare
---@return host.XmlDocument|nil
---@return fleet.Error|nil
function xml.parse(s, max_bytes, encoding) end

--- Reads an HTML page.
---@param s string
---@param max_bytes integer|nil default, also for 0: 64 MiB
---@param encoding string|nil of the bytes; default: the one they declare
---@return host.XmlDocument|nil
---@return fleet.Error|nil
function xml.html(s, max_bytes, encoding) end

--- The outermost element.
---@return host.XmlNode|nil
function Document:root() end

--- Frees the document. Later use of it and of its nodes raises.
function Document:close() end

--- Evaluates an XPath query; also a method of documents.
---@param query string
---@param prefixes table<string, string>|nil prefix -> URI of a namespace
---@return host.XmlNode[]|number|string|boolean|nil
---@return fleet.Error|nil
function Node:xpath(query, prefixes) end

--- All text in the node; also a method of documents.
---@return string
function Node:text() end

--- The name without its prefix.
---@return string|nil
function Node:name() end

--- The kind of node.
---@return "element"|"attribute"|"text"|"comment"|"instruction"|"document"|"other"
function Node:kind() end

--- The URI of its namespace.
---@return string|nil
function Node:namespace() end

--- Its child elements, in order.
---@return host.XmlNode[]
function Node:children() end

--- The value of an attribute.
---@param name string
---@param uri string|nil its namespace; default: none
---@return string|nil
function Node:attr(name, uri) end

return xml
