-- SPDX-License-Identifier: MIT
-- A manual session of a driver with a node: the messages of host/wire/protocol.h and nothing else.
--
--   local s = session.open(peer, "name")
--   s:post({ blobs = { { "job", definition } }, batches = { s:batch(1, { 41 }) } })
--   s:wait(1)                                 -- until one result is there
--   assert.same({ [1] = 42 }, s.results)

local atomic = require("fleet.base.atomic")
local codec = require("host.codec")
local e2e = require("spec.support.e2e")
local sys = require("host.sys")
local task = require("host.task")

local session = {}

local PART = 512 * 1024 -- see host/wire/protocol.h

--- @class spec.Session
--- @field key string
--- @field seq integer of the last message
--- @field ack integer of the last chunk that arrived
--- @field results table<integer, any> value by id; false for a failed one
--- @field errors table<integer, table> by id
--- @field done table<integer, boolean> by id
--- @field ended integer results that arrived
--- @field records any[][] of the node
--- @field chunks table<integer, string> by number
local Session = {}
Session.__index = Session

--- Returns the definition of a job.
---@param source string
---@param concurrency integer|nil
---@return string
function session.definition(source, concurrency)
  return codec.encode({
    kind = "script", source = source, chunkname = "=job", concurrency = concurrency or 4,
  })
end

--- Returns the definition of a job whose map function of `x` has this body.
---@param body string
---@param before string|nil stands before it all
---@return string
function session.job(body, before)
  return session.definition(("%s return { map = function(x) %s end }"):format(before or "", body))
end

--- Returns a session that has sent nothing yet.
---@param peer table of host.rpc
---@param name string at most 16 bytes
---@return spec.Session
function session.new(peer, name)
  return setmetatable({
    peer = peer, key = name .. ("."):rep(16 - #name), seq = 0, ack = 0, ended = 0,
    done = {}, results = {}, errors = {}, records = {}, chunks = {},
  }, Session)
end

--- Returns a session that the node knows and whose records are fetched as they arrive, until its
--- peer is closed or it ends.
---@param peer table
---@param name string
---@return spec.Session
function session.open(peer, name)
  local s = session.new(peer, name)
  local reply = assert(s:send({}))
  assert(reply[1] == "events", reply[3])
  task.spawn(function()
    repeat reply = s:send({}) until not reply or reply[1] ~= "events"
  end)
  return s
end

--- Returns a batch for worker 1, first generation, job 1, definition "job"; `other` overrides
--- these.
---@param first integer
---@param items any[]|string a string: encoded already
---@param other table|nil
---@return any[]
function Session.batch(_, first, items, other)
  other = other or {}
  local bytes = type(items) == "table" and codec.encode_list(items, 1, #items) or items
  return {
    other.worker or 1, other.generation or 1, other.job or 1, other.keys or { "job" }, first,
    other.count or #items, 1, other.timeout or 0, bytes,
  }
end

--- Returns the bytes of a work message.
---@param parts {blobs: any, drops: any, closes: any, batches: any, replies: any}
---@param seq integer
---@return string
function Session:message(parts, seq)
  return assert(codec.encode({
    "work", sys.protocol, self.key, seq, self.ack, parts.blobs or {}, parts.drops or {},
    parts.closes or {}, parts.batches or {}, parts.replies or {},
  }, "message", 80 << 20))
end

function Session:record(id, attempt, ok, value)
  if id == 0 then -- then these are its name, the worker, and the fields
    self.records[#self.records + 1] = { attempt, ok, value }
  else
    assert(not self.done[id], "a second result for the same item")
    self.done[id] = true
    self.results[id], self.errors[id] = ok and value, not ok and value or nil
    self.ended = self.ended + 1
  end
end

--- Processes the bytes of a reply; a chunk that arrived before is only compared.
---@param bytes string
---@return any[] reply
function Session:take(bytes)
  local reply = assert(codec.decode(bytes))
  if reply[1] ~= "events" or reply[2] == 0 then return reply end
  local number, chunk = reply[2], reply[3]
  if self.chunks[number] then
    assert(self.chunks[number] == chunk, "a chunk has changed")
    return reply
  end
  self.chunks[number] = chunk
  while self.chunks[self.ack + 1] do
    self.ack = self.ack + 1
    assert(codec.each_result(self.chunks[self.ack], self.record, self))
  end
  return reply
end

--- Sends a message with any number.
---@param bytes string
---@param seconds number|nil
---@return any[]|nil reply
---@return table|nil err
function Session:ask(bytes, seconds)
  for at = 0, #bytes > PART and #bytes - 1 or -1, PART do
    local part = codec.encode({ "part", sys.protocol, self.key, 1 << 40, at, #bytes,
      bytes:sub(at + 1, at + PART) })
    local reply, err = self.peer:call(part, seconds or 60)
    if not reply then return nil, err end
    reply = codec.decode(reply)
    if reply[1] ~= "part" then return reply end
  end
  if #bytes > PART then bytes = codec.encode({ "whole", sys.protocol, self.key, 1 << 40 }) end
  local answer, err = self.peer:call(bytes, seconds or 60)
  if not answer then return nil, err end
  return self:take(answer)
end

local function count_on(self)
  self.seq = self.seq + 1
  return self.seq
end

--- Returns the number of the next message. Specs can be preempted while others send messages.
---@return integer
function Session:next()
  return (atomic.call(count_on, self))
end

--- Sends the next message.
---@param parts table as Session:message
---@param seconds number|nil
---@return any[]|nil reply
---@return table|nil err
function Session:send(parts, seconds)
  return self:ask(self:message(parts, self:next()), seconds)
end

--- Sends the next message and does not wait for the reply; its records are processed later.
---@param parts table as Session:message
function Session:post(parts)
  task.spawn(function()
    local reply = self:send(parts)
    -- acknowledges them; the last ones must be acknowledged, too
    while reply and reply[1] == "events" and reply[2] > 0 do reply = self:send({}) end
  end)
end

--- Waits until `count` results have arrived in all.
---@param count integer
function Session:wait(count)
  e2e.wait_until("results", function() return self.ended >= count end)
end

--- Waits for an event of the node with this name; removes and returns it.
---@param name string
---@return any[] record {name, worker, fields}
function Session:await(name)
  return e2e.wait_until("a record " .. name, function()
    for i, record in ipairs(self.records) do
      if record[1] == name then return table.remove(self.records, i) end
    end
  end)
end

--- Ends it.
---@return any[] reply
function Session:close()
  return self:ask(codec.encode({ "end", sys.protocol, self.key }))
end

return session
