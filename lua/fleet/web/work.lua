-- SPDX-License-Identifier: MIT
-- What runs do with their items: compute checksums, or what the script of a job says.

local digest = require("fleet.digest")
local errors = require("fleet.errors")
local http = require("fleet.http")
local job = require("fleet.run.job")
local json = require("fleet.json")
local map = require("fleet.driver.map")
local pretty = require("fleet.base.pretty")
local script = require("fleet.run.script")
local script_blobs = require("fleet.driver.script_blobs")
local text = require("fleet.base.text")

local work = {}

-- Of a checksum, as in scripts/checksum.lua.
local TIMEOUT, RETRIES = 60, 2
-- Bytes of the JSON of what a job makes of all results.
local MAX_CONCLUSION = 256 * 1024

-- In place of a result that is nil.
local NOTHING = {}

--- Reads the script of a job. Returns the job, its text and the digest of that; or nil and an
--- error.
---@param path string
---@return fleet.Job|nil
---@return string|fleet.Error
---@return string|nil
function work.load(path)
  local source, err = script.read(path)
  if not source then return nil, err end
  if script.examine(source).is_driver then
    return nil, errors.format("usage", "%s is a driver script, not a job", path)
  end
  local loaded
  loaded, err = job.load(source, "@" .. path)
  if not loaded then return nil, err end
  if loaded.script then return nil, errors.format("usage", "%s returns no job", path) end
  return loaded, source, digest.sha256(source)
end

local function run_job(driver, run, source, on_row, begun)
  local loaded, code, version = work.load(run.script)
  if not loaded then return nil, code end
  if version ~= run.source then
    return nil, errors.format("usage", "the script %s has changed since the run began; begin a new "
      .. "run", run.script)
  end
  local options = loaded.options
  local m = map.new({
    cluster = driver.cluster, source = source, on_row = on_row, timeout = options.timeout,
    blobs = script_blobs.of(code, run.script, options.concurrency),
    scheduler = {
      retries = options.retries, batch = options.batch, concurrency = options.concurrency,
      ordered = false,
    },
  })
  begun(m)
  return m:run()
end

--- Runs the items of a source.
---@param driver fleet.Driver
---@param run fleet.WebRun
---@param source fleet.ItemSource
---@param on_row fun(item: any, ok: boolean, value: any, id: integer): boolean|nil, fleet.Error|nil
---@param begun fun(map: fleet.Map)
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil
function work.run(driver, run, source, on_row, begun)
  if run.kind == "job" then return run_job(driver, run, source, on_row, begun) end
  return driver:map(http.sha256, source, { timeout = TIMEOUT, retries = RETRIES, order = false },
    on_row, begun)
end

--- Returns what a job with a reduce makes of all results, as JSON, in the order of their items; nil
--- for other runs. Or nil and an error.
---@param run fleet.WebRun
---@return string|nil
---@return fleet.Error|nil
function work.conclude(run)
  local loaded = run.kind == "job" and work.load(run.script) or {}
  if not loaded.reduce then return nil end
  local values, acc = {}, loaded.init
  for row in run:results() do
    if not row.error then values[row.n] = row.value == nil and NOTHING or row.value end
  end
  for n = 1, run.total do
    local value = values[n]
    if value ~= nil then
      if value == NOTHING then value = nil end
      local ok, result = pcall(loaded.reduce, acc, value)
      if not ok then
        return nil, errors.format("raise", "reduce: %s", text.one_line(pretty.message(result)))
      end
      acc = result
    end
  end
  local conclusion, err = json.encode(acc)
  if conclusion and #conclusion > MAX_CONCLUSION then
    return nil, errors.format("too_large", "The result of reduce has %d bytes, too many to be "
      .. "shown; the results are in the downloads.", #conclusion)
  end
  return conclusion, err
end

return work
