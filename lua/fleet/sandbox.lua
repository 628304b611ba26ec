-- SPDX-License-Identifier: MIT
-- The globals that job code sees: an allow-list. No io, no debug, no part of os
-- that touches the machine, no bytecode. What keeps a job from harm to others
-- in the end is its worker process; this keeps honest jobs portable and makes
-- the dishonest ones' life hard.

local log = require("host.log")

local sandbox = {}

local BASE = {
  "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget",
  "rawlen", "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "xpcall",
  "_VERSION",
}
local LIBRARIES = { "coroutine", "math", "table", "utf8" }
local OS = { "clock", "date", "difftime", "time" }
-- What a job may require; its own modules do not travel yet.
local MODULES = {
  fleet = true, ["fleet.digest"] = true, ["fleet.errors"] = true, ["fleet.http"] = true,
  ["fleet.json"] = true, ["fleet.log"] = true,
}

local function pick(from, names)
  local to = {}
  for _, name in ipairs(names) do to[name] = from[name] end
  return to
end

local function copy(from)
  local to = {}
  for key, value in pairs(from) do to[key] = value end
  return to
end

-- One write, so that lines of several workers do not mix.
local function print_line(...)
  local words = table.pack(...)
  for i = 1, words.n do words[i] = tostring(words[i]) end
  io.stderr:write(log.start() .. table.concat(words, "\t") .. "\n")
end

local function text_only_load(env)
  return function(chunk, name, mode, ...)
    if mode ~= nil and mode ~= "t" and mode ~= "bt" then
      return nil, "load: only text chunks are allowed (mode 't')"
    end
    local chunk_env = env
    if select("#", ...) > 0 then chunk_env = (...) end
    return load(chunk, name, "t", chunk_env)
  end
end

local function require_allowed(name)
  if MODULES[name] then return require(name) end
  error(("module '%s' cannot be required in a job; there are fleet, fleet.digest, fleet.errors, "
    .. "fleet.http, fleet.json and fleet.log"):format(tostring(name)), 2)
end

local function collect(what, ...)
  if what == nil or what == "collect" or what == "count" then return collectgarbage(what, ...) end
  error("collectgarbage: only 'collect' and 'count' are allowed in a job", 2)
end

--- Makes the globals for one job, and shields the string metatable of this Lua
--- state, which all code in it shares: one state serves one job.
---@return table env
function sandbox.new()
  local env = pick(_G, BASE)
  for _, name in ipairs(LIBRARIES) do env[name] = copy(_G[name]) end
  env.string = copy(string)
  env.string.dump = nil
  env.os = pick(os, OS)
  env.print = print_line
  env.load = text_only_load(env)
  env.require = require_allowed
  env.collectgarbage = collect
  env._G = env
  local strings = getmetatable("")
  strings.__index = env.string
  strings.__metatable = false
  return env
end

return sandbox
