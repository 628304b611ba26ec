-- SPDX-License-Identifier: MIT
-- The fleet as the REPL and `moonfleet eval` see it: the nodes by name, opened at first use, and
-- what tasks print there.

local backend = require("fleet.api.backend")
local driver = require("fleet.driver")
local evaluate = require("fleet.repl.evaluate")
local fleet = require("fleet")
local text = require("fleet.base.text")

local targets = {}

--- @class fleet.Targets
local Targets = {}
Targets.__index = Targets

local COLUMNS = {
  "name", "address", "state", "workers", "running", "queued", "release", "rtt_ms",
}
local NUMERIC = { [4] = true, [5] = true, [6] = true, [8] = true }

--- Lays out nodes as a table for people.
---@param nodes table[] as of fleet.nodes
---@return string lines, without the last line feed
function targets.table(nodes)
  local rows = { COLUMNS }
  for i, n in ipairs(nodes) do
    local row = {}
    for c, column in ipairs(COLUMNS) do
      local value = n[column]
      if column == "rtt_ms" then value = n.rtt and ("%.1f"):format(n.rtt * 1000) end
      if column == "address" then value = n.started_by or value end
      row[c] = text.escape(tostring(value or "-"))
    end
    rows[i + 1] = row
  end
  return table.concat(text.columns(rows, NUMERIC), "\n")
end

-- Seconds: practically no limit, and the most that nodes accept.
local NO_LIMIT = 1e9

--- Makes the targets. Connects nothing yet.
---@param options { on_print: fun(node: string, text: string),
---  loader: fun(text: string, chunkname: string): function|nil,
---  fleet: table|nil, driver: table|nil }
---  `fleet` is the public library, `driver` the module below it; specs pass their own
---@return fleet.Targets
function targets.new(options)
  return setmetatable({
    on_print = options.on_print, loader = options.loader, fleet = options.fleet or fleet,
    driver = options.driver or driver,
  }, Targets)
end

-- Prints arrive as soon as there is a cluster.
local function open(self, timeout)
  if self.opened then return true end
  local opened, err = self.driver.get(timeout)
  if not opened then return nil, err end
  opened.cluster.on_print = self.on_print
  self.remote = evaluate.remote(self.loader)
  self.opened = true
  return true
end

--- Returns the nodes, as fleet.nodes does. Waits.
---@param timeout number|nil seconds to wait for the nodes at the first use
---@return table[]|nil nodes
---@return fleet.Error|nil
function Targets:nodes(timeout)
  local ok, err = open(self, timeout)
  if not ok then return nil, err end
  return self.fleet.nodes()
end

--- Returns the names of the nodes that can run code. Waits.
---@param timeout number|nil as Targets:nodes
---@return string[]|nil names, sorted; or nil and an error
---@return fleet.Error[]|fleet.Error others why the others cannot
function Targets:names(timeout)
  local nodes, err = self:nodes(timeout)
  if not nodes then return nil, err end
  local names, others = {}, {}
  table.sort(nodes, function(a, b) return a.name < b.name end)
  for _, n in ipairs(nodes) do
    if n.state == "ready" then
      names[#names + 1] = n.name
    else
      others[#others + 1] = backend.node_error(n)
    end
  end
  return names, others
end

--- Starts to evaluate code.
---@param node string|nil name; default: the node with the least to do
---@param timeout number|nil seconds; default: no limit
---@param code string
---@param chunkname string
---@param prologue string|nil see fleet.repl.evaluate
---@param ... any arguments of the code
---@return fleet.Future|nil future of a fleet.Reply
---@return fleet.Error|nil
function Targets:send(node, timeout, code, chunkname, prologue, ...)
  local ok, err = open(self, timeout and timeout / 2)
  if not ok then return nil, err end
  local send = self.fleet.with({ timeout = timeout or NO_LIMIT }).send
  return send(node or self.fleet.any, self.remote, code, chunkname, prologue, ...)
end

--- Closes the fleet, even if typed code opened it. Idempotent.
function Targets:close()
  self.driver.close()
  self.opened = nil
end

return targets
