-- SPDX-License-Identifier: MIT
-- Checks the rules of the source tree that compilers and general checkers do not know.
--
--   lua5.4 spec/lint/rules.lua        checks the tree that contains it; `make lint` runs it
--
-- Prints one line per violation: file:line: [rule] what is wrong; what to do. Most rules forbid a
-- name in certain files; they read C line by line, without comments and strings. The tables
-- below say what is allowed where, and why.

local rules = {}

local words = dofile(debug.getinfo(1, "S").source:match("^@(.*)rules%.lua$") .. "words.lua")

-- The folders of the host, each with the folders that its files may include, directly or through
-- other files. The programs node, worker and driver do not know each other; lua and net meet in
-- bindings only.
local HOST = {
  base = {}, event = { "base" }, wire = { "base" }, wrap = { "base" },
  net = { "event", "wire", "wrap" }, lua = { "event", "wire" },
  bindings = { "lua", "net" },
  node = { "bindings" }, worker = { "bindings" }, driver = { "bindings" },
  main = { "node", "worker", "driver" },
}

-- The same for the Lua library and `require`. A file beside the folders is a module that scripts
-- require, and is listed here like a folder.
local LIBRARY = {
  errors = {}, base = { "errors" },
  digest = { "base" }, http = { "base" }, json = { "base" }, log = { "base" }, xml = { "base" },
  keys = { "aws" },
  metrics = { "base" }, httpd = { "log" },
  ship = { "digest" }, scheduler = { "base" },
  aws = { "json", "log", "xml" }, discovery = { "aws", "digest" },
  node = { "keys", "httpd", "metrics" },
  doctor = { "discovery", "keys", "ship" },
  run = { "ship" }, worker = { "run" }, cluster = { "discovery", "keys" },
  driver = { "cluster", "run", "scheduler" },
  api = { "driver", "worker" }, init = { "api" }, rpc = { "init" },
  repl = { "init" }, web = { "driver", "http", "httpd", "metrics" },
  cli = { "repl", "doctor", "keys", "web" },
}

-- Libraries of the network side, and the line editor. No file includes both lua.h and one of their
-- headers, so that no Lua error can jump through their frames.
local NETWORK_HEADERS = {
  "^curl/", "^nng/", "^openssl/", "^libxml/", "^libxml2/", "^gumbo%.h$",
  "^histedit%.h$", "^editline/",
  "^zlib%.h$", "^idn2%.h$", "^llhttp%.h$", "^http_parser%.h$",
}
local LUA_HEADERS = { ["lua.h"] = true, ["lauxlib.h"] = true, ["lualib.h"] = true }

-- Calls that are allowed in some files of host/ only: {names, files, what to do instead}
local PLACES = {
  { { "lua_resume", "lua_yieldk" }, { "lua/task.c", "lua/coroutine.c" },
    "use task_await or task_yield" },
  { { "lua_yield" }, { "lua/preempt.c" }, "use task_await or task_yield" },
  { { "luaL_newmetatable", "luaL_setmetatable", "lua_setmetatable" }, { "lua/class.c" },
    -- so that scripts cannot reach any metatable of the host
    "register the type by class_add, make its objects by class_new" },
  { { "lua_touserdata" }, { "lua/vm.c", "lua/class.c" },
    -- scripts call functions with any value; only the argument of vm_pcall is certain
    "use luaL_checkudata; what vm_pcall was given is vm_arg, an upvalue class_upvalue" },
  { { "lua_pcall", "lua_pcallk" }, { "lua/vm.c", "lua/task.c" }, "enter Lua through vm_pcall" },
  { { "exit", "_exit", "_Exit", "quick_exit", "abort" }, { "main.c", "worker/worker.c" },
    -- worker.c: a worker that cannot send a message reports memory exhaustion by dying
    "return an error to the caller; only main ends the process" },
  { { "realloc", "reallocarray" }, { "base/buf.c", "lua/vm.c", "wrap/xml_budget.c" },
    -- the last two are the allocators of Lua and libxml2
    "use struct buf" },
}

-- Calls that are not allowed: name -> what to do instead
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
local MAX_FILE, MAX_SOURCE, MAX_SCRIPT, MAX_FUNCTION = 800, 600, 40, 60

-- Folders of one machine; concatenated so that this file does not contain them.
local MACHINE_PATHS = { "/" .. "work", "/" .. "root" }

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

--- Returns the lines of a text, including a last line without newline.
local function lines_of(text)
  local list = {}
  for line in (text:gsub("([^\n])$", "%1\n")):gmatch("(.-)\n") do list[#list + 1] = line end
  return list
end

--- Returns C source without comments and, unless `keep_strings`, without the contents of strings
--- and character constants. Keeps newlines, and with them line numbers.
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

--- Returns the folders that files of a folder may use: names -> true; nil for an unknown folder.
local function below(folders, name, found)
  if not folders[name] then return found end
  found = found or {}
  found[name] = true
  for _, each in ipairs(folders[name]) do below(folders, each, found) end
  return found
end

--- "host/net/http.c" -> "net"; a file beside the folders -> its own name
local function folder_of(path)
  return path:match("^host/([^/.]+)") or path:match("^lua/fleet/([^/.]+)")
end

--- "host/net/http.c" -> "host/net/http": header and source are one unit, and a header x_internal.h
--- belongs to x.
local function unit_of(path)
  return (path:gsub("%.[ch]$", ""):gsub("_internal$", ""))
end

--- Returns the own and foreign headers that a file includes: lists of {line, name}
local function includes_of(text)
  local own, foreign = {}, {}
  for number, line in ipairs(lines_of(strip(text, true))) do
    local open, name = line:match("^%s*#%s*include%s*([\"<])([^\">]+)")
    if open == '"' then own[#own + 1] = { number, name } end
    if open == "<" then foreign[#foreign + 1] = { number, name } end
  end
  return own, foreign
end

--- Returns all foreign headers that a file includes, directly or through own headers: name -> line
--- of the include
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

--- Returns the own files that a file uses: list of {line, path}. Modules of the host have no file.
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
      ("move it, or add the folder to %s of spec/lint/rules.lua"):format(where))
  end
  for _, item in ipairs(uses_of(path, sources)) do
    local folder = folder_of(item[2])
    if host and not item[2]:find("^host/.*/") then
      report(path, item[1], "folder", "this include has no folder", 'write "folder/file.h"')
    elseif allowed and folder and not allowed[folder] then
      report(path, item[1], "folder", ("%s must not use %s"):format(folder_of(path), folder),
        "use lower layers only: pass a callback, or move the code")
    end
  end
end

--- Names of sources must differ: the makefiles of premake 4 put all objects into one folder.
local function check_names(files, report)
  local known = {}
  for _, path in ipairs(files) do
    local name = path:match("^host/.*/([^/]+%.c)$")
    if name and known[name] then
      report(path, 1, "name", "this source has the name of " .. known[name], "rename one of them")
    end
    if name then known[name] = path end
  end
end

--- Reports each circle of units once, at the include or require that closes it.
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
          "move what both need into a file below both")
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

--- No file may see both a header of Lua and one of a network library.
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
        report(path, number, "banned", name .. " is not allowed", BANNED[name])
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
      report(path, number, "assert", "this assert has a side effect",
        "move it out: with NDEBUG it would not happen")
    end
  end
end

--- Functions start and end at a brace in the first column, which clang-format ensures.
local function check_functions(path, code, report)
  local start
  for number, line in ipairs(code) do
    if line:find("^{") then start = number end
    if line:find("^}") and start then
      if number - start - 1 > MAX_FUNCTION then
        report(path, start, "size", ("a function of %d lines"):format(number - start - 1),
          ("split it: the limit is %d"):format(MAX_FUNCTION))
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
    report(path, max + 1, "size", ("%d lines"):format(#lines), ("the limit is %d: split "
      .. "or simplify it"):format(max))
  end
  for number, line in ipairs(lines) do
    for _, folder in ipairs(MACHINE_PATHS) do
      if (" " .. line .. " "):find("[^%w_./~-]" .. folder .. "%f[^%w_-]") then
        report(path, number, "path", folder .. " is a folder of one machine",
          "write a path relative to the tree, or make it a parameter")
      end
    end
  end
  local licensed = path:find("^host/") or path:find("^lua/") or path:find("^spec/")
  if source and licensed and not (lines[1] or ""):find("SPDX-License-Identifier", 1, true) then
    report(path, 1, "license", "the licence is missing",
      "start with a comment: SPDX-License-Identifier: MIT")
  end
end

local function check_spec(path, text, sources, report)
  local name = path:match("^lua/fleet/(.*)%.lua$")
  if name and not text:find("^[^\n]*\n?%-%-%-@meta") and not text:find("^%-%-%-@meta")
    and not sources["spec/fleet/" .. name .. "_spec.lua"] then
    report(path, 1, "spec", "there is no spec with the same path",
      "write spec/fleet/" .. name .. "_spec.lua")
  end
end

--- Checks a tree.
---@param root string its folder
---@param files string[] paths below it, without binary files
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

--- Returns the text files of a tree: those that git tracks or would add; without git, all files
--- outside build/.
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
