-- SPDX-License-Identifier: MIT
-- The worker's side of a job, called by the host (job.c): makes of a definition the function that
-- takes items. All jobs of one driver share a Lua state, and so the globals.

local errors = require("fleet.errors")
local host_job = require("host.job")
local job = require("fleet.run.job")
local modules = require("fleet.ship.modules")
local sandbox = require("fleet.worker.sandbox")
local ship = require("fleet.ship")

local runner = {}

-- The texts of modules that functions brought along, by hash.
local texts = setmetatable({}, { __index = function(_, hash) return host_job.blob(hash) end })

-- Of this Lua state, made by its first job.
local loader, env

local function globals()
  if not env then
    loader = modules.loader(texts)
    env = sandbox.new({
      loader = loader, print = function(text) host_job.output("print", text) end,
    })
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
  if loaded.script then -- but it was one in the driver
    return nil, errors.format("usage",
      "the script returns no job in a worker, where io, os and package are not at hand")
  end
  if loaded.setup then loaded.setup() end
  return loaded.map
end

local function unpack_function(packed)
  return ship.unpack(packed, globals(), loader)
end

--- {kind="function", packed=}: items are its argument.
function prepare.function_(definition)
  return unpack_function(definition.packed)
end

--- {kind="call"}: items are calls, {packed=, args=, cast=}, packed as ship.encode made it, and
--- results are lists of values.
function prepare.call()
  return function(call)
    local f = unpack_function(ship.decode(call.packed))
    local args = call.args
    if call.cast then
      host_job.output("progress", true) -- by which the driver knows that it has begun
      f(table.unpack(args, 1, args.n))
      return { n = 0 }
    end
    return table.pack(f(table.unpack(args, 1, args.n)))
  end
end

--- Runs as a task before the first item. `definition` is what drivers send, see above. Raises
--- what a script or its setup() raises.
---@param definition table
---@return function|nil map or nil and an error
---@return integer|fleet.Error concurrency tasks to run at a time
function runner.prepare(definition)
  local kind = definition.kind == "function" and "function_" or definition.kind
  local f, err = prepare[kind](definition)
  if not f then return nil, err end
  return f, definition.concurrency
end

return runner
