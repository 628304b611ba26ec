-- SPDX-License-Identifier: MIT
-- Checks that the documents agree with the tree:
--
--   lua5.4 spec/lint/docs.lua        checks README.md and docs/*.md; `make lint` runs it
--
-- * Links to files of the tree, and to headings in them, must have a target.
-- * Paths in backticks (`spec/...`, `lua/...`, `host/...`, `docs/...`) must exist, unless they
--   contain the placeholder NAME.
-- * The numbers of docs/limits.md must be right: in a row | what | 64 MiB | `file` `NAME` | the
--   file must give NAME (a constant of C or Lua, or a field) that value. Instead of a name there
--   may be a piece of code, which must occur in the file and contain the number.
--
-- Prints one line per violation: file:line: [rule] what is wrong.

local docs = {}

local function lines_of(text)
  local list = {}
  for line in (text .. "\n"):gmatch("(.-)\n") do list[#list + 1] = line end
  return list
end

-- Calls f(number, line, fenced) for each line of a document.
local function each_line(text, f)
  local fenced = false
  for number, line in ipairs(lines_of(text)) do
    local fence = line:find("^ *```") ~= nil
    f(number, line, fenced or fence)
    if fence then fenced = not fenced end
  end
end

-- ---- links ----

--- Returns the anchor of a heading, as GitHub makes it.
---@param heading string
---@return string
function docs.anchor(heading)
  return (heading:gsub("%[(.-)%]%(.-%)", "%1"):lower():gsub("[^%w _-]", ""):gsub(" ", "-"))
end

local function has_anchor(text, anchor)
  local found, seen = false, {}
  each_line(text, function(_, line, fenced)
    local heading = not fenced and line:match("^#+ +(.-) *$")
    if not heading then return end
    local name = docs.anchor(heading)
    local nth = seen[name]
    seen[name] = (nth or 0) + 1
    found = found or (nth and name .. "-" .. nth or name) == anchor
  end)
  return found
end

-- "docs/a.md", "../README.md" -> "README.md"
local function resolve(from, target)
  local path = target
  if target:sub(1, 1) ~= "/" then path = (from:match("^(.*/)") or "") .. target end
  repeat
    local before = path
    path = path:gsub("[^/]+/%.%./", "", 1)
  until path == before
  return (path:gsub("/$", ""))
end

local function check_links(path, text, tree, report)
  each_line(text, function(number, line, fenced)
    if fenced then return end
    for target in line:gmatch("%]%(([^)]+)%)") do
      local file, anchor = target:match("^([^#]*)#?(.*)$")
      if not target:find("^%a+:") then
        local where = file == "" and path or resolve(path, file)
        local there = tree.exists(where)
        if not there then
          report(number, "link", ("there is no %s"):format(where))
        elseif anchor ~= "" and not has_anchor(tree.read(where), anchor) then
          report(number, "link", ("there is no heading #%s in %s"):format(anchor, where))
        end
      end
    end
    for name in line:gmatch("`([%w_./-]+)`") do
      local folder = name:match("^(%a+)/")
      local ours = folder == "spec" or folder == "lua" or folder == "host" or folder == "docs"
      if ours and not name:find("NAME", 1, true) and not tree.exists((name:gsub("/$", ""))) then
        report(number, "path", ("there is no %s"):format(name))
      end
    end
  end)
end

-- ---- limits ----

local UNITS = {
  B = 1, KiB = 1 << 10, MiB = 1 << 20, GiB = 1 << 30, ms = 0.001, s = 1, h = 3600, ["%"] = 0.01,
}

--- Returns the number at the beginning of a text: "64 MiB", "1,000,000", "5 s".
---@param text string
---@return number|nil
function docs.number(text)
  local digits, unit = text:match("^([%d,]*%.?%d+) ?([%a%%]*)")
  local number = digits and tonumber((digits:gsub(",", "")))
  return number and number * (UNITS[unit] or 1)
end

-- Returns the expression after "#define NAME" or "NAME =" in C.
local function c_expression(text, name)
  local defined = text:match("#define " .. name .. " ([^\n]+)")
  return defined and defined:gsub("/%*.*", "") or text:match("%f[%w_]" .. name .. " = ([^,;}\n]+)")
end

-- Returns the expression that Lua assigns to NAME, also in `local A, NAME = a, b`.
local function lua_expression(text, name)
  for left, right in text:gmatch("([%w_][%w_, ]*) = ([^\n]+)") do
    local place = 0
    for each in left:gmatch("[%w_]+") do
      if each ~= "local" then place = place + 1 end
      if each == name then
        for value in right:gsub("%-%-.*", ""):gsub("}.*", ""):gmatch("[^,]+") do
          place = place - 1
          if place == 0 then return value end
        end
      end
    end
  end
  return nil
end

--- Returns the value of a constant of a file, in bytes or seconds.
---@param tree lint.Tree
---@param path string
---@param name string
---@return number|nil
function docs.constant(tree, path, name)
  local find = path:find("%.lua$") and lua_expression or c_expression
  local expression = find(tree.read(path), name)
  if not expression then return nil end
  local env = setmetatable({ LOOP_MS = 0.001, LOOP_S = 1, math = math }, {
    __index = function(_, other)
      if other == name then return nil end
      local value = docs.constant(tree, path, other)
      for _, header in ipairs(value and {} or tree.headers()) do
        value = value or docs.constant(tree, header, other)
      end
      return value
    end,
  })
  local chunk = load("return " .. expression, "=" .. name, "t", env)
  local ok, value = pcall(chunk or error)
  if not ok or type(value) ~= "number" then return nil end
  return name:find("_MS$") and value / 1000 or value
end

local function check_limit(value, file, source, tree)
  local number = docs.number(value)
  if not number then return ("'%s' does not begin with a number"):format(value) end
  if not tree.exists(file) then return ("there is no %s"):format(file) end
  if not source:find("^[%w_]+$") then
    if not tree.read(file):find(source, 1, true) then
      return ("'%s' does not stand in %s"):format(source, file)
    end
    local digits = value:match("^[%d,.]+"):gsub(",", "")
    if not source:find("%f[%d]" .. digits:gsub("%.", "%%.") .. "%f[^%d]") then
      return ("'%s' does not hold the number %s"):format(source, digits)
    end
    return nil
  end
  local real = docs.constant(tree, file, source)
  if not real then return ("%s of %s is no number that can be read"):format(source, file) end
  if math.abs(real - number) > 1e-9 * math.abs(number) then
    return ("it is %s by %s of %s, not %s"):format(real, source, file, value)
  end
  return nil
end

local function check_limits(text, tree, report)
  local rows = 0
  each_line(text, function(number, line, fenced)
    local value, file, source = line:match("^|[^|]+| *([^|]-) *| *`([^`]+)` `([^`]+)` *|$")
    if fenced or not line:find("^|") or line:find("^|%-") or line:find("^| *limit *|") then
      return
    elseif not value then
      report(number, "limit", "the row is not | what | number | `file` `NAME` |")
      return
    end
    rows = rows + 1
    local wrong = check_limit(value, file, source, tree)
    if wrong then report(number, "limit", wrong) end
  end)
  if rows == 0 then report(1, "limit", "no limit was found in it") end
end

--- @class lint.Tree files by their paths below one folder
--- @field read fun(path: string): string
--- @field exists fun(path: string): boolean
--- @field headers fun(): string[] the paths of C headers

--- Checks documents.
---@param paths string[]
---@param tree lint.Tree
---@return {file: string, line: integer, rule: string, text: string}[]
function docs.check(paths, tree)
  local found = {}
  for _, path in ipairs(paths) do
    local text = tree.read(path)
    local function report(line, rule, what)
      found[#found + 1] = { file = path, line = line, rule = rule, text = what }
    end
    check_links(path, text, tree, report)
    if path == "docs/limits.md" then check_limits(text, tree, report) end
  end
  return found
end

--- Returns the files below a folder.
---@param root string
---@return lint.Tree
function docs.tree(root)
  local tree, texts = {}, {}
  function tree.exists(path)
    local file = io.open(root .. "/" .. path, "rb")
    if file then file:close() end
    return file ~= nil
  end
  function tree.read(path)
    if not texts[path] then
      local file = assert(io.open(root .. "/" .. path, "rb"))
      texts[path] = file:read("a") or ""
      file:close()
    end
    return texts[path]
  end
  function tree.list(pattern)
    local pipe, list = assert(io.popen(("cd '%s' && ls %s"):format(root, pattern))), {}
    for path in pipe:lines() do list[#list + 1] = path end
    pipe:close()
    return list
  end
  function tree.headers()
    tree.header_list = tree.header_list or tree.list("host/*/*.h")
    return tree.header_list
  end
  return tree
end

if arg and arg[0] and arg[0]:find("lint/docs%.lua$") then
  local tree = docs.tree(arg[0]:match("^(.*)/spec/lint/") or ".")
  local paths = tree.list("README.md docs/*.md")
  local found = docs.check(paths, tree)
  for _, v in ipairs(found) do print(("%s:%d: [%s] %s"):format(v.file, v.line, v.rule, v.text)) end
  print(("docs: %d documents, %d violations"):format(#paths, #found))
  os.exit(#found == 0 and #paths > 0)
end

return docs
