-- SPDX-License-Identifier: MIT
-- What the functions of the library do inside a task: they make upcalls to the driver, which owns
-- the pool and the schedule (lua/fleet/driver/upcalls.lua). A task that waits for its reply costs
-- its worker only memory: it takes no slot of what it called. fleet.driver does the same for the
-- driver process.

local codec = require("host.codec")
local errors = require("fleet.errors")
local future = require("fleet.base.future")
local host_job = require("host.job")
local ship = require("fleet.ship")
local task = require("host.task")

local remote = {}

--- @class fleet.Remote
local Remote = {}
Remote.__index = Remote

-- A list is sent in parts of so many items and bytes, so that a long one need not be in one
-- message. An item may be larger, and then goes alone, with room for the rest of the request.
local PART = 4096
local PART_BYTES = 8 * 1024 * 1024
local ITEM_BYTES = 63 * 1024 * 1024

--- The one of this process.
---@return fleet.Remote
function remote.get()
  return Remote
end

-- Waits for the answer to a request that is encoded.
local function wait_for(request)
  local bytes, err = host_job.upcall(request)
  if not bytes then return nil, errors.wrap(err) end
  local reply
  reply, err = codec.decode(bytes)
  if not reply then return nil, err end
  if reply.error then return nil, errors.wrap(reply.error) end
  return reply
end

local function ask(request)
  local bytes, err = codec.encode(request, "request")
  if not bytes then return nil, err end
  return wait_for(bytes)
end

-- Calls of this Lua state, for their cancelling.
local last_id = 0

local function next_id()
  last_id = last_id + 1
  return last_id
end

--- As fleet.Driver:send.
function Remote:send(target, f, args, options)
  local packed, err = ship.pack(f)
  if not packed then return nil, err end
  local id = next_id()
  local request
  request, err = codec.encode({
    op = "call", id = id, target = target, packed = packed, args = args, timeout = options.timeout,
    cast = options.cast,
  }, "call")
  if not request then return nil, err end
  local result = future.new(function()
    task.spawn(ask, { op = "cancel", id = id })
  end)
  task.spawn(function()
    local reply, why = wait_for(request)
    if reply then
      for i = 1, reply.values.n do errors.wrap(reply.values[i]) end
      result:resolve(reply.values)
    else
      result:fail(why)
    end
  end)
  return result
end

-- Asks for a map of some items and returns its answer with all rows, also those that did not go
-- into one message.
local function ask_for_rows(request)
  local complete = false
  local _ <close> = setmetatable({}, { __close = function()
    if not complete then task.spawn(ask, { op = "cancel", id = request.id }) end
  end })
  local answer, err = ask(request)
  if not answer then return nil, err end
  local rows, reply = {}, answer
  while true do
    local more, n = codec.decode_all(reply.rows)
    if not more then return nil, n end
    table.move(more, 1, n, #rows + 1, rows)
    if not reply.more then break end
    reply, err = ask({ op = "more", id = request.id })
    if not reply then return nil, err end
  end
  complete, answer.rows = true, rows
  return answer
end

--- As fleet.Driver:map; results come part by part. What `begun` is given can only be aborted.
function Remote:map(f, source, options, on_row, begun)
  local packed, err
  if f then
    packed, err = ship.pack(f)
    if not packed then return nil, err end
  end
  local id, aborted
  if begun then
    begun({ abort = function()
      aborted = true
      if id then task.spawn(ask, { op = "cancel", id = id }) end
    end })
  end
  local items, encoded, size = {}, {}, 0
  local function run_part()
    if #items == 0 or aborted then return true end
    id = next_id()
    local part = items
    local reply, why = ask_for_rows({
      op = "map", id = id, packed = packed, items = table.concat(encoded), options = options.plain,
      modules = options.modules,
    })
    if not reply then return nil, why end
    items, encoded, size = {}, {}, 0
    options.plain.began = reply.began -- one deadline for all parts, by the driver's clock
    for _, row in ipairs(reply.rows) do
      local ok
      ok, why = on_row(part[row[3]], row[1], row[1] and row[2] or errors.wrap(row[2]))
      if not ok then return nil, why end
    end
    return not reply.err or nil, errors.wrap(reply.err)
  end
  for item in source do
    local bytes, unfit = codec.encode(item, "item", ITEM_BYTES)
    local ok, why = true, nil
    if not bytes or size + #bytes > PART_BYTES then ok, why = run_part() end
    if ok and bytes then
      items[#items + 1], encoded[#encoded + 1], size = item, bytes, size + #bytes
      if #items == PART then ok, why = run_part() end
    elseif ok then
      unfit.applied = "no"
      ok, why = on_row(item, false, unfit)
    end
    if not ok then return nil, why end
    if aborted then return true end
  end
  return run_part()
end

--- As fleet.Driver:nodes.
function Remote:nodes(known)
  local reply, err = ask({ op = "nodes", known = known })
  if not reply then return nil, err end
  return reply.list
end

--- As fleet.Driver:everywhere.
function Remote:everywhere(f, args, options)
  local packed, err = ship.pack(f)
  if not packed then return nil, err end
  local reply
  reply, err = ask({ op = "everywhere", packed = packed, args = args, timeout = options.timeout })
  if not reply then return nil, err end
  return true
end

return remote
