-- SPDX-License-Identifier: MIT
-- What a worker sends of the error of a task, called by the host (host/worker/outcome.c). Must work
-- on whatever a job raises; when it fails itself, the host sends an error without details.

local failure = {}

local getmetatable, next, pcall, rawget = debug.getmetatable, next, pcall, rawget
local tostring, type = tostring, type
local find, format, sub = string.find, string.format, string.sub

local MAX_MESSAGE = 64 * 1024 -- bytes
local MAX_TRACEBACK = 8 * 1024 -- bytes
local MAX_CONTENT = 1000 -- bytes of a table that was raised

-- The fields of an error that describe an attempt, and the kinds that only the fleet itself may
-- set, as it acts on them.
local ATTEMPT = { "applied", "node", "attempt", "signal", "inner" }
local RESERVED = {
  cancelled = true, crash = true, deadline = true, draining = true, lost = true,
  poisoned = true, refused = true, skew = true,
}

local function cut(text, max)
  if type(text) ~= "string" or #text <= max then return text end
  return format("%s ... (%d bytes)", sub(text, 1, max), #text)
end

local function applied(started) return started and "yes" or "no" end

--- Copies an error table that a job made, as it is sent. The fields that describe an attempt move
--- to the field `inner`: they describe another attempt than this one, such as that of a call whose
--- error the job passes on, or are made up.
---@param value any
---@param started boolean whether the task ran
---@return table|nil copy nil when the value is no error table
function failure.copy(value, started)
  if type(value) ~= "table" then return nil end
  local copy, inner = {}, {}
  for key, field in next, value do copy[key] = field end
  if type(copy.kind) ~= "string" or type(copy.message) ~= "string" then return nil end
  copy.message = cut(copy.message, MAX_MESSAGE)
  copy.traceback = cut(copy.traceback, MAX_TRACEBACK)
  for i = 1, #ATTEMPT do
    inner[ATTEMPT[i]], copy[ATTEMPT[i]] = copy[ATTEMPT[i]], nil
  end
  if RESERVED[copy.kind] then inner.kind, copy.kind = copy.kind, "raise" end
  if next(inner) ~= nil then copy.inner = inner end
  copy.applied = applied(started)
  return copy
end

--- Makes an error of any value that was raised or returned.
---@param value any
---@param traceback any used if it is a string
---@param started boolean whether the task ran
---@return table
function failure.describe(value, traceback, started)
  local metatable, kind = getmetatable(value), type(value)
  local message
  if kind == "string" or kind == "number"
    or metatable and rawget(metatable, "__tostring") ~= nil then
    message = tostring(value)
  else -- as lua.c does, and the content of a table
    local ok, content = pcall(function()
      return kind == "table" and ": " .. require("fleet.base.pretty").line(value, MAX_CONTENT)
    end)
    message = format("(error object is a %s value%s)", kind, ok and content or "")
  end
  message = cut(message, MAX_MESSAGE)
  if find(message, " a nil value (", 1, true) then
    message = require("fleet.worker.absent").explain(message)
  end
  local memory = kind == "string" and find(message, "not enough memory", 1, true)
  return {
    kind = memory and "memory" or "raise", message = message, applied = applied(started),
    traceback = type(traceback) == "string" and cut(traceback, MAX_TRACEBACK) or nil,
  }
end

return failure
