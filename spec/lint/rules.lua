-- SPDX-License-Identifier: MIT
-- The rules of the source tree that no compiler and no general checker knows.
--
--   lua5.4 spec/lint/rules.lua        checks the tree it stands in; `make lint` runs it
--
-- One line for each violation: file:line: [rule] what is wrong; what to do. C is read
-- without comments and strings, line by line: a rule is a name that stands where it must
-- not. What is allowed where is said in the tables below, with the reason.

local rules = {}

-- Layers of the host: a file includes headers of its own layer or below. A new file is
-- given its place here first; x_part.c is where x is, so lib_*.c, the Lua bindings, are 4.
local LAYERS = {
  buf = 0, log = 0, err = 0, embed = 0, msgpack = 0, digest = 0, protocol = 0,
  fault = 0, oom = 0, utf8 = 0,
  loop = 1, frame = 1, stream = 1, blob = 1, outbox = 1, watch = 1,
  unbegun = 1, partial = 1, charset = 1,
  http = 2, nng_mend = 2, rpc = 2, pool = 2, request = 2, session = 2, local_node = 2,
  edit = 2, xml = 2, confine = 2, dns = 2,
  class = 3, vm = 3, task = 3, coroutine = 3, preempt = 3, runtime = 3,
  codec = 3, json = 3, path = 3, signals = 3,
  record = 3, said = 3, ask = 3, job = 3, context = 3,
  lua_compat = 3,
  lib = 4,
  main = 5, serve = 5, node = 5, keeper = 5, driver = 5, worker = 5, repl = 5,
}

-- Libraries of the network side, and the line editor: their headers never meet lua.h in one
-- file, so that no Lua error can jump through their frames.
local NETWORK_HEADERS = {
  "^curl/", "^nng/", "^openssl/", "^libxml/", "^libxml2/", "^gumbo%.h$",
  "^histedit%.h$", "^editline/",
  "^zlib%.h$", "^idn2%.h$",
}
local LUA_HEADERS = { ["lua.h"] = true, ["lauxlib.h"] = true, ["lualib.h"] = true }

-- Calls that have their place: {names, {files of host/}, what to do instead}
local PLACES = {
  { { "lua_resume", "lua_yieldk" }, { "task.c", "coroutine.c" }, "use task_await or task_yield" },
  { { "lua_yield" }, { "preempt.c" }, "use task_await or task_yield" },
  { { "luaL_newmetatable", "luaL_setmetatable", "lua_setmetatable" }, { "class.c" },
    -- so that every metatable of the host is out of the reach of scripts
    "register the type by class_add, make its objects by class_new" },
  { { "lua_touserdata" }, { "vm.c", "class.c" },
    -- scripts call functions with anything; only what vm_pcall gives is sure
    "use luaL_checkudata; what vm_pcall was given is vm_arg, an upvalue class_upvalue" },
  { { "lua_pcall", "lua_pcallk" }, { "vm.c", "task.c" }, "enter Lua through vm_pcall" },
  { { "exit", "_exit", "_Exit", "quick_exit", "abort" }, { "main.c", "worker.c" },
    -- worker.c: to die at once is how a worker that cannot speak tells its node
    "return an error to the caller; only main ends the process" },
  { { "realloc", "reallocarray" }, { "buf.c", "vm.c", "xml_work.c" },
    -- vm.c, xml_work.c: the allocators given to Lua and to libxml2
    "use struct buf" },
}

-- Calls nobody makes: name -> what to do instead
local BANNED = {
  sprintf = "use snprintf", vsprintf = "use vsnprintf", gets = "use fgets",
  strcpy = "use snprintf or struct buf", strcat = "use snprintf or struct buf",
  strncpy = "use snprintf or memcpy", strncat = "use snprintf or struct buf",
  stpcpy = "use snprintf or struct buf", alloca = "use malloc or struct buf",
  atoi = "use strtol and look at its end", atol = "use strtol and look at its end",
  atoll = "use strtoll and look at its end", atof = "use strtod and look at its end",
  strtok = "use strcspn or strtok_r", strerror = "use err_errno",
  gmtime = "use gmtime_r", localtime = "use localtime_r", ctime = "use strftime",
  asctime = "use strftime", system = "use posix_spawn", popen = "use posix_spawn",
}

local MAX_FILE, MAX_SCRIPT, MAX_FUNCTION = 800, 40, 60

-- Folders of somebody's machine; put together here so that this file names none.
local MACHINE_PATHS = { "/" .. "work", "/" .. "root", "/" .. "tmp/wt" }

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

--- Lines of a text; a last line without its newline counts.
local function lines_of(text)
  local list = {}
  for line in (text:gsub("([^\n])$", "%1\n")):gmatch("(.-)\n") do list[#list + 1] = line end
  return list
end

--- C source without comments, and without what stands in strings and character
--- constants unless `keep_strings`. Newlines stay, so that line numbers do.
local function strip(text, keep_strings)
  local out, at = {}, 1
  local function blank(s) return (s:gsub("[^\n]", " ")) end
  while at <= #text do
    local from = text:find("[\"'/]", at)
    if not from then break end
    out[#out + 1] = text:sub(at, from - 1)
    local two, to = text:sub(from, from + 1), from
    if two == "/*" then
      to = select(2, text:find("*/", from + 2, true)) or #text
      out[#out + 1] = blank(text:sub(from, to))
    elseif two == "//" then
      to = (text:find("\n", from, true) or #text + 1) - 1
      out[#out + 1] = blank(text:sub(from, to))
    elseif two:sub(1, 1) == "/" then
      out[#out + 1] = "/"
    else
      local quote = two:sub(1, 1)
      repeat
        to = text:find("[\\\n" .. quote .. "]", to + 1) or #text
        local stop = text:sub(to, to) ~= "\\"
        if not stop then to = to + 1 end
      until stop or to >= #text
      local literal = text:sub(from, to)
      out[#out + 1] = keep_strings and literal or quote .. blank(literal:sub(2, -2)) .. quote
    end
    at = to + 1
  end
  out[#out + 1] = text:sub(at)
  return table.concat(out)
end

--- "host/lib_http.c" -> 4, or nil for a file without a place
local function layer_of(path)
  local stem = path:match("([^/]+)%.[ch]$")
  return stem and (LAYERS[stem] or LAYERS[stem:match("^[^_]+")])
end

--- Own and foreign headers a file names: lists of {line, name}
local function includes_of(text)
  local own, foreign = {}, {}
  for number, line in ipairs(lines_of(strip(text, true))) do
    local open, name = line:match("^%s*#%s*include%s*([\"<])([^\">]+)")
    if open == '"' then own[#own + 1] = { number, name } end
    if open == "<" then foreign[#foreign + 1] = { number, name } end
  end
  return own, foreign
end

--- All foreign headers that a file sees, also through own headers: name -> the line of the
--- include that brings it in
local function seen_headers(path, sources, seen, brought_by, visited)
  if visited[path] or not sources[path] then return seen end
  visited[path] = true
  local own, foreign = includes_of(sources[path])
  for _, item in ipairs(foreign) do seen[item[2]] = seen[item[2]] or brought_by or item[1] end
  for _, item in ipairs(own) do
    seen_headers("host/" .. item[2], sources, seen, brought_by or item[1], visited)
  end
  return seen
end

local function is_network(header)
  for _, pattern in ipairs(NETWORK_HEADERS) do
    if header:find(pattern) then return true end
  end
  return false
end

local function check_includes(path, sources, report)
  local layer = layer_of(path)
  if not layer then
    report(path, 1, "layer", "this file has no layer",
      "give it its place in LAYERS of spec/lint/rules.lua")
  end
  for _, item in ipairs((includes_of(sources[path]))) do
    local above = layer_of("host/" .. item[2])
    if layer and above and above > layer then
      report(path, item[1], "layer", ("layer %d includes %s of layer %d"):format(layer, item[2],
        above), "includes only go down: pass a callback, or move the code")
    end
  end
  local lua, network
  for header, line in pairs(seen_headers(path, sources, {}, nil, {})) do
    if LUA_HEADERS[header] then lua = math.max(lua or 0, line) end
    if is_network(header) then network = math.max(network or 0, line) end
  end
  if lua and network then
    report(path, math.max(lua, network), "mixed", "sees lua.h and a header of another library",
      "put that side into a file of layer 2 with an opaque struct")
  end
end

local function check_calls(path, code, report)
  local base = path:match("^host/(.*)")
  for number, line in ipairs(code) do
    for name in line:gmatch("%f[%w_]([%a_][%w_]*)%s*%(") do
      if BANNED[name] then
        report(path, number, "banned", name .. " is not used here", BANNED[name])
      end
      for _, place in ipairs(base and PLACES or {}) do
        local named, allowed = false, false
        for _, call in ipairs(place[1]) do named = named or call == name end
        for _, file in ipairs(place[2]) do allowed = allowed or file == base end
        if named and not allowed then
          report(path, number, "place", ("%s belongs to %s"):format(name,
            table.concat(place[2], " and ")), place[3])
        end
      end
    end
    local condition = line:match("%f[%w_]assert%s*(%b())")
    if condition and (condition:find("[^=!<>]=[^=]") or condition:find("%+%+")
      or condition:find("%-%-")) then
      report(path, number, "assert", "this assert does something",
        "do it before: with NDEBUG it would not happen")
    end
  end
end

--- Functions start and end at a brace in the first column; clang-format sees to that.
local function check_functions(path, code, report)
  local start
  for number, line in ipairs(code) do
    if line:find("^{") then start = number end
    if line:find("^}") and start then
      if number - start - 1 > MAX_FUNCTION then
        report(path, start, "size", ("a function of %d lines"):format(number - start - 1),
          ("split it: %d at most"):format(MAX_FUNCTION))
      end
      start = nil
    end
  end
end

local function check_text(path, text, report)
  local lines = lines_of(text)
  local max = path:find("^scripts/.*%.lua$") and MAX_SCRIPT or MAX_FILE
  local source = path:find("%.[ch]$") or path:find("%.lua$")
  if source and #lines > max then
    report(path, max + 1, "size", ("%d lines"):format(#lines), ("%d at most: split it, or say "
      .. "it with less"):format(max))
  end
  for number, line in ipairs(lines) do
    for _, folder in ipairs(MACHINE_PATHS) do
      if (" " .. line .. " "):find("[^%w_./~-]" .. folder .. "%f[^%w_-]") then
        report(path, number, "path", folder .. " is a folder of one machine",
          "name it relative to the tree, or let the caller say it")
      end
    end
  end
  local licensed = path:find("^host/") or path:find("^lua/") or path:find("^spec/")
  if source and licensed and not (lines[1] or ""):find("SPDX-License-Identifier", 1, true) then
    report(path, 1, "license", "no licence", "start with a comment: SPDX-License-Identifier: MIT")
  end
end

local function check_spec(path, text, sources, report)
  local name = path:match("^lua/fleet/(.*)%.lua$")
  if name and not text:find("^[^\n]*\n?%-%-%-@meta") and not text:find("^%-%-%-@meta")
    and not sources["spec/fleet/" .. name .. "_spec.lua"] then
    report(path, 1, "spec", "no spec of the same name",
      "write spec/fleet/" .. name .. "_spec.lua")
  end
end

--- Checks a tree.
---@param root string its folder
---@param files string[] paths below it; binary files are left out by the caller
---@return { file: string, line: integer, rule: string, text: string, advice: string }[]
function rules.check(root, files)
  local sources, found = {}, {}
  for _, path in ipairs(files) do sources[path] = read(root .. "/" .. path) end
  local function report(file, line, rule, text, advice)
    found[#found + 1] = { file = file, line = line, rule = rule, text = text, advice = advice }
  end
  for _, path in ipairs(files) do
    local text = sources[path]
    check_text(path, text, report)
    check_spec(path, text, sources, report)
    if path:find("%.[ch]$") then
      local code = lines_of(strip(text))
      check_calls(path, code, report)
      check_functions(path, code, report)
      if path:find("^host/") then check_includes(path, sources, report) end
    end
  end
  return found
end

--- The text files of a tree: what git knows and would add, or, without git, what lies
--- there outside build/.
local function list(root)
  local files = {}
  local command = [[cd '%s' && {
    git ls-files -co --exclude-standard 2>/dev/null ||
    find . -type f -not -path './build/*' -not -path './.git/*' | cut -c3-; } | sort]]
  local pipe = assert(io.popen(command:format(root)))
  for path in pipe:lines() do
    local file = io.open(root .. "/" .. path, "rb")
    if file then
      if not (file:read(4096) or ""):find("\0", 1, true) then files[#files + 1] = path end
      file:close()
    end
  end
  pipe:close()
  return files
end

if arg and arg[0] and arg[0]:find("rules%.lua$") then
  local root = arg[0]:match("^(.*)/spec/lint/") or "."
  local files = list(root)
  local found = rules.check(root, files)
  for _, v in ipairs(found) do
    print(("%s:%d: [%s] %s; %s"):format(v.file, v.line, v.rule, v.text, v.advice))
  end
  print(("rules: %d files, %d violations"):format(#files, #found))
  os.exit(#found == 0 and #files > 0)
end

return rules
