-- SPDX-License-Identifier: MIT
-- A session at the prompt: takes line after line, evaluates each complete chunk locally or on
-- nodes, and writes its values. Lines that begin with a colon are commands. The caller provides
-- terminal, clock and fleet.

local complete = require("fleet.repl.complete")
local errors = require("fleet.errors")
local evaluate = require("fleet.repl.evaluate")
local file = require("fleet.base.file")
local globals = require("fleet.ship.globals")
local pretty = require("fleet.base.pretty")
local source_cache = require("fleet.ship.source_cache")
local targets = require("fleet.repl.targets")
local text = require("fleet.base.text")

local repl = {}

--- @class fleet.ReplOptions
--- @field targets fleet.Targets
--- @field start fun(f: function, ...): table as host.task.start
--- @field out fun(s: string) writes whole lines: values
--- @field err fun(s: string) writes whole lines: errors and notes
--- @field now fun(): number monotonic seconds
--- @field width fun(): integer|nil columns of the terminal
--- @field color? boolean
--- @field interactive? boolean whether an empty line abandons an incomplete chunk
--- @field env table the globals, see repl.environment
--- @field load fun(text: string, chunkname: string): function|nil, string|nil with those globals

--- @class fleet.Repl
--- @field finished boolean after :quit
local Repl = {}
Repl.__index = Repl

-- ---- globals ----

--- Makes the globals of a session, a layer over those of the program: `table = {}` harms only the
--- session. They include the modules at hand.
---@param write fun(s: string) for print
---@return table env
---@return fun(text: string, chunkname: string): function|nil, string|nil load
function repl.environment(write)
  local env = setmetatable({}, { __index = _G })
  env._G = env
  for name, module in pairs(evaluate.modules) do env[name] = require(module) end

  local function load_text(chunk, chunkname)
    return load(chunk, chunkname, "t", env)
  end

  -- the session's globals, unless others are given, even nil
  local function globals_of(...)
    if select("#", ...) == 0 then return env end
    return (...)
  end
  function env.load(chunk, chunkname, mode, ...)
    return load(chunk, chunkname, mode, globals_of(...))
  end
  function env.loadfile(path, mode, ...)
    return loadfile(path, mode, globals_of(...))
  end
  function env.dofile(path)
    local f, message = env.loadfile(path)
    if not f then error(message, 0) end
    return f()
  end
  function env.print(...)
    local words = table.pack(...)
    for i = 1, words.n do words[i] = tostring(words[i]) end
    write(table.concat(words, "\t") .. "\n")
  end
  for _, name in ipairs({ "print", "load" }) do globals.stand_in(env[name], name) end
  return env, load_text
end

-- ---- writing ----

local function options_of(self)
  return { width = self.width() or 80, color = self.color }
end

local function report(self, err, traceback)
  self.err(pretty.error(err, traceback, options_of(self)) .. "\n")
end

local function note(self, format, ...)
  self.err(format:format(...) .. "\n")
end

--- What a node printed or returned, its name before every line.
local function labelled(self, name, s)
  local label = text.escape(name) .. ": "
  if self.color then label = ("\27[36m%s\27[0m"):format(label) end
  return label .. s:gsub("\n", "\n" .. label) .. "\n"
end

-- ---- evaluating ----

--- Keeps values as `_`, the first, and `_1`, `_2`, ..., all of them.
local function keep(self, values)
  if values.n == 0 then return end
  for i = values.n + 1, self.kept do self.env["_" .. i] = nil end
  self.kept, self.env._ = values.n, values[1]
  for i = 1, values.n do self.env["_" .. i] = values[i] end
end

--- Runs f(...) as a task that Ctrl-C ends; `on_cancel` is called then. Returns true and what f
--- does; or nothing when it raised, which is reported. Nothing waits for an interrupted task.
local function run(self, on_cancel, f, ...)
  self.running = { task = self.start(f, ...), on_cancel = on_cancel }
  local results = table.pack(self.running.task:join())
  self.running = nil
  if results[1] then return table.unpack(results, 1, results.n) end
  local err = results[2]
  if errors.is(err) and err.kind == "cancelled" and self.cancelled then
    note(self, "interrupted")
  else
    report(self, err, results[3])
  end
end

--- The same for a function that returns a value, or nil and an error, which is reported, too.
--- Returns what f does.
local function run_call(self, on_cancel, f, ...)
  local results = table.pack(run(self, on_cancel, f, ...))
  if results[1] and results[2] == nil then report(self, results[3]) end
  return table.unpack(results, 2, results.n)
end

local function evaluate_here(self, f)
  local results = table.pack(run(self, nil, f))
  if not results[1] then return end
  local values = table.move(results, 2, results.n, 1, { n = results.n - 1 })
  keep(self, values)
  if values.n > 0 then self.out(pretty.values(values, options_of(self)) .. "\n") end
end

local function evaluate_on(self, node, ...)
  local future
  local reply = run_call(self, function()
    if future then future:cancel() end
  end, function(...)
    local err
    future, err = self.targets:send(node, nil, ...)
    if not future then return nil, err end
    return future:wait()
  end, ...)
  if not reply then return end
  keep(self, evaluate.values(reply))
  if reply.n > 0 then self.out(evaluate.format(reply, options_of(self)) .. "\n") end
end

-- Names the nodes that are left out, unless they are the same as before.
local function note_others(self, others)
  local names = {}
  for i, err in ipairs(others) do names[i] = text.escape(err.node) end
  local list = table.concat(names, ", ")
  if list ~= "" and list ~= self.others then
    note(self, "not ready, and left out: %s; :nodes shows them", list)
  end
  self.others = list
end

local function wait_for_all(self, futures, ...)
  local names, err = self.targets:names()
  if not names then return nil, err end
  note_others(self, err)
  for _, name in ipairs(names) do
    futures[name], err = self.targets:send(name, nil, ...)
    if not futures[name] then return nil, err end
  end
  local replies, failures = {}, {}
  for _, name in ipairs(names) do replies[name], failures[name] = futures[name]:wait() end
  return names, replies, failures
end

local function evaluate_on_all(self, ...)
  local futures = {}
  local names, replies, failures = run_call(self, function()
    for _, future in pairs(futures) do future:cancel() end
  end, wait_for_all, self, futures, ...)
  if not names then return end
  local firsts = {}
  for _, name in ipairs(names) do
    local reply = replies[name]
    if not reply then
      self.err(labelled(self, name, pretty.error(failures[name], nil, options_of(self))))
    else
      firsts[name] = evaluate.values(reply)[1]
      if reply.n > 0 then
        self.out(labelled(self, name, evaluate.format(reply, options_of(self))))
      end
    end
  end
  keep(self, { n = 1, firsts })
end

--- Evaluates a chunk that is known to be valid; `f` is the function loaded from it.
local function evaluate_chunk(self, f, code, chunkname)
  local prologue = evaluate.prologue(code)
  self.cancelled = false
  if self.where == "local" then
    evaluate_here(self, f)
  elseif self.where == "all" then
    evaluate_on_all(self, code, chunkname, prologue)
  else
    evaluate_on(self, self.where, code, chunkname, prologue)
  end
end

-- ---- commands ----

--- @class fleet.repl.Command
--- @field name string without the colon
--- @field argument? string for the help; the command takes none without it
--- @field is_code? boolean the argument is Lua
--- @field help string
--- @field run fun(self: fleet.Repl, argument: string)

--- @type fleet.repl.Command[]
local COMMANDS

local HELP_NOTES = {
  "An expression's values are written, statements just run. Incomplete input continues on the next "
    .. "line; an empty line or Ctrl-C abandons it.",
  "Each input is a chunk: local variables end with it, globals stay. With :on NODE they stay in "
    .. "the worker that ran it, and a node has several.",
  "fleet, http, json, xml and digest are at hand. _ is the last value; _1, _2, ... are all of "
    .. "them.",
  "Ctrl-C stops what runs, on nodes too. Tab completes, Ctrl-R searches the history.",
}

local function show_help(self)
  local rows = {}
  for i, c in ipairs(COMMANDS) do
    rows[i] = { ("  :%s%s"):format(c.name, c.argument and " " .. c.argument or ""), c.help }
  end
  local lines = text.columns(rows, {})
  for _, paragraph in ipairs(HELP_NOTES) do
    lines[#lines + 1] = ""
    local wrapped = text.wrap(paragraph, math.min(self.width() or 80, 80))
    table.move(wrapped, 1, #wrapped, #lines + 1, lines)
  end
  self.out(table.concat(lines, "\n") .. "\n")
end

local function show_nodes(self)
  local nodes = run_call(self, nil, self.targets.nodes, self.targets)
  if nodes then self.out(targets.table(nodes) .. "\n") end
end

local function select_nodes(self, argument)
  if argument == "" then return note(self, "code runs on: %s", self.where) end
  if argument == "local" or argument == "all" then
    self.where = argument
    return
  end
  local names = run_call(self, nil, self.targets.names, self.targets)
  if not names then return end
  local others = {} -- without a private node's own name, "local", which means here
  for _, name in ipairs(names) do
    if name == argument then
      self.where = name
      return
    end
    if name ~= "local" then others[#others + 1] = name .. ", " end
  end
  note(self, "there is no node %s; there are %sall and local", text.quote(argument),
    table.concat(others))
end

local function time_code(self, argument)
  if argument == "" then return note(self, ":time needs code") end
  local f, chunkname, message = self:load(argument)
  if not f then return report(self, message) end
  local began = self.now()
  evaluate_chunk(self, f, argument, chunkname)
  note(self, "%.6f s", self.now() - began)
end

local function load_file(self, argument)
  if argument == "" then return note(self, ":load needs a file") end
  local code, message = file.read_text(argument)
  if not code then return note(self, "%s", message) end
  code = source_cache.source(code)
  local chunkname = "@" .. argument
  local f
  f, message = self.load_text(code, chunkname)
  if not f then return report(self, message) end
  evaluate_chunk(self, f, code, chunkname)
end

COMMANDS = {
  { name = "nodes", help = "list the nodes, what started them, state and load", run = show_nodes },
  { name = "on", argument = "NODE|all|local", run = select_nodes,
    help = "select where the following code runs; the prompt shows it" },
  { name = "time", argument = "CODE", is_code = true, run = time_code,
    help = "evaluate code and print how long it took" },
  { name = "load", argument = "FILE", is_code = true, help = "evaluate a file", run = load_file },
  { name = "help", help = "show this text", run = show_help },
  { name = "quit", help = "leave, like Ctrl-D", run = function(self) self.finished = true end },
}

local function run_command(self, name, argument)
  local found
  for _, c in ipairs(COMMANDS) do
    if c.name == name then
      found = c
      break
    elseif name ~= "" and c.name:sub(1, #name) == name then
      found = found == nil and c -- false when several begin so
    end
  end
  if not found then
    return note(self, "there is no command %s; :help lists them", text.quote(":" .. name))
  end
  if argument ~= "" and not found.argument then
    return note(self, ":%s takes no argument%s", found.name,
      found.name == "help" and "; the functions are described in docs/reference.md" or "")
  end
  found.run(self, argument)
end

-- ---- the session ----

---@param options fleet.ReplOptions
---@return fleet.Repl
function repl.new(options)
  return setmetatable({
    targets = options.targets, start = options.start, out = options.out, err = options.err,
    now = options.now, width = options.width, color = options.color,
    interactive = options.interactive, env = options.env, load_text = options.load,
    where = "local", lines = {}, count = 0, kept = 0, finished = false,
  }, Repl)
end

--- Loads code as the next chunk of the session.
---@param code string
---@return function|nil f
---@return string chunkname
---@return string|nil message what is wrong with it
---@return boolean|nil incomplete
function Repl:load(code)
  local chunkname = ("=repl:%d"):format(self.count + 1)
  local f, message, incomplete = evaluate.load(code, chunkname, self.load_text)
  if not f then return nil, chunkname, message, incomplete end
  self.count = self.count + 1
  return f, chunkname
end

--- Returns the prompt: where code runs; or ">>" for a continuation line.
---@return string with escape sequences between two bytes \1
function Repl:prompt()
  local name = text.escape(self.where)
  if #self.lines > 0 then return (" "):rep(math.max(text.width(name) - 1, 0)) .. ">> " end
  if not self.color then return name .. "> " end
  return ("\1\27[1m\1%s\1\27[0m\1> "):format(name)
end

-- Commands of other prompts, which have no value here.
local ELSEWHERE = { exit = ":quit", quit = ":quit", q = ":quit", help = ":help" }

--- Takes a line. Waits while the chunk that it completes runs.
---@param line string may have line feeds inside
---@return string|nil entry for the history, when the input was complete or was abandoned
function Repl:feed(line)
  local first = #self.lines == 0
  local name, argument = line:match("^%s*:(%a*)%s*(.-)%s*$")
  if first and name then
    run_command(self, name, argument)
    return line
  elseif first and not line:find("%S") then
    return nil
  end
  local word = first and line:match("^%s*(%a+)%s*%(?%s*%)?%s*$")
  if ELSEWHERE[word] and self.env[word] == nil then
    note(self, "the command is %s", ELSEWHERE[word])
    return line
  end
  self.lines[#self.lines + 1] = line
  local code = table.concat(self.lines, "\n")
  local f, chunkname, message, incomplete = self:load(code)
  local abandoned = self.interactive and not first and line == ""
  if incomplete and not abandoned then return nil end
  self.lines = {}
  if f then
    evaluate_chunk(self, f, code, chunkname)
  else
    report(self, message)
  end
  return code
end

--- Abandons an incomplete chunk: after Ctrl-C at the prompt, or at the end of the input.
---@param is_end? boolean the end of the input: reports what is missing
function Repl:abandon(is_end)
  if is_end and #self.lines > 0 then
    report(self, (select(3, self:load(table.concat(self.lines, "\n")))))
  end
  self.lines = {}
end

--- Stops the running code, if any; its values are never written.
---@return boolean whether any was running
function Repl:cancel()
  local running = self.running
  if not running then return false end
  self.cancelled = true
  if running.on_cancel then running.on_cancel() end
  running.task:cancel()
  return true
end

--- Returns text that code printed on a node, as lines.
---@param node string
---@param s string
---@return string
function Repl:printed(node, s)
  return labelled(self, node, text.plain(s))
end

--- Completes the word at the cursor, as complete.at does. May wait for the nodes.
---@param line string
---@param cursor integer
---@return string[] words
---@return integer start
function Repl:complete(line, cursor)
  local commands = {}
  for _, c in ipairs(COMMANDS) do commands[c.name] = c.is_code or false end
  commands.on = function()
    local words = self.targets:names() or {}
    return table.move({ "all", "local" }, 1, 2, #words + 1, words)
  end
  return complete.at({ env = self.env, commands = commands }, line, cursor)
end

return repl
