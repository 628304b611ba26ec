-- SPDX-License-Identifier: MIT
-- Writes docs/reference.md from the annotations in lua/:
--
--   lua5.4 docs/generate.lua            writes it
--   lua5.4 docs/generate.lua --check    fails when the file is out of date
--
-- Plain Lua, from any folder. That every public function is in it is checked by
-- spec/docs/reference_spec.lua.

local root = debug.getinfo(1, "S").source:match("^@(.*)/docs/generate%.lua$") or "."
package.path = root .. "/docs/?.lua;" .. package.path

local annotations = require("annotations")

local generate = {}

--- @class docs.Page
--- @field title string
--- @field module string|nil what users require
--- @field file string
--- @field more string[]|nil further files with parts of the module, read before it
--- @field tables table<string, string> tables of the file that are public, as users write them
--- @field intro string|nil in place of the comment at the top of the file
--- @field hidden table<string, string>|nil functions and fields left out, and why
--- @field kinds boolean|nil with the table of error kinds

--- @type docs.Page[]
generate.pages = {
  {
    title = "fleet", module = "fleet", file = "lua/fleet/init.lua",
    more = { "lua/fleet/api/calls.lua", "lua/fleet/api/maps.lua", "lua/fleet/api/tasks.lua" },
    tables = { fleet = "fleet", api = "fleet", calls = "fleet", maps = "fleet", tasks = "fleet" },
  },
  {
    title = "Futures", file = "lua/fleet/base/future.lua", tables = { Future = "future" },
    intro = "`fleet.send` and `rpc.async_call` return futures: values that may not exist "
      .. "yet. "
      .. "`fleet.race` and `fleet.all` join several.",
    hidden = {
      resolve = "for those who make futures", fail = "for those who make futures",
      watch = "for those who make futures",
    },
  },
  {
    title = "Job tables", file = "lua/fleet/run/job.lua", tables = {},
    intro = "A job script returns this table to `moonfleet run`. Options of the command line "
      .. "override it.",
    hidden = { script = "for the command, not for scripts" },
  },
  { title = "fleet.http", module = "fleet.http", file = "lua/fleet/http.lua" },
  { title = "fleet.digest", module = "fleet.digest", file = "lua/fleet/digest.lua" },
  { title = "fleet.json", module = "fleet.json", file = "lua/fleet/json.lua" },
  { title = "fleet.xml", module = "fleet.xml", file = "lua/fleet/xml.lua" },
  { title = "fleet.log", module = "fleet.log", file = "lua/fleet/log.lua" },
  { title = "fleet.errors", module = "fleet.errors", file = "lua/fleet/errors.lua", kinds = true,
    hidden = { format = "for the library", formatter = "for the library" } },
  { title = "fleet.rpc", module = "fleet.rpc", file = "lua/fleet/rpc.lua" },
}
for _, page in ipairs(generate.pages) do
  local own = page.module and page.module:match("[^.]+$")
  page.tables = page.tables or { [own] = own }
  page.hidden = page.hidden or {}
end

local function read(path)
  local file = assert(io.open(root .. "/" .. path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

local parsed = {}

local function parse(path)
  if not parsed[path] then
    local ok, result = pcall(annotations.parse, read(path))
    if not ok then error(path .. ": " .. result, 0) end
    parsed[path] = result
  end
  return parsed[path]
end

-- ---- entries ----

--- @class docs.Entry one function or value of a page
--- @field key string its field in the module
--- @field name string as users write it
--- @field is_function boolean
--- @field text string[]
--- @field params docs.Value[]
--- @field returns docs.Value[]
--- @field signature string[]|nil as in the source
--- @field gives boolean|nil as docs.Definition
--- @field where string

local function find_definition(source, name)
  for _, definition in ipairs(source.definitions) do
    if definition.name == name and definition.block then return definition end
  end
  return nil
end

-- The definition that an assignment takes over: of this file, or of a module it requires.
local function aliased(source, alias)
  local found = find_definition(source, alias)
  if found then return found end
  local module = source.requires[alias:match("^[^.]+")]
  if not module or not module:find("^fleet") then return nil end
  return find_definition(parse("lua/" .. module:gsub("%.", "/") .. ".lua"), alias)
end

local function entry_of(file, source, definition, public, sign, key)
  local block, origin = definition.block, definition
  if definition.alias then
    origin = aliased(source, definition.alias) or definition
    block = block or origin.block
  end
  if not block or block.class then return nil end
  local tagged = #block.params + #block.returns > 0 and block or origin.block or block
  local params, returns = tagged.params, tagged.returns
  local is_function = origin.signature ~= nil or #params + #returns > 0
  if block.type then
    local listed
    listed, returns = annotations.function_type(block.type)
    is_function = listed ~= nil
    params = listed or {}
  end
  return {
    key = key, name = public .. sign .. key, is_function = is_function, text = block.text,
    params = params, returns = returns, signature = origin.signature, gives = origin.gives,
    where = ("%s:%d"):format(file, definition.line),
  }
end

local function files_of(page)
  local files = table.move(page.more or {}, 1, #(page.more or {}), 1, {})
  files[#files + 1] = page.file
  return files
end

--- The functions and values of a page, in the order of the source.
---@param page docs.Page
---@return docs.Entry[]
function generate.entries(page)
  local list = {}
  for _, file in ipairs(files_of(page)) do
    local source = parse(file)
    for _, definition in ipairs(source.definitions) do
      local name, sign, key = definition.name:match("^([%w_]+)([.:])([%w_]+)$")
      local public = name and page.tables[name]
      if public and not page.hidden[key] then
        list[#list + 1] = entry_of(file, source, definition, public, sign, key)
      end
    end
  end
  return list
end

-- ---- Markdown ----

local function joined(list, with) return table.concat(list, with) end

-- Paragraphs; what is indented is set as it stands.
local function add_text(out, text)
  local margin -- of the indented lines under way
  for _, line in ipairs(text) do
    local indented = line:match("^   *%f[%S]")
    if margin and not indented then
      out[#out + 1] = "```"
      out[#out + 1] = line ~= "" and "" or nil
    elseif indented and not margin then
      out[#out + 1] = out[#out] ~= "" and "" or nil
      out[#out + 1] = "```text"
    end
    margin = indented and (margin or #indented)
    out[#out + 1] = margin and line:sub(margin + 1) or line
  end
  if margin then out[#out + 1] = "```" end
  if #text > 0 then out[#out + 1] = "" end
end

local function described(value)
  if value.text:find("^%.%.%.$") then return ("`%s ...`"):format(value.type) end
  local line = ("`%s`"):format(value.type)
  if value.optional then line = line .. ", optional" end
  if value.text ~= "" then line = line .. ": " .. value.text end
  return line
end

local function add_values(out, entry)
  for _, param in ipairs(entry.params) do
    out[#out + 1] = ("- `%s` %s"):format(param.name, described(param))
  end
  for i, value in ipairs(entry.returns) do
    out[#out + 1] = ("- %s %s"):format(i == 1 and "returns" or "and", described(value))
  end
  if #entry.params + #entry.returns > 0 then out[#out + 1] = "" end
end

local function add_entry(out, entry)
  out[#out + 1] = "### " .. entry.name
  out[#out + 1] = ""
  if entry.is_function then
    local names = {}
    for i, param in ipairs(entry.params) do names[i] = param.name end
    out[#out + 1] = ("`%s(%s)`"):format(entry.name, joined(names, ", "))
    out[#out + 1] = ""
  end
  add_text(out, entry.text)
  add_values(out, entry)
end

local function add_class(out, class, hidden)
  if #class.fields == 0 then return end
  out[#out + 1] = "### Type " .. class.name
  out[#out + 1] = ""
  add_text(out, class.text)
  if class.parent then
    out[#out + 1] = ("The fields of `%s`, and:"):format(class.parent)
    out[#out + 1] = ""
  end
  for _, field in ipairs(class.fields) do
    if not hidden[field.name] then
      out[#out + 1] = ("- `%s` %s"):format(field.name, described(field))
    end
  end
  out[#out + 1] = ""
end

--- The kinds of errors in the order of the source.
---@return {kind: string, text: string}[]
function generate.kinds()
  local text = read("lua/fleet/errors.lua")
  local from, to = text:find("errors%.kinds = (%b{})")
  local kinds, list = assert(load("return " .. text:sub(from, to):match("%b{}")))(), {}
  for kind in text:sub(from, to):gmatch("\n  ([%w_]+) = ") do
    list[#list + 1] = { kind = kind, text = kinds[kind] }
  end
  return list
end

local function add_kinds(out)
  out[#out + 1] = "| kind | meaning |"
  out[#out + 1] = "|---|---|"
  for _, row in ipairs(generate.kinds()) do
    out[#out + 1] = ("| `%s` | %s |"):format(row.kind, (row.text:gsub("|", "\\|")))
  end
  out[#out + 1] = ""
end

local function add_page(out, page)
  local source = parse(page.file)
  out[#out + 1] = "## " .. page.title
  out[#out + 1] = ""
  if page.module then
    local name = page.module:match("[^.]+$")
    out[#out + 1] = ("`local %s = require(\"%s\")`"):format(name, page.module)
    out[#out + 1] = ""
  end
  add_text(out, page.intro and { page.intro } or source.head)
  for _, entry in ipairs(generate.entries(page)) do
    add_entry(out, entry)
    if page.kinds and entry.key == "kinds" then add_kinds(out) end
  end
  for _, file in ipairs(files_of(page)) do
    for _, class in ipairs(parse(file).classes) do add_class(out, class, page.hidden) end
  end
end

local HEAD = [[
# Reference

<!-- Generated by docs/generate.lua from the annotations in lua/; `make docs` rewrites it. -->

This page describes every function, type and option of the library.

Expected failures return `nil` and an error (see [fleet.errors](#fleeterrors)); misuse raises.
Times are in seconds, sizes in bytes. Types are those of the Lua language server: `A|B` is one of
them, `A[]` a list, `A?` may be nil.
]]

--- The text of docs/reference.md.
---@return string
function generate.text()
  local out = { HEAD }
  for _, page in ipairs(generate.pages) do
    local anchor = page.title:lower():gsub("[^%w -]", ""):gsub(" ", "-")
    out[#out + 1] = ("- [%s](#%s)"):format(page.title, anchor)
  end
  out[#out + 1] = ""
  for _, page in ipairs(generate.pages) do add_page(out, page) end
  while out[#out] == "" do out[#out] = nil end
  return joined(out, "\n") .. "\n"
end

if arg and arg[0] and arg[0]:find("generate%.lua$") then
  local path = root .. "/docs/reference.md"
  local text = generate.text()
  if arg[1] == "--check" then
    local file = io.open(path, "rb")
    local old = file and file:read("a")
    if file then file:close() end
    if old ~= text then
      io.stderr:write("docs/reference.md is out of date: run make docs\n")
      os.exit(1)
    end
  else
    local file = assert(io.open(path, "wb"))
    assert(file:write(text))
    assert(file:close())
  end
end

return generate
