-- SPDX-License-Identifier: MIT
-- XML and HTML, read by libxml2 and asked by XPath 1.0. Nothing is fetched; a document that
-- declares entities of its own is refused.
--
--     local page = xml.html(http.get(url).body)
--     local title = page:xpath("string(//title)")
--     for _, link in ipairs(page:xpath("//a[@href]")) do print(link:attr("href"), link:text()) end
--
-- Names in a query without a prefix are in no namespace, also where the document has a default
-- one (most XML on the web): give it a prefix of your own, `doc:xpath("//a:entry", { a = uri })`;
-- `doc:root():namespace()` tells the URI.

local check = require("fleet.check")
local host = require("host.xml")

local xml = {}

--- @class fleet.XmlOptions
--- @field max_bytes? integer largest document; 64 MiB
--- @field encoding? string of the bytes, such as the charset of an HTTP header; otherwise the
--- document says it

--- @class fleet.XmlDocument
--- @field xpath fun(self: fleet.XmlDocument, query: string, prefixes?: table): any, fleet.Error?
--- evaluates a query; `prefixes` gives the URI of each prefix in it. Returns a list of nodes in the
--- order of the document (attributes and texts are nodes, too), or a number, string or boolean, as
--- the query says; nil and an error with kind "usage" when it is no query, "timeout" or "too_large"
--- when it asks too much
--- @field root fun(self: fleet.XmlDocument): fleet.XmlNode|nil the outermost element
--- @field text fun(self: fleet.XmlDocument): string all text
--- @field close fun(self: fleet.XmlDocument) frees it now, as `<close>` does; later use of it and
--- of its nodes raises

--- @class fleet.XmlNode
--- @field xpath fun(self: fleet.XmlNode, query: string, prefixes?: table): any, fleet.Error?
--- as of documents, but from this node: `.//a` is in it, `//a` in the whole document
--- @field text fun(self: fleet.XmlNode): string all text in it; the value of an attribute
--- @field attr fun(self: fleet.XmlNode, name: string, uri?: string): string|nil the value of an
--- attribute, in the namespace `uri` or in none
--- @field children fun(self: fleet.XmlNode): fleet.XmlNode[] the elements that are directly in it,
--- in order
--- @field name fun(self: fleet.XmlNode): string|nil without prefix
--- @field namespace fun(self: fleet.XmlNode): string|nil its URI
--- @field kind fun(self: fleet.XmlNode): string "element", "attribute", "text", "comment",
--- "instruction", "document" or "other"

local function at_least_one(value)
  if math.type(value) == "integer" and value >= 1 then return true end
  return nil, "must be an integer of at least 1, got " .. tostring(value)
end

local OPTIONS = { max_bytes = at_least_one, encoding = "string" }

local function reader(name, read)
  local what = "xml." .. name
  return function(s, opts)
    if type(s) ~= "string" then
      check.misuse("%s: the document must be a string, got %s", what, type(s))
    end
    if opts == nil then return read(s) end
    local options = check.options(what, opts, OPTIONS)
    return read(s, options.max_bytes, options.encoding)
  end
end

local parse, html = reader("parse", host.parse), reader("html", host.html)

--- Reads an XML document. On failure err.kind is "decode", with line and column in the message,
--- "too_large" or "timeout".
---@param s string
---@param opts? fleet.XmlOptions
---@return fleet.XmlDocument|nil, fleet.Error|nil
function xml.parse(s, opts)
  return parse(s, opts)
end

--- Reads an HTML page the way browsers do, whatever is wrong with it. Names are in lower case
--- and in no namespace.
---@param s string
---@param opts? fleet.XmlOptions
---@return fleet.XmlDocument|nil, fleet.Error|nil
function xml.html(s, opts)
  return html(s, opts)
end

return check.module("fleet.xml", xml)
