-- SPDX-License-Identifier: MIT
-- XML, read by libxml2, and HTML, read by gumbo as browsers read it, with XPath 1.0 for both.
-- Nothing is ever fetched. Documents that declare their own entities are refused.
--
--     local response = http.get(url)
--     local page = xml.html(response.body, { content_type = response.headers["content-type"] })
--     local title = page:xpath("string(//title)")
--     for _, link in ipairs(page:xpath("//a[@href]")) do print(link:attr("href"), link:text()) end
--
-- In a query a name without a prefix is in no namespace. If the document has a default namespace,
-- as most XML on the web does, give it a prefix of your choice: `doc:xpath("//a:entry", { a = uri
-- })`. `doc:root():namespace()` returns the URI.

local check = require("fleet.base.check")
local host = require("host.xml")

local xml = {}

--- @class fleet.XmlOptions
--- @field max_bytes? integer largest document (default: 64 MiB)
--- @field encoding? string charset of the bytes: a label as in pages ("shift_jis", "latin1"), or
--- another name that iconv knows ("cp437"); an unknown name is an error
--- @field content_type? string the header of the response, such as
--- `page.headers["content-type"]`; its charset is used if there is no `encoding`, and ignored if it
--- is unknown

--- @class fleet.XmlDocument
--- @field xpath fun(self: fleet.XmlDocument, query: string, prefixes?: table): any, fleet.Error?
--- evaluates a query; `prefixes` has the URI of each prefix in it. Returns a list of nodes in
--- document order (attributes and texts are nodes, too), or a number, string or boolean; or nil and
--- an error, of kind "usage" for a malformed query, "timeout" or "too_large" for one that exceeds
--- its limits
--- @field root fun(self: fleet.XmlDocument): fleet.XmlNode|nil the outermost element
--- @field text fun(self: fleet.XmlDocument): string all text
--- @field close fun(self: fleet.XmlDocument) frees it now, as `<close>` does; later use of it and
--- of its nodes raises

--- @class fleet.XmlNode
--- @field xpath fun(self: fleet.XmlNode, query: string, prefixes?: table): any, fleet.Error?
--- as for documents, but from this node: `.//a` searches in it, `//a` in the whole document
--- @field text fun(self: fleet.XmlNode): string all text in it; the value of an attribute
--- @field attr fun(self: fleet.XmlNode, name: string, uri?: string): string|nil the value of an
--- attribute, in the namespace `uri` or in none
--- @field children fun(self: fleet.XmlNode): fleet.XmlNode[] its child elements, in order
--- @field name fun(self: fleet.XmlNode): string|nil without prefix
--- @field namespace fun(self: fleet.XmlNode): string|nil its URI
--- @field kind fun(self: fleet.XmlNode): string "element", "attribute", "text", "comment",
--- "instruction", "document" or "other"

local OPTIONS = { max_bytes = check.integer(1), encoding = "string", content_type = "string" }

local function reader(name, read)
  local what = "xml." .. name
  return function(s, opts)
    if type(s) ~= "string" then
      check.misuse("%s: the document must be a string, got %s", what, type(s))
    end
    if opts == nil then return read(s) end
    local options = check.options(what, opts, OPTIONS)
    return read(s, options.max_bytes, options.encoding, options.content_type)
  end
end

--- Reads an XML document. On failure err.kind is "decode", with line and column in the message,
--- "too_large" or "timeout".
---@param s string
---@param opts? fleet.XmlOptions
---@return fleet.XmlDocument|nil, fleet.Error|nil
xml.parse = reader("parse", host.parse)

--- Reads an HTML page, however malformed, according to the HTML standard, like browsers without
--- scripts. Names are in lower case and in no namespace, except that SVG and MathML are in their
--- own namespaces: `//title` is the page's title, never that of an icon. The content of a
--- `template` is its children. An empty page has no root.
---
--- The charset of a page is the first of these: its byte order mark, `encoding`, `content_type`, a
--- meta element, UTF-8 if the whole page is valid UTF-8, windows-1252. Labels mean what they mean
--- to browsers (gb2312 is gb18030). Bytes that do not decode, and NUL, become U+FFFD.
---@param s string
---@param opts? fleet.XmlOptions
---@return fleet.XmlDocument|nil, fleet.Error|nil
xml.html = reader("html", host.html)

return check.module("fleet.xml", xml)
