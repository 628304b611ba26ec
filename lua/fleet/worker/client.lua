-- SPDX-License-Identifier: MIT
-- The library inside a task: upcalls to the driver, which owns the cluster and the schedule
-- (lua/fleet/driver/upcalls.lua). A task that waits for its reply costs its worker only memory: it
-- takes no slot from what it called. fleet.driver has the same methods for the driver process.

local codec = require("host.codec")
local errors = require("fleet.errors")
local future = require("fleet.base.future")
local host_job = require("host.job")
local ship = require("fleet.ship")
local task = require("host.task")

--- @class fleet.WorkerClient
local client = {}

-- A list is sent in parts of at most this many items and bytes, so that a long one need not fit
-- into one message. A larger item is sent alone, with room for the rest of the request.
local PART = 4096
local PART_BYTES = 8 * 1024 * 1024
local MAX_ITEM_BYTES = 63 * 1024 * 1024

-- Makes an upcall with an encoded request. Waits for the reply.
local function upcall_encoded(request)
  local bytes, err = host_job.upcall(request)
  if not bytes then return nil, errors.wrap(err) end
  local reply
  reply, err = codec.decode(bytes)
  if not reply then return nil, err end
  if reply.error then return nil, errors.wrap(reply.error) end
  return reply
end

local function upcall(request)
  local bytes, err = codec.encode(request, "request")
  if not bytes then return nil, err end
  return upcall_encoded(bytes)
end

-- Numbers the calls and maps of this Lua state, so that they can be cancelled.
local last_id = 0

local function next_id()
  last_id = last_id + 1
  return last_id
end

--- As fleet.Driver:send.
function client:send(target, f, options, _, ...)
  local packed, err = ship.pack(f)
  if not packed then return nil, err end
  local id = next_id()
  local request
  request, err = codec.encode({
    op = "call", id = id, target = target, packed = packed, args = table.pack(...),
    timeout = options.timeout, cast = options.cast,
  }, "call")
  if not request then return nil, err end
  local result = future.new(function()
    task.spawn(upcall, { op = "cancel", id = id })
  end)
  task.spawn(function()
    local reply, failure = upcall_encoded(request)
    if reply then
      for i = 1, reply.values.n do errors.wrap(reply.values[i]) end
      result:resolve(reply.values)
    else
      result:fail(failure)
    end
  end)
  return result
end

-- Requests a map of some items and returns the reply with all rows, even if they take several
-- messages.
local function map_part(request)
  local complete = false
  local _ <close> = setmetatable({}, { __close = function()
    if not complete then task.spawn(upcall, { op = "cancel", id = request.id }) end
  end })
  local first, err = upcall(request)
  local rows, reply = {}, first
  while reply do
    local more, n = codec.decode_all(reply.rows)
    if not more then return nil, n end
    table.move(more, 1, n, #rows + 1, rows)
    if not reply.more then
      complete, first.rows = true, rows
      return first
    end
    reply, err = upcall({ op = "more", id = request.id })
  end
  return nil, err
end

--- As fleet.Driver:map; results come part by part. The value that `begun` gets can only be aborted.
function client:map(f, source, options, on_row, begun)
  local packed, err
  if f then
    packed, err = ship.pack(f)
    if not packed then return nil, err end
  end
  local id, aborted
  if begun then
    begun({ abort = function()
      aborted = true
      if id then task.spawn(upcall, { op = "cancel", id = id }) end
    end })
  end
  local items, encoded, size = {}, {}, 0
  local function run_part()
    if #items == 0 or aborted then return true end
    id = next_id()
    local part = items
    local reply, failure = map_part({
      op = "map", id = id, packed = packed, items = table.concat(encoded), options = options.plain,
      modules = options.modules,
    })
    if not reply then return nil, failure end
    items, encoded, size = {}, {}, 0
    options.plain.began = reply.began -- one deadline for all parts, by the driver's clock
    for _, row in ipairs(reply.rows) do
      local ok
      ok, failure = on_row(part[row[3]], row[1], row[1] and row[2] or errors.wrap(row[2]))
      if not ok then return nil, failure end
    end
    return not reply.err or nil, errors.wrap(reply.err)
  end
  for item in source do
    local bytes, unfit = codec.encode(item, "item", MAX_ITEM_BYTES)
    local ok, failure = true, nil
    if not bytes or size + #bytes > PART_BYTES then ok, failure = run_part() end
    if ok and bytes then
      items[#items + 1], encoded[#encoded + 1], size = item, bytes, size + #bytes
      if #items == PART then ok, failure = run_part() end
    elseif ok then
      unfit.applied = "no"
      ok, failure = on_row(item, false, unfit)
    end
    if not ok then return nil, failure end
    if aborted then return true end
  end
  return run_part()
end

--- As fleet.Driver:nodes.
function client:nodes(known)
  local reply, err = upcall({ op = "nodes", known = known })
  if not reply then return nil, err end
  return reply.list
end

--- As fleet.Driver:everywhere.
function client:everywhere(f, args, options)
  local packed, err = ship.pack(f)
  if not packed then return nil, err end
  local reply
  reply, err = upcall({
    op = "everywhere", packed = packed, args = args, timeout = options.timeout,
  })
  if not reply then return nil, err end
  return true
end

return client
