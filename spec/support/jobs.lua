-- SPDX-License-Identifier: MIT
-- Real maps for specs, with a node and jobs as text.
--
--   local fleet
--   setup(function() fleet = jobs.open(1) end)
--   teardown(function() fleet:close() end)
--   it("...", function() assert.same({ 2, 3 }, fleet:values("return item + 1", { 1, 2 })) end)

local codec = require("host.codec")
local digest = require("fleet.digest")
local e2e = require("spec.support.e2e")
local input = require("fleet.run.input")
local map = require("fleet.driver.map")
local cluster = require("fleet.cluster")
local sys = require("host.sys")

local jobs = {}

local Fleet = {}
Fleet.__index = Fleet

--- Starts a node "local".
---@param workers integer
function jobs.open(workers)
  local world = e2e.new()
  return setmetatable({
    world = world, node = world:node({ name = "local", workers = workers }),
  }, Fleet)
end

--- Connects to the node as another driver: its jobs share a Lua state in each worker.
---@return fleet.Cluster
function Fleet:connect()
  return assert(cluster.open(e2e.sources({ self.node.address }), sys.version))
end

--- Ends the node.
function Fleet:close()
  self.world:close()
end

--- Returns the text of a job whose map function of `item` has this body. `before` is inserted
--- before the table, `fields` into it.
---@param body string
---@param before string|nil
---@param fields string|nil
---@return string
function jobs.source(body, before, fields)
  return ("local fleet = require('fleet')\n%s\nreturn { map = function(item)\n%s\nend, %s }\n")
    :format(before or "", body, fields or "")
end

--- Returns the text of a job that computes for that many rounds, about 100 a microsecond, and
--- returns each item as a number.
---@param rounds integer
---@return string
function jobs.busy(rounds)
  return jobs.source(([[
    local n = 0
    for i = 1, %d do n = n + i %% 7 end
    return tonumber(item)]]):format(rounds))
end

--- Returns what nodes need for a job. Options: `concurrency` (default: 64).
---@param source string
---@param options {concurrency: integer|nil}|nil
---@return {key: string, bytes: string}[] blobs
function jobs.define(source, options)
  local definition = assert(codec.encode({
    kind = "script", source = source, chunkname = "@job.lua",
    concurrency = options and options.concurrency or 64,
  }))
  return { { key = digest.sha256(definition), bytes = definition } }
end

--- Makes a map that collects its results in `map.rows`, each {item=, ok=, value=}. Items are
--- a list or a source. Options: `concurrency`, `timeout`, `scheduler`, `on_progress`, `on_row`
--- (instead of collecting; `map` is its last argument), `cluster` (instead of its own, which is
--- closed after the run).
---@param source string
---@param items any[]|function
---@param options table|nil
---@return fleet.Map
function Fleet:map(source, items, options)
  options = options or {}
  local scheduler = options.scheduler or {}
  scheduler.concurrency = scheduler.concurrency or options.concurrency
  local m
  local p = options.cluster or self:connect()
  m = map.new({
    cluster = p,
    blobs = jobs.define(source, options),
    timeout = options.timeout,
    source = type(items) == "table" and input.words(items) or items,
    scheduler = scheduler,
    on_row = function(item, ok, value)
      if options.on_row then return options.on_row(item, ok, value, m) end
      m.rows[#m.rows + 1] = { item = item, ok = ok, value = value }
      return true
    end,
    on_idle = function() end,
    on_progress = options.on_progress,
  })
  m.rows = {}
  if not options.cluster then
    function m.run(_)
      local fine, ok, err = pcall(getmetatable(m).run, m)
      p:close()
      if not fine then error(ok, 0) end
      return ok, err
    end
  end
  return m
end

--- Runs a map to its end and returns its rows; raises if it failed as a whole.
---@param source string
---@param items any[]|function
---@param options table|nil as Fleet:map
---@return {item: any, ok: boolean, value: any}[]
function Fleet:rows(source, items, options)
  local m = self:map(source, items, options)
  local ok, err = m:run()
  if not ok then error(tostring(err), 2) end
  return m.rows
end

--- Runs a map with that body and returns the value or error of each item.
---@param body string
---@param items any[]
---@param options table|nil as Fleet:map, and `before`, `fields` as jobs.source
---@return any[]
function Fleet:values(body, items, options)
  options = options or {}
  local values = {}
  for i, row in ipairs(self:rows(jobs.source(body, options.before, options.fields), items, options))
  do
    values[i] = row.value
  end
  return values
end

--- Runs that body for one item and returns its error; raises if it has none.
---@param body string
---@param options table|nil as Fleet:values, and `item` (1)
---@return fleet.Error
function Fleet:failure(body, options)
  options = options or {}
  local source = jobs.source(body, options.before, options.fields)
  local row = self:rows(source, { options.item or 1 }, options)[1]
  if row.ok then error("the item did not fail but gave " .. tostring(row.value), 2) end
  return row.value
end

return jobs
