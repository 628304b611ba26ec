-- SPDX-License-Identifier: MIT
-- The worker's side of a job, called by the host (host/worker/job.c): turns a definition into the
-- function that takes items. All jobs of a driver share a Lua state and its globals.

local errors = require("fleet.errors")
local host_job = require("host.job")
local job = require("fleet.run.job")
local modules = require("fleet.ship.modules")
local sandbox = require("fleet.worker.sandbox")
local ship = require("fleet.ship")

local runner = {}

-- The texts of modules that came with functions, by hash.
local texts = setmetatable({}, { __index = function(_, hash) return host_job.blob(hash) end })

-- Made by the first job of this Lua state.
local loader, env

local function globals()
  if not env then
    local names = host_job.modules()
    modules.allow(names)
    loader = modules.loader(texts, names)
    env = sandbox.new(function(text) host_job.output("print", text) end, loader)
  end
  return env
end

local prepare = {}

--- {kind="script", source=, chunkname=, modules=}: a job script, and the hashes of modules that
--- it requires, by name.
function prepare.script(definition)
  local here = globals()
  loader:know(definition.modules or {})
  local loaded, err = job.load(definition.source, definition.chunkname, here)
  if not loaded then return nil, err end
  if loaded.script then -- in the driver it was a job
    return nil, errors.format("usage",
      "the script returns no job in a worker, where io, os and package are restricted")
  end
  if loaded.setup then loaded.setup() end
  return loaded.map
end

local function unpack_function(packed)
  return ship.unpack(packed, globals(), loader)
end

--- {kind="function", packed=}: an item is its argument.
prepare["function"] = function(definition)
  return unpack_function(definition.packed)
end

--- {kind="call"}: items are calls, {packed=, args=, cast=}, packed as ship.encode made it, args a
--- list, with its length as `n` if it has nils; results are lists of values.
function prepare.call()
  return function(call)
    local f = unpack_function(ship.decode(call.packed))
    local args = call.args
    local n = args.n or #args
    if call.cast then
      host_job.output("progress", true) -- tells the driver that it has begun
      f(table.unpack(args, 1, n))
      return { n = 0 }
    end
    return table.pack(f(table.unpack(args, 1, n)))
  end
end

--- Makes the function of a job; runs as a task before the first item. Raises what a script or its
--- setup() raises.
---@param definition table what the driver sends: one of the above
---@return function|nil map nil and an error
---@return integer|fleet.Error concurrency the number of tasks to run at a time
function runner.prepare(definition)
  local f, err = prepare[definition.kind](definition)
  if not f then return nil, err end
  return f, definition.concurrency
end

return runner
