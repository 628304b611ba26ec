-- SPDX-License-Identifier: MIT
-- A manual session of a driver with a node: the messages of host/wire/protocol.h and nothing else.
--
--   local s = session.open(peer, "name")      -- peer: of host.channel
--   s:post({ blobs = { { "job", definition } }, batches = { s:batch(1, { 41 }) } })
--   s:wait(1)                                 -- until one result is there
--   assert.same({ [1] = 42 }, s.results)

local channel = require("host.channel")
local codec = require("host.codec")
local e2e = require("spec.support.e2e")
local task = require("host.task")

local session = {}

local HEARTBEAT = 1

--- @class spec.Session
--- @field key string
--- @field native table of host.channel
--- @field results table<integer, any> value by id; false for a failed one
--- @field errors table<integer, table> by id
--- @field done table<integer, boolean> by id
--- @field ended integer results that arrived
--- @field records any[][] of the node
--- @field failure table|nil why its channel ended
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

--- Connects to a node.
---@param url string
---@return table peer
function session.dial(url)
  return assert(channel.dial({ url = url, timeout = 30 }))
end

--- Sends a request over a channel and returns the reply.
---@param peer table
---@param ... any
---@return any[] reply
function session.ask(peer, ...)
  return assert(codec.decode(assert(peer:call(codec.encode({ ... }), 60))))
end

local function on_event(self, id, attempt, ok, value, ...)
  if id == 0 then -- then these are its name, the worker, and the fields
    if attempt == "report" then
      local job, n, cpu, wall, bytes = ...
      value = { generation = value, job = job, n = n, cpu = cpu, wall = wall, bytes = bytes }
    end
    self.records[#self.records + 1] = { attempt, ok, value }
  else
    assert(not self.done[id], "a second result for the same item")
    self.done[id] = true
    self.results[id], self.errors[id] = ok and value, not ok and value or nil
    self.ended = self.ended + 1
  end
end

local function on_end(self, err)
  self.failure = err
end

local function nothing() end

--- Returns a session that is at no node yet.
---@param name string at most 16 bytes
---@return spec.Session
function session.new(name)
  local s = setmetatable({
    key = name .. ("."):rep(16 - #name), ended = 0,
    done = {}, results = {}, errors = {}, records = {},
  }, Session)
  s.native = channel.session({
    self = s, on_event = on_event, on_arrived = nothing, on_room = nothing, on_end = on_end,
  })
  return s
end

--- Returns a session that a node has, whose lease is renewed until its channel ends.
---@param peer table
---@param name string
---@return spec.Session
function session.open(peer, name)
  local s = session.new(name)
  assert(s:start(peer))
  task.spawn(function()
    local status = codec.encode({ "status", s.key })
    while peer:call(status, 60) do task.sleep(HEARTBEAT) end
  end)
  return s
end

--- Opens it, or goes on with it, over a channel.
---@param peer table
---@return boolean|nil ok
---@return table|nil err
function Session:start(peer)
  self.peer, self.failure = peer, nil
  return self.native:open(peer, self.key, 60, "spec")
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
    other.worker or 1, other.generation or 1, other.keys or { "job" }, other.job or 1, first,
    other.count or #items, 1, other.timeout or 0, bytes,
  }
end

local LISTS = {
  { "blobs", "blob" }, { "drops", "drop" }, { "closes", "close" }, { "batches", "batch" },
  { "answers", "answer" },
}

--- Sends elements. Each list has the elements of one kind, without their names.
---@param parts {blobs: any, drops: any, closes: any, batches: any, answers: any}
---@return integer number of the message
function Session:post(parts)
  for _, list in ipairs(LISTS) do
    for _, element in ipairs(parts[list[1]] or {}) do
      if type(element) ~= "table" then element = { element } end
      assert(self.native:add(list[2], table.unpack(element)))
    end
  end
  self.native:flush()
  return self.native:number()
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

--- Waits until the node has ended it or closed its channel; returns the error.
---@return table
function Session:failed()
  return e2e.wait_until("the end of its channel", function() return self.failure end)
end

--- Ends it, over its channel or another one.
---@param peer table|nil
---@return any[] reply
function Session:close(peer)
  return session.ask(peer or self.peer, "end", self.key)
end

return session
