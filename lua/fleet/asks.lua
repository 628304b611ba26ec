-- SPDX-License-Identifier: MIT
-- What tasks ask of their driver (see fleet.remote): calls and maps of their own over the same
-- pool. The driver only passes on what the task has packed; it never runs it.

local codec = require("host.codec")
local errors = require("fleet.errors")
local input = require("fleet.input")
local task = require("host.task")

local asks = {}

local operations = {}

function operations.nodes(driver)
  return { list = driver:nodes() }
end

function operations.call(driver, ask, running, worker)
  local f, err = driver:send(ask.target, ask.packed, ask.args,
    { timeout = ask.timeout, cast = ask.cast })
  if not f then return nil, err end
  running.cancel = function() f:cancel() end
  worker.calls[ask.id] = f
  f:wait()
  worker.calls[ask.id] = nil
  if f:failed() then return nil, f.values[2] end
  return { values = f.values }
end

function operations.cancel(_, ask, _, worker)
  local f = worker.calls[ask.id]
  if f then f:cancel() end
  return {}
end

function operations.map(driver, ask, running)
  local options, rows = ask.options, {}
  options.modules = ask.modules
  local ok, err = driver:map(ask.packed, input.words(ask.items), options,
    function(_, fine, value)
      rows[#rows + 1] = { fine, value }
      return true
    end,
    function(m)
      running.cancel = function()
        m:expire(errors.new({ kind = "cancelled", message = "the task that asked is gone" }))
      end
    end)
  if not ok and #rows == 0 then return nil, err end
  return { rows = rows }
end

function operations.everywhere(driver, ask)
  local ok, err = driver:everywhere(ask.packed, ask.args, { timeout = ask.timeout })
  if not ok then return nil, err end
  return {}
end

-- What a reply says; an answer that cannot be encoded is an error, not silence.
local function encode(reply, err)
  if not reply then return assert(codec.encode({ error = err }, "error", nil)) end
  local bytes, why = codec.encode(reply, "answer")
  return bytes or assert(codec.encode({ error = why }))
end

local function run(driver, ask, running, worker)
  local operation = operations[ask.op]
  if not operation then
    return nil, errors.new({ kind = "protocol", message = "unknown request of a task" })
  end
  local ok, reply, err = pcall(operation, driver, ask, running, worker)
  if ok then return reply, err end
  return nil, errors.new({ kind = "raise", message = tostring(reply) })
end

--- Answers one request of a task; does not wait. No bytes: the task has withdrawn it.
---@param driver fleet.Driver
---@param link fleet.Link
---@param worker fleet.Worker
---@param number integer of the request, in that worker
---@param bytes string
function asks.answer(driver, link, worker, number, bytes)
  worker.asks, worker.calls = worker.asks or {}, worker.calls or {}
  if #bytes == 0 then
    local running = worker.asks[number]
    if running and running.cancel then running.cancel() end
    return
  end
  local running = {}
  worker.asks[number] = running
  task.spawn(function()
    local ask, err = codec.decode(bytes)
    local reply
    if type(ask) == "table" then
      reply, err = run(driver, ask, running, worker)
    elseif ask ~= nil then
      err = errors.new({ kind = "protocol", message = "malformed request of a task" })
    end
    worker.asks[number] = nil
    if not worker.gone and not link.over then link:tell(worker, number, encode(reply, err)) end
  end)
end

--- Stops what a worker that is gone had asked for.
---@param worker fleet.Worker
function asks.drop(worker)
  for _, running in pairs(worker.asks or {}) do
    if running.cancel then running.cancel() end
  end
  worker.asks = nil
end

return asks
