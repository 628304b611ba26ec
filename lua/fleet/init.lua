-- SPDX-License-Identifier: MIT
-- The public library, in driver scripts, at the REPL and in tasks. Submodules (fleet.http,
-- fleet.digest, fleet.json, fleet.xml, fleet.log, fleet.rpc) are required by their own names.
--
-- Functions travel by their source with the values they captured (see fleet.ship). Expected
-- failures return nil and an error (see fleet.errors); misuse raises. Times are in seconds.
-- Everything that talks to nodes waits: other tasks of the process run meanwhile.

local check = require("fleet.base.check")
local errors = require("fleet.errors")
local future = require("fleet.base.future")
local input = require("fleet.run.input")
local task = require("host.task")
local unready = require("fleet.cluster.node_error")

local fleet = {}

local misuse = check.misuse

-- Tasks have no connections: they ask their driver.
local in_task = package.preload["host.job"] ~= nil

-- Nobody waits for ever by default.
local CALL_TIMEOUT = 60

-- `patience`: seconds to wait for the nodes at the first use, nil for as long as it takes.
local function backend(patience)
  if in_task then return require("fleet.worker.client").get() end
  return require("fleet.driver").get(patience)
end

-- The same for calls, whose time limit begins here: also returns their options.
local function backend_within(options)
  if in_task then return require("fleet.worker.client").get(), options end
  local driver = require("fleet.driver")
  local began = require("host.sys").now()
  local b, err = driver.get(options.timeout / 2) -- nodes without an answer are left out
  if not b then return nil, err end
  return b, { timeout = options.timeout, cast = options.cast, began = began }
end

-- Calls of many functions, or on many nodes, raise what says that they cannot begin, so that
-- nobody takes a nil for their results: that no node can be used, unless the caller wants to see
-- that, and what was not right with the call or the command line.
local RAISED = { connect = true, usage = true, config = true, input = true, output = true }

local function cannot_begin(err, options)
  if RAISED[err.kind] and not (err.kind == "connect" and options.on_no_workers == "return") then
    errors.cannot_begin(err)
  end
  return nil, err
end

local function on_no_workers_rule(value)
  if value == "raise" or value == "return" then return true end
  return nil, "must be 'raise' or 'return'"
end

--- In place of a node: the one with the least to do.
fleet.any = setmetatable({}, {
  __name = "fleet.any",
  __metatable = false,
  __tostring = function() return "fleet.any" end,
})

-- Waits for a future; when that ends early (the task that waits is cancelled), so does the call.
local function wait_for(result)
  local _ <close> = result
  return result:wait()
end

local function check_function(what, f)
  if type(f) ~= "function" then
    misuse("%s: a function expected, got %s", what, type(f))
  end
end

-- A node is given by its name or address, or as fleet.nodes() describes it.
local function target_of(what, node)
  if node == fleet.any then return {} end
  if type(node) == "string" then return { node = node } end
  if type(node) == "table" and type(node.name) == "string" then return { node = node.name } end
  return misuse("%s: a node expected (its name, an entry of fleet.nodes(), or fleet.any), got %s",
    what, type(node))
end

--- @class fleet.NodeInfo
--- @field name string
--- @field address string as it was given
--- @field zone string|nil
--- @field state "ready"|"draining"|"skew"|"down"|"suspect"|"full"|"connecting" suspect: it has not
--- answered for 5 seconds; full: it takes no more drivers for now
--- @field workers integer
--- @field running integer tasks begun
--- @field queued integer tasks sent to workers and not begun
--- @field release string|nil
--- @field rtt number|nil seconds that its answer took; nil when it has not answered
--- @field error string|nil why it is not ready

--- The nodes of the fleet, also those that cannot be used. All are asked now, for a second at most;
--- one that does not answer in time is shown as it was last known to be, without `rtt`. It is
--- "suspect" after 5 seconds without an answer and "down" after 15, or at once when nobody listens
--- at its address any more. Where a task runs, it counts among the `running` of its node.
---@return fleet.NodeInfo[]|nil nodes, or nil and an error
---@return fleet.Error|nil
function fleet.nodes()
  local b, err = backend()
  if not b then return nil, err end
  return b:nodes()
end

-- ---- calls ----

local CALL_OPTIONS = { timeout = check.positive, on_no_workers = on_no_workers_rule }

-- The functions that call, with the options of fleet.with.
local function make_calls(options)
  local api = {}
  local timeout = options.timeout or CALL_TIMEOUT
  local plain, for_cast = { timeout = timeout }, { timeout = timeout, cast = true }

  --- Runs f(...) on a node; as fleet.call, but returns a future at once (see fleet.future):
  --- `wait(timeout)`, `check()`, `cancel()`, `progress()`.
  ---@param node string|fleet.NodeInfo name, address, entry of fleet.nodes(), or fleet.any
  ---@param f function
  ---@param ... any
  ---@return fleet.Future|nil future, or nil and an error when nothing was sent
  ---@return fleet.Error|nil
  function api.send(node, f, ...)
    local target = target_of("fleet.send", node)
    check_function("fleet.send", f)
    local b, limits = backend_within(plain)
    if not b then return nil, limits end
    return b:send(target, f, table.pack(...), limits)
  end

  --- Runs f(...) on a node, once at most, and returns its values; or nil and an error: what f
  --- raised (kind "raise"), or why there is no result. `applied` in the error says whether f
  --- may have run.
  ---@param node string|fleet.NodeInfo name, address, entry of fleet.nodes(), or fleet.any
  ---@param f function
  ---@param ... any
  ---@return any ...
  function api.call(node, f, ...)
    local target = target_of("fleet.call", node)
    check_function("fleet.call", f)
    local b, limits = backend_within(plain)
    if not b then return nil, limits end
    local result, err = b:send(target, f, table.pack(...), limits)
    if not result then return nil, err end
    return wait_for(result)
  end

  --- Starts f(...) on a node and returns as soon as it has begun there. It has no time limit, what
  --- it prints is seen as ever, and it may use the library; its values are dropped, and its error
  --- is logged by the driver. It ends with its worker or with the driver, and a node that drains
  --- waits for it.
  ---@param node string|fleet.NodeInfo name, address, entry of fleet.nodes(), or fleet.any
  ---@param f function
  ---@param ... any
  ---@return true|nil accepted, or nil and an error
  ---@return fleet.Error|nil
  function api.cast(node, f, ...)
    local target = target_of("fleet.cast", node)
    check_function("fleet.cast", f)
    local b, limits = backend_within(for_cast)
    if not b then return nil, limits end
    local result, err = b:send(target, f, table.pack(...), limits)
    if not result then return nil, err end
    local _, failure = wait_for(result)
    if result:failed() then return nil, failure end
    return true
  end

  --- Runs f(...) on every node, at the same time. A node that is not ready (see fleet.nodes) is
  --- among the failures, with kind "connect", "draining" or "skew"; one that does not answer within
  --- the time limit, with kind "timeout". That no node can be used at all is raised, as fleet.pmap
  --- does.
  ---@param f function
  ---@param ... any
  ---@return table<string, any>|nil results the first value of each by name of the node; or nil
  --- and an error when f cannot travel
  ---@return table<string, fleet.Error>|fleet.Error failures by name of the node; may be empty
  function api.multicall(f, ...)
    check_function("fleet.multicall", f)
    local b, limits = backend_within(plain)
    if not b then return cannot_begin(limits, options) end
    local nodes, err = b:nodes(true)
    if not nodes then return nil, err end
    local args, names, futures, failures = table.pack(...), {}, {}, {}
    for _, n in ipairs(nodes) do
      if n.state == "ready" then
        local f_node
        f_node, err = b:send({ node = n.name }, f, args, limits)
        if not f_node then return nil, err end -- the function cannot travel
        names[#names + 1], futures[#futures + 1] = n.name, f_node
      else
        failures[n.name] = unready(n)
      end
    end
    local values, results = wait_for(future.all(futures)), {}
    for i, f_node in ipairs(futures) do
      if f_node:failed() then
        failures[names[i]] = values[i]
      else
        results[names[i]] = values[i]
      end
    end
    return results, failures
  end

  --- Runs f(...) in every worker: in those there are, before it returns, and in each that
  --- comes later, before its first task. For what all tasks of this driver are to find there:
  --- global variables that f sets are seen by every function that is shipped afterwards.
  ---@param f function
  ---@param ... any
  ---@return true|nil true, or nil and an error when it failed in a worker there is now
  ---@return fleet.Error|nil
  function api.everywhere(f, ...)
    check_function("fleet.everywhere", f)
    local b, limits = backend_within(plain)
    if not b then return nil, limits end
    return b:everywhere(f, table.pack(...), limits)
  end

  return api
end

for name, f in pairs(make_calls({})) do fleet[name] = f end

--- The functions call, send, cast, multicall and everywhere with other options than the usual:
--- `timeout` (60, math.huge for none) seconds from the call to its result, queueing and connecting
--- included; `on_no_workers` ("raise") as fleet.pmap, for multicall. Without a result by then, the
--- error is of kind "timeout".
---@param options {timeout: number|nil, on_no_workers: string|nil}
---@return table functions by name
function fleet.with(options)
  local calls = make_calls(check.options("fleet.with", options, CALL_OPTIONS))
  return check.module("fleet.with(...)", calls)
end

-- ---- maps ----

-- More than any use. Of retries, items in flight and items in a batch.
local MAX_COUNT = 1000000

local MAP_OPTIONS = {
  timeout = check.positive, deadline = check.positive, retries = check.integer(0, MAX_COUNT),
  retry_on = "function", backoff = check.non_negative, concurrency = check.integer(1, MAX_COUNT),
  order = "boolean", on_error = "function", on_progress = "function", speculate = "boolean",
  journal = "string", on_no_workers = on_no_workers_rule,
  batch = function(value)
    if value == "auto" or check.integer(1, MAX_COUNT)(value) then return true end
    return nil, "must be 'auto' or an integer from 1 to 1000000"
  end,
  nodes = function(value)
    if type(value) == "table" or type(value) == "function" then return true end
    return nil, "must be a list of node names, or a function(node) that selects"
  end,
}

-- Calls have their order, and are no items that could be known again.
local EVAL_OPTIONS = {}
for name, rule in pairs(MAP_OPTIONS) do EVAL_OPTIONS[name] = rule end
EVAL_OPTIONS.order, EVAL_OPTIONS.journal = nil, nil

-- What a task may pass on to the driver; functions stay where they are.
local PLAIN = {
  "timeout", "deadline", "retries", "backoff", "concurrency", "order", "speculate", "batch",
  "nodes",
}

local function choose_nodes(b, selection)
  if type(selection) ~= "function" then return selection end
  local nodes, err = b:nodes()
  if not nodes then return nil, err end
  local names = {}
  for _, n in ipairs(nodes) do
    if selection(n) then names[#names + 1] = n.name end
  end
  return names
end

local function map_options(what, b, opts)
  local chosen, err = choose_nodes(b, opts.nodes)
  if err then return nil, err end
  opts.nodes = chosen
  if in_task then
    for _, name in ipairs({ "retry_on", "on_progress", "journal" }) do
      if opts[name] then misuse("%s: option '%s' is for drivers only", what, name) end
    end
  end
  opts.plain = {}
  for _, name in ipairs(PLAIN) do opts.plain[name] = opts[name] end
  return opts
end

-- A list or an iterator function as a source.
local function source_of(what, list)
  if type(list) == "function" then
    return function() return (list()) end
  elseif type(list) ~= "table" then
    misuse("%s: a list or an iterator function expected, got %s", what, type(list))
  end
  local n = check.length(list)
  local fault = input.list_fault(list, n)
  if fault then misuse("%s: %s", what, fault) end
  return input.limit(input.words(list), n), n
end

-- What stands for an item that failed.
local function failure_value(on_error, err, item)
  if not on_error then return err end
  return on_error(err, item)
end

--- Runs f(item) for every element of a list over the pool and returns the results, in order.
--- Items whose node or worker was lost run again elsewhere, at most `retries` (2) more times;
--- errors of f stand in their places. What an iterator raises ends the map, and is raised.
--- Options:
---   timeout      seconds for one item, from its start; none by default
---   deadline     seconds for the whole map; what is not done then fails with kind "deadline"
---   retries      2; 0: never run anything twice, also when its fate is unknown
---   retry_on     function(err) -> whether an item that failed with err runs again
---   backoff      seconds before the first such repetition, doubled each time, with jitter
---   concurrency  items at a time in each worker, 64
---   batch        items in a message, "auto"
---   order        true; false: results as they complete
---   on_error     function(err, item) -> value to stand in its place; what it raises ends the map
---   on_progress  function(item number, value) for what tasks say by fleet.progress; may not wait;
---                what it raises ends the map
---   nodes        names of nodes to use, or function(node) -> whether to use it
---   speculate    false; true: late items also run elsewhere (f must be idempotent)
---   journal      file that results are kept in; those that are in it do not run again
---   on_no_workers "raise"; "return": return nil and the error when no node can be used
--- That no node can be used, and a journal that cannot be, is raised as an error table (kinds
--- "connect" and "usage"); `moonfleet run` ends with exit code 3 and 2 then. Later losses of all
--- nodes are errors in the places of the items.
---@param f function
---@param list any[]|fun(): any list without nil, or an iterator that ends with nil
---@param opts table|nil
---@return any[]|nil results with `n`; or nil and an error when nothing could run
---@return integer|fleet.Error failed number of results that are errors
---@return fleet.Error|nil err what ended the map before its items did: the deadline, no node left,
---a journal that cannot be written. Nothing else tells of what an iterator still had
function fleet.pmap(f, list, opts)
  check_function("fleet.pmap", f)
  opts = check.options("fleet.pmap", opts, MAP_OPTIONS)
  local source, n = source_of("fleet.pmap", list)
  local b, err = backend()
  if not b then return cannot_begin(err, opts) end
  opts, err = map_options("fleet.pmap", b, opts)
  if not opts then return nil, err end
  local results, count, failed = {}, 0, 0
  local ok, why = b:map(f, source, opts, function(item, fine, value)
    count = count + 1
    if not fine then
      failed = failed + 1
      value = failure_value(opts.on_error, value, item)
    end
    results[count] = value
    return true
  end)
  if not ok and count == 0 and n ~= 0 then return cannot_begin(why, opts) end
  if not ok then -- what had not even been admitted
    for i = count + 1, n or count do
      failed = failed + 1
      results[i] = failure_value(opts.on_error, errors.new({
        kind = why.kind, message = why.message, applied = "no",
      }), list[i])
    end
  end
  results.n = n or count
  if why then return results, failed, why end
  return results, failed
end

-- Hands values from one task to another, one at a time.
local function channel()
  local self = { given = task.signal(), taken = task.signal() }
  function self.give(...)
    while self.value and not self.closed do self.taken:wait() end
    if self.closed then return nil, errors.new({ kind = "cancelled", message = "nobody asks" }) end
    self.value = table.pack(...)
    self.given:notify()
    return true
  end
  function self.take()
    while not self.value and not self.finished do self.given:wait() end
    local value = self.value
    self.value = nil
    self.taken:notify()
    return value
  end
  return self
end

--- Iterates over the results of a map as they complete, holding only a few at a time:
---   for item, value, err in fleet.each(f, list, opts) do ... end
--- `err` is nil when the item ended well. Leaving the loop early ends the map. What goes wrong as
--- a whole (no node, the deadline) is raised. Options as fleet.pmap; `order` is false here. In a
--- task the results of up to 4,096 items come at a time, when all of these have ended.
---@param f function
---@param list any[]|fun(): any
---@param opts table|nil
---@return fun(): any, any, fleet.Error|nil
function fleet.each(f, list, opts)
  check_function("fleet.each", f)
  opts = check.options("fleet.each", opts, MAP_OPTIONS)
  if opts.order == nil then opts.order = false end
  local source = source_of("fleet.each", list)
  local b, err = backend()
  if not b then return cannot_begin(err, {}) end
  opts, err = map_options("fleet.each", b, opts)
  if not opts then error(err, 2) end
  local c, under_way = channel(), nil
  local function abort()
    if under_way then
      under_way:abort(errors.new({ kind = "cancelled", message = "the loop was left" }))
    end
  end
  task.spawn(function()
    local fine, ok, why = pcall(b.map, b, f, source, opts, function(item, done, value)
      if done then return c.give(item, value) end
      return c.give(item, failure_value(opts.on_error, value, item), not opts.on_error and value
        or nil)
    end, function(map)
      under_way = map
      if c.closed then abort() end
    end)
    c.failure = not fine and ok or not ok and why or nil
    c.unstartable = fine and not ok and RAISED[why.kind]
    c.finished = true
    c.given:notify()
  end)
  local function next_result()
    local value = c.take()
    if value then return table.unpack(value, 1, 3) end
    if c.unstartable and not c.closed then errors.cannot_begin(c.failure) end
    if c.failure and not c.closed then error(c.failure, 0) end
    return nil
  end
  local guard = setmetatable({}, {
    __close = function()
      c.closed = true
      c.taken:notify()
      abort()
    end,
  })
  return next_result, nil, nil, guard
end

--- Runs several calls over the pool, each {f, args...}, and returns the first value of each, in
--- their order; errors stand in their places. Options as fleet.pmap, without `order` and `journal`.
---@param calls table[]
---@param opts table|nil
---@return any[]|nil results with `n`; or nil and an error when nothing could run
---@return integer|fleet.Error failed number of results that are errors
---@return fleet.Error|nil err what ended it early, as with fleet.pmap
function fleet.parallel_eval(calls, opts)
  opts = check.options("fleet.parallel_eval", opts, EVAL_OPTIONS)
  if type(calls) ~= "table" then
    misuse("fleet.parallel_eval: a list of {f, args...} expected, got %s", type(calls))
  end
  local ship = require("fleet.ship")
  local items, modules = {}, {}
  for i = 1, check.length(calls) do
    local call = calls[i]
    if type(call) ~= "table" or type(call[1]) ~= "function" then
      misuse("fleet.parallel_eval: element %d is no {f, args...}", i)
    end
    local packed, err = ship.pack(call[1])
    if not packed then return nil, err end
    for name, hash in pairs(packed.modules) do modules[name] = hash end
    local bytes
    bytes, err = ship.encode(packed)
    if not bytes then return nil, err end
    items[i] = { packed = bytes, args = table.pack(table.unpack(call, 2, check.length(call))) }
  end
  local b, err = backend()
  if not b then return cannot_begin(err, opts) end
  opts, err = map_options("fleet.parallel_eval", b, opts)
  if not opts then return nil, err end
  opts.modules = modules
  local results, failed = { n = #items }, 0
  local count = 0
  local ok, why = b:map(nil, input.words(items), opts, function(_, fine, value)
    count = count + 1
    if fine then
      results[count] = value[1]
    else
      failed = failed + 1
      results[count] = failure_value(opts.on_error, value, calls[count])
    end
    return true
  end)
  if not ok and count == 0 and #items > 0 then return cannot_begin(why, opts) end
  for i = count + 1, #items do
    failed = failed + 1
    results[i] = failure_value(opts.on_error, why, calls[i])
  end
  if why then return results, failed, why end
  return results, failed
end

fleet.race, fleet.all = future.race, future.all

-- ---- inside a task ----

--- Waits; other tasks of this process run meanwhile. Raises where waiting is
--- impossible (a table.sort comparator, a string.gsub callback, __gc).
---@param seconds number not negative
function fleet.sleep(seconds)
  local number = tonumber(seconds)
  if not check.non_negative(number) then
    misuse("fleet.sleep: seconds expected, a number of at least 0, got %s",
      number and tostring(number) or type(seconds))
  end
  task.sleep(number)
end

--- Where this runs: {node=, worker=, attempt=} inside a task; nil in the driver.
---@return {node: string, worker: integer, attempt: integer}|nil
function fleet.self()
  if not in_task then return nil end
  local who = require("host.job").self()
  return { node = who.node, worker = who.worker, attempt = who.attempt }
end

--- Tells the driver how far this task is: any value that can travel. The latest counts; it is
--- seen by `on_progress` of the map, or `progress()` of the future. Raises outside a task.
---@param value any
---@return boolean|nil whether the driver will see it; nil and an error when the value cannot travel
---@return fleet.Error|nil
function fleet.progress(value)
  if not in_task then misuse("fleet.progress can only be called inside a task") end
  return require("host.job").output("progress", value)
end

return check.module("fleet", fleet)
