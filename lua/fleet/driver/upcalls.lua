-- SPDX-License-Identifier: MIT
-- Upcalls: requests of tasks to their driver (see fleet.worker.client) for calls and maps of their
-- own on the same cluster. The driver only passes on what the task has packed; it never runs it.

local codec = require("host.codec")
local errors = require("fleet.errors")
local input = require("fleet.run.input")
local sys = require("host.sys")
local task = require("host.task")

local upcalls = {}

-- Rows of a map are sent in replies of this size. A row may be larger, and is then sent alone, with
-- room for the rest of the reply.
local REPLY_BYTES = 8 * 1024 * 1024
local ROW_BYTES = 63 * 1024 * 1024

local operations = {}

-- Withdraws a request: its reply is not wanted any more, even if the work for it has not begun.
local function withdraw(running)
  running.withdrawn = true
  if running.cancel then running.cancel() end
end

local function cancel_by(running, cancel)
  running.cancel = cancel
  if running.withdrawn then cancel() end
end

function operations.nodes(driver, request)
  return { list = driver:nodes(request.known) }
end

function operations.call(driver, request, running)
  local args = request.args
  local f, err = driver:send(request.target, request.packed,
    { timeout = request.timeout, cast = request.cast }, nil, table.unpack(args, 1, args.n))
  if not f then return nil, err end
  cancel_by(running, function() f:cancel() end)
  f:wait()
  if f:failed() then return nil, f.values[2] end
  return { values = f.values }
end

function operations.cancel(_, request, _, worker)
  if worker.replies then worker.replies[request.id] = nil end
  for _, running in pairs(worker.upcalls) do
    if running.id == request.id then withdraw(running) end
  end
  return {}
end

-- One row as bytes; one that cannot be sent, or not in one reply, fails only its item.
local function encode_row(fine, value, id)
  local bytes, err = codec.encode({ fine, value, id }, "result", ROW_BYTES)
  return bytes or assert(codec.encode({ false, err, id }))
end

-- Joins rows into as many strings as there are replies.
local function join_rows(rows)
  local replies, first, size = {}, 1, 0
  for i, bytes in ipairs(rows) do
    if i > first and size + #bytes > REPLY_BYTES then
      replies[#replies + 1] = table.concat(rows, "", first, i - 1)
      first, size = i, 0
    end
    size = size + #bytes
  end
  replies[#replies + 1] = table.concat(rows, "", first)
  return replies
end

-- Returns the next reply to a map, and whether there are more, which are kept until the task asks.
local function next_reply(worker, id, replies)
  local rows = table.remove(replies, 1)
  worker.replies = worker.replies or {}
  worker.replies[id] = #replies > 0 and replies or nil
  return { rows = rows, more = #replies > 0 }
end

function operations.map(driver, request, running, worker)
  local items, invalid = codec.decode_all(request.items)
  if not items then return nil, invalid end
  local options, rows = request.options, {}
  options.modules = request.modules
  options.began = options.began or sys.now()
  local ok, err = driver:map(request.packed, input.words(items), options,
    function(_, fine, value, id)
      rows[#rows + 1] = encode_row(fine, value, id)
      return true
    end,
    function(m)
      cancel_by(running, function()
        m:expire(errors.format("cancelled", "the task that called is gone"))
      end)
    end)
  if not ok and #rows == 0 then return nil, err end
  local reply = next_reply(worker, request.id, running.withdrawn and { "" } or join_rows(rows))
  reply.err, reply.began = err, options.began
  return reply
end

function operations.more(_, request, _, worker)
  local replies = worker.replies and worker.replies[request.id]
  if replies then return next_reply(worker, request.id, replies) end
  return nil, errors.format("protocol", "no more rows of that map")
end

function operations.everywhere(driver, request)
  local ok, err = driver:everywhere(request.packed, request.args, { timeout = request.timeout })
  if not ok then return nil, err end
  return {}
end

-- Encodes a reply; one that cannot be encoded becomes an error, so that the task gets some reply.
local function encode(reply, err)
  if not reply then return assert(codec.encode({ error = err }, "error", nil)) end
  local bytes, why = codec.encode(reply, "reply")
  return bytes or assert(codec.encode({ error = why }))
end

local function run(driver, request, running, worker)
  local operation = operations[request.op]
  if not operation then return nil, errors.format("protocol", "unknown request of a task") end
  local ok, reply, err = pcall(operation, driver, request, running, worker)
  if ok then return reply, err end
  return nil, errors.format("raise", "%s", tostring(reply))
end

--- Replies to an upcall of a task when its work is done; does not wait for that.
---@param driver fleet.Driver
---@param session fleet.Session
---@param worker fleet.Worker
---@param number integer of the upcall, in that worker
---@param bytes string the request; empty: the task withdraws it
function upcalls.answer(driver, session, worker, number, bytes)
  worker.upcalls = worker.upcalls or {}
  local list = worker.upcalls
  if #bytes == 0 then
    if list[number] then withdraw(list[number]) end
    return
  end
  local running = {}
  list[number] = running
  task.spawn(function()
    local request, err = codec.decode(bytes)
    local reply
    if type(request) == "table" then
      running.id = request.op ~= "cancel" and request.id or nil
      reply, err = run(driver, request, running, worker)
    elseif request ~= nil then
      err = errors.format("protocol", "malformed request of a task")
    end
    list[number] = nil
    if not worker.removed and not session.closed then
      session:reply(worker, number, encode(reply, err))
    end
  end)
end

--- Withdraws the requests of the tasks of a worker that was removed.
---@param worker fleet.Worker
function upcalls.drop(worker)
  for _, running in pairs(worker.upcalls or {}) do withdraw(running) end
  worker.replies = nil
end

return upcalls
