-- SPDX-License-Identifier: MIT
-- The workers that the scheduler knows, and which of them are available: methods of
-- fleet.scheduler.

local credit = require("fleet.scheduler.credit")

--- @class fleet.SchedulerWorkers: fleet.Scheduler
local workers = {}

--- @class fleet.SchedulerWorker
--- @field id any
--- @field node {name: string, workers: integer, ok: integer, failed: integer} its node; workers:
--- the available ones; ok, failed: items that ended there
--- @field credit fleet.Credit
--- @field in_flight integer tasks that it has, including those being cancelled
--- @field batches table<fleet.Batch, true>
--- @field exclusive fleet.Batch|nil the isolated batch that it runs
--- @field reserved boolean it finishes what it has, then takes an isolated item
--- @field available boolean it takes work: it neither drains nor fails to answer
--- @field cancelling integer tasks being cancelled there
--- @field starved boolean it has nothing to run: even a small batch is welcome

--- Adds a worker, which may be given work immediately.
---@param id any non-nil; no present worker has it
---@param node_name string
function workers:add_worker(id, node_name)
  if self.workers[id] then error("scheduler: that worker is already there", 2) end
  local node = self.nodes[node_name]
  if not node then
    node = { name = node_name, workers = 0, ok = 0, failed = 0 }
    self.nodes[node_name] = node
  end
  self.workers[id] = {
    id = id, node = node, credit = credit.new(self.concurrency, self.batch),
    in_flight = 0, batches = {}, exclusive = nil, reserved = false, available = false,
    cancelling = 0, starved = false,
  }
  workers.set_available(self, id, true)
end

--- Sets whether a worker takes work. A worker that does not keeps what it has, and nothing waits
--- for it.
---@param id any
---@param available boolean
---@return boolean known false when there is no such worker
function workers:set_available(id, available)
  local worker = self.workers[id]
  if not worker then return false end
  if worker.available == available then return true end
  worker.available = available
  local change = available and 1 or -1
  self.worker_count = self.worker_count + change
  worker.node.workers = worker.node.workers + change
  workers.set_reserved(self, worker, worker.reserved and available)
  return true
end

--- Sets whether a busy worker gets nothing more until it can take an isolated item.
---@param worker fleet.SchedulerWorker
---@param reserved boolean
function workers:set_reserved(worker, reserved)
  if worker.reserved == reserved then return end
  worker.reserved = reserved
  self.reserved = self.reserved + (reserved and 1 or -1)
end

return workers
