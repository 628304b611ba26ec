-- SPDX-License-Identifier: MIT
-- A peer of a node that speaks in bytes, for what no driver would send: the frames of
-- host/wire/protocol.h over a blocking socket.
--
--   local peer = frames.connect(node.port)
--   peer:send(frames.request(1, codec.encode({ "status" })))
--   peer:reply(1)                             -- the decoded reply
--   peer:open("name")                         -- a session
--   peer:send(frames.last(element, element))
--   peer:closed()                             -- whether the node closes the connection

local codec = require("host.codec")
local socket = require("socket")
local sys = require("host.sys")

local frames = {}

local REQUEST, REPLY, ACK, PART, LAST = 1, 2, 3, 4, 5
local SECONDS = 30

frames.PREFACE = ("moonfleet/%d\n"):format(sys.protocol)
frames.MAX = 256 * 1024

--- @class spec.Frames
--- @field connection table of luasocket
--- @field ack integer[] the last one that arrived
--- @field events string the bytes of whole events
local Frames = {}
Frames.__index = Frames

--- Returns a frame.
---@param kind integer
---@param bytes string
---@return string
function frames.frame(kind, bytes)
  return string.pack("<I4", kind << 24 | #bytes) .. bytes
end

function frames.request(id, bytes) return frames.frame(REQUEST, string.pack("<I4", id) .. bytes) end
function frames.part(bytes) return frames.frame(PART, bytes) end
function frames.acknowledge(messages, bytes)
  return frames.frame(ACK, string.pack("<I8I8I8", messages, bytes, 0))
end

--- Returns a message of these elements, as one frame.
function frames.last(...)
  local list = { ... }
  for i, element in ipairs(list) do
    list[i] = type(element) == "table" and codec.encode(element) or element
  end
  return frames.frame(LAST, table.concat(list))
end

--- Connects; sends the preface unless `silent`.
---@param port integer
---@param silent boolean|nil
---@return spec.Frames
function frames.connect(port, silent)
  local connection = assert(socket.connect("127.0.0.1", port))
  connection:settimeout(SECONDS)
  local peer = setmetatable({
    connection = connection, unread = "", events = "", messages = 0, replies = {}, ack = {},
  }, Frames)
  if not silent then peer:send(frames.PREFACE) end
  return peer
end

--- Sends bytes.
---@return boolean whether all were taken
function Frames:send(bytes)
  return self.connection:send(bytes) ~= nil
end

-- Reads bytes until there are `n`; nil at the end.
function Frames:need(n)
  while #self.unread < n do
    local bytes, err, some = self.connection:receive(n - #self.unread)
    bytes = bytes or some
    if bytes then self.unread = self.unread .. bytes end
    if err == "timeout" then error("the node sends nothing", 0) end
    if err and #self.unread < n then return nil end
  end
  local bytes = self.unread:sub(1, n)
  self.unread = self.unread:sub(n + 1)
  return bytes
end

--- Reads a frame; nil at the end of the connection.
---@return integer|nil kind
---@return string bytes
function Frames:read()
  if not self.greeted then
    local preface = self:need(#frames.PREFACE)
    if not preface then return nil, "" end
    assert(preface == frames.PREFACE, preface)
    self.greeted = true
  end
  local head = self:need(4)
  if not head then return nil, "" end
  local word = string.unpack("<I4", head)
  local bytes = self:need(word & 0xffffff)
  local kind = word >> 24
  if not bytes then return nil, "" end
  if kind == REPLY then
    self.replies[string.unpack("<I4", bytes)] = codec.decode(bytes:sub(5))
  elseif kind == ACK then
    self.ack = { string.unpack("<I8I8I8", bytes) }
  else
    self.events = self.events .. bytes
    if kind == LAST then self.messages = self.messages + 1 end
  end
  return kind, bytes
end

--- Waits for the reply to a request; nil if the connection ends.
---@param id integer
---@return any[]|nil
function Frames:reply(id)
  while not self.replies[id] do
    if not self:read() then return nil end
  end
  return self.replies[id]
end

--- Sends a request and waits for the reply.
---@param ... any
---@return any[]|nil
function Frames:ask(...)
  self.last_id = (self.last_id or 1000) + 1
  self:send(frames.request(self.last_id, codec.encode({ ... })))
  return self:reply(self.last_id)
end

--- Opens a session that grants `bytes` (default: a window of 16 MiB).
---@param name string
---@param bytes integer|nil
---@return any[]|nil reply
function Frames:open(name, bytes)
  self.key = name .. ("."):rep(16 - #name)
  return self:ask("open", self.key, self.messages, bytes or 16 << 20)
end

--- Whether the node closes the connection.
---@return boolean
function Frames:closed()
  while self:read() do end
  return true
end

function Frames:close()
  self.connection:close()
end

return frames
