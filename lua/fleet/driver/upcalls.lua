-- SPDX-License-Identifier: MIT What tasks ask of their driver (see fleet.worker.client): calls and
-- maps of their own over the same cluster. The driver only passes on what the task has packed; it
-- never runs it.

local codec = require("host.codec")
local errors = require("fleet.errors")
local input = require("fleet.run.input")
local sys = require("host.sys")
local task = require("host.task")

local upcalls = {}

-- Rows of a map go into answers of so many bytes. A row may be larger, and then goes alone, with
-- room for the rest of the answer.
local ANSWER_BYTES = 8 * 1024 * 1024
local ROW_BYTES = 63 * 1024 * 1024

local operations = {}

-- Nobody wants the answer any more, also when what it takes has not begun.
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
  local f, err = driver:send(request.target, request.packed, request.args,
    { timeout = request.timeout, cast = request.cast })
  if not f then return nil, err end
  cancel_by(running, function() f:cancel() end)
  f:wait()
  if f:failed() then return nil, f.values[2] end
  return { values = f.values }
end

function operations.cancel(_, request, _, worker)
  if worker.answers then worker.answers[request.id] = nil end
  for _, running in pairs(worker.upcalls) do
    if running.id == request.id then withdraw(running) end
  end
  return {}
end

-- One row as bytes; what cannot be sent, or not in one answer, fails its item alone.
local function encode_row(fine, value, id)
  local bytes, err = codec.encode({ fine, value, id }, "result", ROW_BYTES)
  return bytes or assert(codec.encode({ false, err, id }))
end

-- Rows as the answers that they go into.
local function answers_of(rows)
  local answers, first, size = {}, 1, 0
  for i, bytes in ipairs(rows) do
    if i > first and size + #bytes > ANSWER_BYTES then
      answers[#answers + 1] = table.concat(rows, "", first, i - 1)
      first, size = i, 0
    end
    size = size + #bytes
  end
  answers[#answers + 1] = table.concat(rows, "", first)
  return answers
end

-- The next answer of a map, and whether it has more: they are kept for when the task asks.
local function next_answer(worker, id, answers)
  local rows = table.remove(answers, 1)
  worker.answers = worker.answers or {}
  worker.answers[id] = #answers > 0 and answers or nil
  return { rows = rows, more = #answers > 0 }
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
        m:expire(errors.new({ kind = "cancelled", message = "the task that asked is gone" }))
      end)
    end)
  if not ok and #rows == 0 then return nil, err end
  local answer = next_answer(worker, request.id, running.withdrawn and { "" } or answers_of(rows))
  answer.err, answer.began = err, options.began
  return answer
end

function operations.more(_, request, _, worker)
  local answers = worker.answers and worker.answers[request.id]
  if answers then return next_answer(worker, request.id, answers) end
  return nil, errors.new({ kind = "protocol", message = "no more rows of that map" })
end

function operations.everywhere(driver, request)
  local ok, err = driver:everywhere(request.packed, request.args, { timeout = request.timeout })
  if not ok then return nil, err end
  return {}
end

-- What a reply says; an answer that cannot be encoded is an error, not silence.
local function encode(reply, err)
  if not reply then return assert(codec.encode({ error = err }, "error", nil)) end
  local bytes, why = codec.encode(reply, "answer")
  return bytes or assert(codec.encode({ error = why }))
end

local function run(driver, request, running, worker)
  local operation = operations[request.op]
  if not operation then
    return nil, errors.new({ kind = "protocol", message = "unknown request of a task" })
  end
  local ok, reply, err = pcall(operation, driver, request, running, worker)
  if ok then return reply, err end
  return nil, errors.new({ kind = "raise", message = tostring(reply) })
end

--- Answers one request of a task; does not wait. No bytes: the task has withdrawn it.
---@param driver fleet.Driver
---@param session fleet.Session
---@param worker fleet.Worker
---@param number integer of the request, in that worker
---@param bytes string
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
      err = errors.new({ kind = "protocol", message = "malformed request of a task" })
    end
    list[number] = nil
    if not worker.gone and not session.over then session:reply(worker, number, encode(reply, err)) end
  end)
end

--- Stops what a worker that is gone had asked for.
---@param worker fleet.Worker
function upcalls.drop(worker)
  for _, running in pairs(worker.upcalls or {}) do withdraw(running) end
  worker.answers = nil
end

return upcalls
