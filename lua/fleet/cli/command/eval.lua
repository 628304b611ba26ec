-- SPDX-License-Identifier: MIT
-- `moonfleet eval`: code of the command line on a node, or on all.

local chunks = require("fleet.ship.chunks")
local errors = require("fleet.errors")
local evaluate = require("fleet.repl.evaluate")
local host_driver = require("host.driver")
local json = require("fleet.json")
local pretty = require("fleet.base.pretty")
local sys = require("host.sys")
local targets = require("fleet.repl.targets")
local task = require("host.task")
local text = require("fleet.base.text")

local OK, FAILED, NO_WORKERS = 0, 1, 3
local INTERRUPTED = { INT = 130, TERM = 143 }

local CHUNK = "=eval"
local ARGUMENTS = "local arg = {...} "

local usage = errors.formatter("usage")

local function say(s)
  io.stdout:flush()
  io.stderr:write(s)
end

local function on_print(node, s)
  local label = text.escape(node) .. ": "
  say(label .. text.plain(s):gsub("\n", "\n" .. label) .. "\n")
end

--- One line, and the remote traceback below.
local function complain(err, node)
  local where = node and not err.node and text.escape(node) .. ": " or ""
  say(("moonfleet: %s%s\n"):format(where, pretty.error(err)))
end

-- ---- results ----

--- The one value of a reply, or a list of its values.
local function json_value(reply)
  for i = 1, reply.n do
    if reply[i].shown then
      return nil, errors.new({
        kind = "encode", message = "the value cannot be written as JSON: " .. reply[i].shown,
      })
    end
  end
  local values = evaluate.values(reply)
  if reply.n <= 1 then return json.encode(values[1]) end
  local parts = {}
  for i = 1, values.n do
    local part, err = json.encode(values[i])
    if not part then return nil, err end
    parts[i] = part
  end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function write_reply(reply, flags)
  if flags.json then
    local shown, err = json_value(reply)
    if not shown then return nil, err end
    io.write(shown, "\n")
  elseif reply.n == 1 and type(reply[1].value) == "string" then
    local s = sys.isatty(1) and text.plain(reply[1].value) or reply[1].value
    io.write(s, s:find("\n$") and "" or "\n")
  elseif reply.n > 0 then
    io.write(evaluate.format(reply, { width = sys.isatty(1) and sys.width() or 80 }), "\n")
  end
  return true
end

--- "name: value", on one line.
local function line_of(name, reply)
  local shown = evaluate.format(reply, { width = math.huge })
  if reply.n == 1 and type(reply[1].value) == "string" then shown = reply[1].value end
  return ("%s: %s\n"):format(text.escape(name), text.escape(shown))
end

local function write_all(names, replies, flags)
  local ok, parts = true, {}
  for _, name in ipairs(names) do
    local reply = replies[name]
    if reply and flags.json then
      local shown, err = json_value(reply)
      if shown then
        parts[#parts + 1] = ("%s:%s"):format(json.encode(name), shown)
      else
        ok = false
        complain(err, name)
      end
    elseif reply then
      io.write(line_of(name, reply))
    end
  end
  if flags.json then io.write("{", table.concat(parts, ","), "}\n") end
  return ok
end

-- ---- evaluating ----

local function on_one(state, flags, ...)
  local future, err = state.targets:send(flags.node, flags.timeout, ...)
  if not future then return nil, err end
  state.futures[1] = future
  local reply
  reply, err = future:wait()
  if not reply and err.kind == "connect" then return nil, err end
  if not reply then
    complain(err)
    return FAILED
  end
  local ok, why = write_reply(reply, flags)
  if not ok then return nil, why end
  return OK
end

local function on_all(state, flags, ...)
  local began = sys.now()
  local names, others = state.targets:names(flags.timeout and flags.timeout / 2)
  if not names then return nil, others end
  if #names == 0 then return nil, others[1] end
  -- what finding them took is part of the time
  local seconds = flags.timeout and math.max(0.001, began + flags.timeout - sys.now())
  local futures, replies, code, err = {}, {}, OK
  for _, why in ipairs(others) do
    complain(why)
    code = FAILED
  end
  for _, name in ipairs(names) do
    futures[name], err = state.targets:send(name, seconds, ...)
    if not futures[name] then return nil, err end
    state.futures[#state.futures + 1] = futures[name]
  end
  for _, name in ipairs(names) do
    replies[name], err = futures[name]:wait()
    if not replies[name] then
      complain(err, name)
      code = FAILED
    end
  end
  if not write_all(names, replies, flags) then code = FAILED end
  return code
end

local function check_node(state, name)
  local names, err = state.targets:names()
  if not names then return nil, err end
  for _, known in ipairs(names) do
    if known == name then return true end
  end
  return nil, errors.new({
    kind = "connect",
    message = ("there is no node %s that can be used; there are %s"):format(text.quote(name),
      table.concat(names, ", ")),
  })
end

local function work(state, flags, ...)
  if flags.all then return on_all(state, flags, ...) end
  if flags.node then
    local ok, err = check_node(state, flags.node)
    if not ok then return nil, err end
  end
  return on_one(state, flags, ...)
end

--- In a task, so that a signal can end it wherever it waits.
local function run(state, flags, ...)
  state.work = task.start(work, state, flags, ...)
  task.spawn(function()
    state.ended_by = host_driver.wait_signal()
    for _, future in ipairs(state.futures) do future:cancel() end
    state.work:cancel()
  end)
  local ok, code, err = state.work:join()
  if state.ended_by then return INTERRUPTED[state.ended_by] end
  if not ok then error(("%s\n%s"):format(tostring(code), tostring(err)), 0) end
  return code, err
end

local function read_code(word)
  if word ~= "-" then return word end
  local code = io.stdin:read("a")
  if not code then return nil, usage("stdin cannot be read") end
  return chunks.source(code)
end

---@param invocation fleet.cli.Invocation
---@return integer|nil exit code
---@return fleet.Error|nil
return function(invocation)
  local flags, args = invocation.flags, invocation.args
  if flags.node and flags.all then return nil, usage("--node and --all exclude each other") end
  local code, err = read_code(table.remove(args, 1))
  if not code then return nil, err end
  -- what is wrong with it is known here already
  local prologue = ARGUMENTS .. evaluate.prologue(code)
  local f, message = evaluate.load(code, CHUNK, function(chunk, name)
    return load(chunk, name, "t")
  end, prologue)
  if not f then return nil, usage("%s", message) end
  local state = { futures = {} }
  state.targets = targets.new({
    on_print = on_print,
    loader = function(chunk, name)
      chunks.record(name, chunk)
      return load(chunk, name, "t")
    end,
  })
  local exit
  exit, err = run(state, flags, code, CHUNK, prologue, table.unpack(args))
  state.targets:close()
  if err and err.kind == "connect" then return nil, err, NO_WORKERS end
  return exit, err
end
