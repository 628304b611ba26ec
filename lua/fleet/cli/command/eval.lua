-- SPDX-License-Identifier: MIT
-- `moonfleet eval`: code of the command line on a node, or on all.

local errors = require("fleet.errors")
local evaluate = require("fleet.repl.evaluate")
local json = require("fleet.json")
local pretty = require("fleet.base.pretty")
local program = require("fleet.cli.program")
local source_cache = require("fleet.ship.source_cache")
local sys = require("host.sys")
local targets = require("fleet.repl.targets")
local text = require("fleet.base.text")

local CHUNK = "=eval"
local ARGUMENTS = "local arg = {...} "

local usage = errors.formatter("usage")

local function on_print(node, s)
  local label = text.escape(node) .. ": "
  io.stdout:flush()
  io.stderr:write(label, (text.plain(s):gsub("\n", "\n" .. label)), "\n")
end

--- Writes an error on one line, and the remote traceback below.
local function report(err, node)
  program.note("%s%s", node and not err.node and text.escape(node) .. ": " or "",
    pretty.error(err))
end

-- ---- results ----

--- The one value of a reply, or a list of its values.
local function json_value(reply)
  if reply.shown then
    local _, shown = next(reply.shown)
    return nil, errors.format("encode", "the value cannot be written as JSON: %s", shown)
  end
  if reply.n <= 1 then return json.encode(reply[1]) end
  local parts = {}
  for i = 1, reply.n do
    local part, err = json.encode(reply[i])
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
  elseif reply.n == 1 and type(reply[1]) == "string" then
    local s = sys.isatty(1) and text.plain(reply[1]) or reply[1]
    io.write(s, s:find("\n$") and "" or "\n")
  elseif reply.n > 0 then
    io.write(evaluate.format(reply, { width = sys.isatty(1) and sys.width() or 80 }), "\n")
  end
  return true
end

--- "name: value", on one line.
local function line_of(name, reply)
  local shown = evaluate.format(reply, { width = math.huge })
  if reply.n == 1 and type(reply[1]) == "string" then shown = reply[1] end
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
        report(err, name)
      end
    elseif reply then
      io.write(line_of(name, reply))
    end
  end
  if flags.json then io.write("{", table.concat(parts, ","), "}\n") end
  return ok
end

-- ---- evaluating ----

local function evaluate_on_one(state, flags, ...)
  local future, err = state.targets:send(flags.node, flags.timeout, ...)
  if not future then return nil, err end
  state.futures[1] = future
  local reply
  reply, err = future:wait()
  if not reply and err.kind == "connect" then return nil, err end
  if not reply then
    report(err)
    return program.FAILED
  end
  local ok, why = write_reply(reply, flags)
  if not ok then return nil, why end
  return program.OK
end

local function evaluate_on_all(state, flags, ...)
  local began = sys.now()
  local names, others = state.targets:names(flags.timeout and flags.timeout / 2)
  if not names then return nil, others end
  if #names == 0 then
    return nil, others[1] or errors.format("connect", "no node can be used: all have left")
  end
  -- the search for the nodes is part of the time
  local seconds = flags.timeout and math.max(0.001, began + flags.timeout - sys.now())
  local futures, replies, ok, err = state.futures, {}, #others == 0
  for _, why in ipairs(others) do report(why) end
  for i, name in ipairs(names) do
    futures[i], err = state.targets:send(name, seconds, ...)
    if not futures[i] then return nil, err end
  end
  for i, name in ipairs(names) do
    replies[name], err = futures[i]:wait()
    if not replies[name] then
      report(err, name)
      ok = false
    end
  end
  return write_all(names, replies, flags) and ok and program.OK or program.FAILED
end

local function check_node(state, name)
  local names, err = state.targets:names()
  if not names then return nil, err end
  for _, known in ipairs(names) do
    if known == name then return true end
  end
  return nil, errors.format("connect", "there is no usable node %s; there are %s", text.quote(name),
    table.concat(names, ", "))
end

local function evaluate_code(state, flags, ...)
  if flags.all then return evaluate_on_all(state, flags, ...) end
  if flags.node then
    local ok, err = check_node(state, flags.node)
    if not ok then return nil, err end
  end
  return evaluate_on_one(state, flags, ...)
end

local function read_code(word)
  if word ~= "-" then return word end
  local code, message = source_cache.read()
  return code, message and usage("%s", message)
end

---@param invocation fleet.cli.Invocation
---@return integer|nil exit code
---@return fleet.Error|nil
return function(invocation)
  local flags, args = invocation.flags, invocation.args
  if flags.node and flags.all then return nil, usage("--node and --all exclude each other") end
  local code, err = read_code(table.remove(args, 1))
  if not code then return nil, err end
  -- what is wrong with the code is known before any node is needed
  local prologue = ARGUMENTS .. evaluate.prologue(code)
  local function load_text(chunk, name) return load(chunk, name, "t") end
  local f, message = evaluate.load(code, CHUNK, load_text, prologue)
  if not f then return nil, usage("%s", message) end
  local state = { futures = {} }
  state.targets = targets.new({ on_print = on_print, loader = load_text })
  return program.run(function()
    return evaluate_code(state, flags, code, CHUNK, prologue, table.unpack(args))
  end, function(_, running)
    for _, future in ipairs(state.futures) do future:cancel() end
    running:cancel()
    return true
  end, function() state.targets:close() end)
end
