-- SPDX-License-Identifier: MIT
-- XML, read by libxml2, and HTML, read by gumbo as browsers read it; both are asked by XPath 1.0.
-- Nothing is fetched; a document that declares entities of its own is refused.
--
--     local answer = http.get(url)
--     local page = xml.html(answer.body, { content_type = answer.headers["content-type"] })
--     local title = page:xpath("string(//title)")
--     for _, link in ipairs(page:xpath("//a[@href]")) do print(link:attr("href"), link:text()) end
--
-- Names in a query without a prefix are in no namespace, also where the document has a default
-- one (most XML on the web): give it a prefix of your own, `doc:xpath("//a:entry", { a = uri })`;
-- `doc:root():namespace()` tells the URI.

local check = require("fleet.base.check")
local host = require("host.xml")

local xml = {}

--- @class fleet.XmlOptions
--- @field max_bytes? integer largest document; 64 MiB
--- @field encoding? string of the bytes: a label as pages have it ("shift_jis", "latin1"), or
--- another name that iconv knows ("cp437"); a name that nobody knows is an error
--- @field content_type? string the header of the answer that the document came in, such as
--- `page.headers["content-type"]`: the charset that it names is taken when there is no `encoding`,
--- and one that is not known is ignored

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

local parse, html = reader("parse", host.parse), reader("html", host.html)

--- Reads an XML document. On failure err.kind is "decode", with line and column in the message,
--- "too_large" or "timeout".
---@param s string
---@param opts? fleet.XmlOptions
---@return fleet.XmlDocument|nil, fleet.Error|nil
function xml.parse(s, opts)
  return parse(s, opts)
end

--- Reads an HTML page as the standard of HTML says, as browsers without scripts do, whatever is
--- wrong with it. Names are in lower case and in no namespace, but those of SVG and MathML, which
--- are in theirs: `//title` is the page's title, never an icon's. The contents of a `template` are
--- its children. Of a page without a byte there is no root.
---
--- The charset of a page is that of its byte order mark, or else of `encoding`, or else of
--- `content_type`, or else of a meta element, or else UTF-8 when all of the page is, or else
--- windows-1252. Labels mean what they mean to browsers (gb2312 is gb18030). What does not decode
--- is U+FFFD, and so is NUL.
---@param s string
---@param opts? fleet.XmlOptions
---@return fleet.XmlDocument|nil, fleet.Error|nil
function xml.html(s, opts)
  return html(s, opts)
end

return check.module("fleet.xml", xml)
