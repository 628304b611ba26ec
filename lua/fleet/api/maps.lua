-- SPDX-License-Identifier: MIT
-- The functions of the library that run a function for every item of a list or of an iterator.

local backend = require("fleet.api.backend")
local check = require("fleet.base.check")
local errors = require("fleet.errors")
local input = require("fleet.run.input")
local task = require("host.task")

local maps = {}

-- Of retries, of items in flight and of items in a batch: more than any use needs.
local MAX_COUNT = 1000000

local MAP_OPTIONS = {
  timeout = check.positive, deadline = check.positive, retries = check.integer(0, MAX_COUNT),
  retry_on = "function", backoff = check.non_negative, concurrency = check.integer(1, MAX_COUNT),
  order = "boolean", on_error = "function", on_progress = "function", speculate = "boolean",
  journal = "string", on_no_workers = backend.ON_NO_WORKERS,
  batch = function(value)
    if value == "auto" or check.integer(1, MAX_COUNT)(value) then return true end
    return nil, ("must be 'auto' or an integer from 1 to %d"):format(MAX_COUNT)
  end,
  nodes = function(value)
    if type(value) == "table" or type(value) == "function" then return true end
    return nil, "must be a list of node names, or a function(node) that selects"
  end,
}

-- Calls have their order, and are not items that a journal could recognise.
local EVAL_OPTIONS = {}
for name, rule in pairs(MAP_OPTIONS) do EVAL_OPTIONS[name] = rule end
EVAL_OPTIONS.order, EVAL_OPTIONS.journal = nil, nil

-- Completes the options of a map and returns the backend that runs it; or nil and an error.
local function begin(what, opts)
  local b, err = backend.get()
  if not b then return nil, err end
  if type(opts.nodes) == "function" then
    local nodes, why = b:nodes()
    if not nodes then return nil, why end
    local names = {}
    for _, n in ipairs(nodes) do
      if opts.nodes(n) then names[#names + 1] = n.name end
    end
    opts.nodes = names
  end
  for _, name in ipairs(backend.in_task and { "retry_on", "on_progress", "journal" } or {}) do
    if opts[name] then check.misuse("%s: option '%s' is for drivers only", what, name) end
  end
  local plain = {} -- what a task passes on to the driver; functions stay here
  for name, value in pairs(opts) do
    if type(value) ~= "function" then plain[name] = value end
  end
  opts.plain = plain
  return b
end

-- A list or an iterator function as a source; and the number of items, if that is known.
local function source_of(what, list)
  if type(list) == "function" then
    return function() return (list()) end
  elseif type(list) ~= "table" then
    check.misuse("%s: a list or an iterator function expected, got %s", what, type(list))
  end
  local n = check.length(list)
  local fault = input.list_fault(list, n)
  if fault then check.misuse("%s: %s", what, fault) end
  return input.words(list, n), n
end

-- Runs a map and returns what fleet.pmap returns. `list` has the `n` items (nil for an iterator);
-- with `of_calls` it has the calls that the items of the source stand for, in order.
local function collect(b, f, source, opts, list, n, of_calls)
  local results, count, failed = {}, 0, 0
  local function failure(err, item)
    failed = failed + 1
    if opts.on_error then return opts.on_error(err, item) end
    return err
  end
  local ok, why = b:map(f, source, opts, function(item, ok, value)
    count = count + 1
    if not ok then
      value = failure(value, of_calls and list[count] or item)
    elseif of_calls then
      value = value[1]
    end
    results[count] = value
    return true
  end)
  if not ok and count == 0 and n ~= 0 then return backend.cannot_begin(why, opts) end
  for i = count + 1, not ok and n or count do -- what was not even admitted
    local err = errors.new({ kind = why.kind, message = why.message, applied = "no" })
    results[i] = failure(err, list[i])
  end
  results.n = n or count
  if why then return results, failed, why end
  return results, failed
end

--- Runs f(item) for every element of a list on the nodes and returns the results, in order.
--- Items whose node or worker was lost run again elsewhere, at most `retries` more times; errors of
--- f take the places of their results. What an iterator raises ends the map and is raised.
--- Options:
---   timeout      seconds for one item, from its start (default: none)
---   deadline     seconds for the whole map; unfinished items then fail with kind "deadline"
---   retries      default: 2; 0: never run anything twice, even if its fate is unknown
---   retry_on     function(err) -> whether an item that failed with err runs again
---   backoff      seconds before the first such retry, doubled each time, with jitter;
---                default: 0.2
---   concurrency  items that a worker runs at a time (default: 64)
---   batch        items in a message (default: "auto")
---   order        default: true; false: results as they complete
---   on_error     function(err, item) -> value to take its place; what it raises ends the map
---   on_progress  function(item number, value) for what tasks pass to fleet.progress; must not
---                wait; what it raises ends the map
---   nodes        names of nodes to use, or function(node) -> whether to use it
---   speculate    default: false; true: late items also run elsewhere (f must be idempotent)
---   journal      file that keeps the results; items whose results are in it do not run again
---   on_no_workers default: "raise"; "return": return nil and the error when no node can be used
--- If no node can be used, or the journal cannot be, an error table is raised (of kind "connect" or
--- "usage"); `moonfleet run` then ends with exit code 3 or 2. If all nodes are lost later, errors
--- take the places of the results.
---@param f function
---@param list any[]|fun(): any list without nil, or an iterator that ends with nil
---@param opts table|nil
---@return any[]|nil results with `n`; or nil and an error when nothing could run
---@return integer|fleet.Error failed number of results that are errors
---@return fleet.Error|nil err what ended the map before all items were done: the deadline, the loss
---of all nodes, a journal that cannot be written. Only this tells that an iterator had more items
function maps.pmap(f, list, opts)
  check.callable("fleet.pmap", f)
  opts = check.options("fleet.pmap", opts, MAP_OPTIONS)
  local source, n = source_of("fleet.pmap", list)
  local b, err = begin("fleet.pmap", opts)
  if not b then return backend.cannot_begin(err, opts) end
  return collect(b, f, source, opts, list, n)
end

--- Iterates over the results of a map as they complete, holding only a few at a time:
---   for item, value, err in fleet.each(f, list, opts) do ... end
--- `err` is nil for an item that succeeded. Leaving the loop early ends the map. An error of the
--- whole map (no node, the deadline) is raised. Options as for fleet.pmap, but `order` defaults to
--- false. Inside a task, results come in groups of up to 4,096 items, when all of these have ended.
---@param f function
---@param list any[]|fun(): any
---@param opts table|nil
---@return fun(): any, any, fleet.Error|nil
function maps.each(f, list, opts)
  check.callable("fleet.each", f)
  opts = check.options("fleet.each", opts, MAP_OPTIONS)
  if opts.order == nil then opts.order = false end
  local source = source_of("fleet.each", list)
  local b, err = begin("fleet.each", opts)
  if not b then
    backend.cannot_begin(err, {})
    error(err, 2)
  end
  local row -- the one that was not yet taken out
  local map, left, ended, failure, is_raised
  local given, taken = task.event(), task.event()
  local function abort()
    if map then map:abort(errors.format("cancelled", "the loop was left")) end
  end
  local function on_row(item, ok, value)
    while row and not left do taken:wait() end
    if left then return nil, errors.format("cancelled", "the loop was left") end
    if ok then
      row = table.pack(item, value)
    elseif opts.on_error then
      row = table.pack(item, (opts.on_error(value, item)))
    else
      row = { item, value, value }
    end
    given:notify()
    return true
  end
  task.spawn(function()
    local fine, ok, why = pcall(b.map, b, f, source, opts, on_row, function(begun)
      map = begun
      if left then abort() end
    end)
    ended, is_raised = true, not fine
    failure = is_raised and ok or not ok and why or nil
    given:notify()
  end)
  local function next_result()
    while not row and not ended do given:wait() end
    local result = row
    row = nil
    taken:notify()
    if result then return table.unpack(result, 1, 3) end
    if failure and not left then
      if not is_raised then backend.cannot_begin(failure, {}) end
      error(failure, 0)
    end
    return nil
  end
  local guard = setmetatable({}, {
    __close = function()
      left = true
      taken:notify()
      abort()
    end,
  })
  return next_result, nil, nil, guard
end

--- Runs several calls on the nodes, each {f, args...}, and returns the first value of each, in
--- their order; errors take the places of values. Options as for fleet.pmap, without `order` and
--- `journal`.
---@param calls table[]
---@param opts table|nil
---@return any[]|nil results with `n`; or nil and an error when nothing could run
---@return integer|fleet.Error failed number of results that are errors
---@return fleet.Error|nil err what ended it early, as for fleet.pmap
function maps.parallel_eval(calls, opts)
  opts = check.options("fleet.parallel_eval", opts, EVAL_OPTIONS)
  if type(calls) ~= "table" then
    check.misuse("fleet.parallel_eval: a list of {f, args...} expected, got %s", type(calls))
  end
  local ship = require("fleet.ship")
  local items, modules = {}, {}
  for i = 1, check.length(calls) do
    local call = calls[i]
    if type(call) ~= "table" or type(call[1]) ~= "function" then
      check.misuse("fleet.parallel_eval: element %d is no {f, args...}", i)
    end
    local packed, err = ship.pack(call[1])
    if not packed then return nil, err end
    for name, hash in pairs(packed.modules) do modules[name] = hash end
    local bytes
    bytes, err = ship.encode(packed)
    if not bytes then return nil, err end
    items[i] = { packed = bytes, args = table.pack(table.unpack(call, 2, check.length(call))) }
  end
  local b, err = begin("fleet.parallel_eval", opts)
  if not b then return backend.cannot_begin(err, opts) end
  opts.modules = modules
  return collect(b, nil, input.words(items), opts, calls, #items, true)
end

return maps
