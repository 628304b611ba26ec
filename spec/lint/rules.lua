-- SPDX-License-Identifier: MIT
-- The rules of the source tree that no compiler and no general checker knows.
--
--   lua5.4 spec/lint/rules.lua        checks the tree it stands in; `make lint` runs it
--
-- One line for each violation: file:line: [rule] what is wrong; what to do. C is read
-- without comments and strings, line by line: a rule is a name that stands where it must
-- not. What is allowed where is said in the tables below, with the reason.

local rules = {}

-- The words have a file of their own beside this one.
local words = dofile(debug.getinfo(1, "S").source:match("^@(.*)rules%.lua$") .. "words.lua")

-- Folders of the host, and which others the files of each may include, and by way of these. The
-- programs node, worker and driver do not know each other; lua and net meet in bindings only.
local HOST = {
  base = {}, event = { "base" }, wire = { "base" }, wrap = { "base" },
  net = { "event", "wire", "wrap" }, lua = { "event", "wire" },
  bindings = { "lua", "net" },
  node = { "bindings" }, worker = { "bindings" }, driver = { "bindings" },
  main = { "node", "worker", "driver" },
}

-- The same of the Lua library, for `require`. A file that stands beside the folders is a
-- module that scripts require; each is a folder of its own here.
local LIBRARY = {
  errors = {}, base = { "errors" },
  digest = { "base" }, http = { "base" }, json = { "base" }, log = { "base" }, xml = { "base" },
  ship = { "digest" }, scheduler = { "base" },
  aws = { "json", "log", "xml" }, discovery = { "aws", "digest" }, node = { "aws" },
  doctor = { "aws", "ship" },
  run = { "ship" }, worker = { "run" }, cluster = { "discovery" },
  driver = { "cluster", "run", "scheduler" },
  api = { "driver", "worker" }, init = { "api" }, rpc = { "init" },
  repl = { "init" }, cli = { "repl", "doctor" },
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
  { { "lua_resume", "lua_yieldk" }, { "lua/task.c", "lua/coroutine.c" },
    "use task_await or task_yield" },
  { { "lua_yield" }, { "lua/preempt.c" }, "use task_await or task_yield" },
  { { "luaL_newmetatable", "luaL_setmetatable", "lua_setmetatable" }, { "lua/class.c" },
    -- so that every metatable of the host is out of the reach of scripts
    "register the type by class_add, make its objects by class_new" },
  { { "lua_touserdata" }, { "lua/vm.c", "lua/class.c" },
    -- scripts call functions with anything; only what vm_pcall gives is sure
    "use luaL_checkudata; what vm_pcall was given is vm_arg, an upvalue class_upvalue" },
  { { "lua_pcall", "lua_pcallk" }, { "lua/vm.c", "lua/task.c" }, "enter Lua through vm_pcall" },
  { { "exit", "_exit", "_Exit", "quick_exit", "abort" }, { "main.c", "worker/worker.c" },
    -- worker.c: to die at once is how a worker that cannot speak tells its node
    "return an error to the caller; only main ends the process" },
  { { "realloc", "reallocarray" }, { "base/buf.c", "lua/vm.c", "wrap/xml_work.c" },
    -- the last two: the allocators given to Lua and to libxml2
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

-- Lines of a file, of a file of host/ or lua/, of a script, of a function
local MAX_FILE, MAX_SOURCE, MAX_SCRIPT, MAX_FUNCTION = 800, 800, 40, 60

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

--- The folders that the files of a folder may use: names -> true; nil for one without a place.
local function below(folders, name, found)
  if not folders[name] then return found end
  found = found or {}
  found[name] = true
  for _, each in ipairs(folders[name]) do below(folders, each, found) end
  return found
end

--- "host/net/http.c" -> "net"; a file beside the folders -> its name
local function folder_of(path)
  return path:match("^host/([^/.]+)") or path:match("^lua/fleet/([^/.]+)")
end

--- "host/net/http.c" -> "host/net/http": a unit is what its header and its source are together,
--- and a header x_internal.h belongs to x.
local function unit_of(path)
  return (path:gsub("%.[ch]$", ""):gsub("_internal$", ""))
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

--- Own files that a file uses: list of {line, path}. Modules of the host have no file.
local function uses_of(path, sources)
  local uses = {}
  if path:find("^host/.*%.[ch]$") then
    for _, item in ipairs((includes_of(sources[path]))) do
      uses[#uses + 1] = { item[1], "host/" .. item[2] }
    end
  elseif path:find("^lua/fleet/.*%.lua$") then
    for number, line in ipairs(lines_of(sources[path])) do
      for name in line:gsub("%-%-.*", ""):gmatch("require%(?%s*[\"'](fleet[%w_.]*)[\"']") do
        local file = "lua/" .. name:gsub("%.", "/") .. ".lua"
        if not sources[file] then file = file:gsub("%.lua$", "/init.lua") end
        uses[#uses + 1] = { number, file }
      end
    end
  end
  return uses
end

local function check_folder(path, sources, report)
  local host = path:find("^host/")
  local folders, where = host and HOST or LIBRARY, host and "HOST" or "LIBRARY"
  local allowed = below(folders, folder_of(path))
  if not allowed then
    report(path, 1, "folder", "this file is in no known folder",
      ("move it, or give the folder its place in %s of spec/lint/rules.lua"):format(where))
  end
  for _, item in ipairs(uses_of(path, sources)) do
    local folder = folder_of(item[2])
    if host and not item[2]:find("^host/.*/") then
      report(path, item[1], "folder", "an include without its folder", 'write "folder/file.h"')
    elseif allowed and folder and not allowed[folder] then
      report(path, item[1], "folder", ("%s does not use %s"):format(folder_of(path), folder),
        "uses only go down: pass a callback, or move the code")
    end
  end
end

--- The makefiles of premake 4 put all objects into one folder.
local function check_names(files, report)
  local known = {}
  for _, path in ipairs(files) do
    local name = path:match("^host/.*/([^/]+%.c)$")
    if name and known[name] then
      report(path, 1, "name", "there is also " .. known[name], "no two sources have one name")
    end
    if name then known[name] = path end
  end
end

--- Reports each circle of units once, at the use that closes it.
local function check_circles(files, sources, report)
  local uses, state = {}, {}
  for _, path in ipairs(files) do
    local unit = unit_of(path)
    uses[unit] = uses[unit] or {}
    for _, item in ipairs(uses_of(path, sources)) do
      table.insert(uses[unit], { path, item[1], unit_of(item[2]) })
    end
  end
  local function visit(unit, way)
    state[unit] = "open"
    way[#way + 1] = unit
    for _, use in ipairs(uses[unit] or {}) do
      local to = use[3]
      if state[to] == "open" and to ~= unit then
        local from = 1
        while way[from] ~= to do from = from + 1 end
        report(use[1], use[2], "circle", table.concat(way, " -> ", from) .. " -> " .. to,
          "move what both need into a file below them")
      elseif not state[to] then
        visit(to, way)
      end
    end
    way[#way] = nil
    state[unit] = "done"
  end
  for _, path in ipairs(files) do
    if not state[unit_of(path)] then visit(unit_of(path), {}) end
  end
end

--- Headers of Lua and of other libraries do not meet in one file.
local function check_mixed(path, sources, report)
  local lua, network
  for header, line in pairs(seen_headers(path, sources, {}, nil, {})) do
    if LUA_HEADERS[header] then lua = math.max(lua or 0, line) end
    if is_network(header) then network = math.max(network or 0, line) end
  end
  if lua and network then
    report(path, math.max(lua, network), "mixed", "sees lua.h and a header of another library",
      "put that side into a file of wrap or net with an opaque struct")
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
  local max = path:find("^scripts/.*%.lua$") and MAX_SCRIPT
    or (path:find("^host/") or path:find("^lua/")) and MAX_SOURCE or MAX_FILE
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
    words.check(path, text, report)
    if path:find("%.[ch]$") then
      local code = lines_of(strip(text))
      check_calls(path, code, report)
      check_functions(path, code, report)
      if path:find("^host/") then check_mixed(path, sources, report) end
    end
    if path:find("^host/.*%.[ch]$") or path:find("^lua/fleet/.*%.lua$") then
      check_folder(path, sources, report)
    end
  end
  check_circles(files, sources, report)
  check_names(files, report)
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
