-- SPDX-License-Identifier: MIT
-- Which workers there are and which of them take work: methods of
-- fleet.scheduler for workers that come, drain, are suspended and resume.

local credit = require("fleet.scheduler.credit")

local workers = {}

--- @class fleet.SchedulerWorker
--- @field id any
--- @field node {name: string, workers: integer, ok: integer, failed: integer} its
--- node; workers: those that take work
--- @field credit fleet.Credit
--- @field in_flight integer tasks it has, those to be stopped included
--- @field batches table<fleet.Batch, true>
--- @field exclusive fleet.Batch|nil the isolated batch it runs
--- @field reserved boolean finishes what it has, then takes an isolated item
--- @field taking boolean takes work: neither draining nor suspended
--- @field draining boolean
--- @field suspended boolean
--- @field cancelling integer tasks that it is to stop
--- @field starved boolean has nothing to run: even a small batch is welcome

--- Adds a worker; it may be given work at once.
---@param self fleet.Scheduler
---@param id any non-nil; no present worker has it
---@param node_name string
function workers.add_worker(self, id, node_name)
  if self.workers[id] then error("scheduler: that worker is already there", 2) end
  local node = self.nodes[node_name]
  if not node then
    node = { name = node_name, workers = 0, ok = 0, failed = 0 }
    self.nodes[node_name] = node
  end
  local worker = {
    id = id,
    node = node,
    credit = credit.new(self.concurrency, self.batch),
    in_flight = 0,
    batches = {},
    exclusive = nil,
    reserved = false,
    taking = false,
    draining = false,
    suspended = false,
    cancelling = 0,
    starved = false,
  }
  self.workers[id] = worker
  workers.set_taking(self, worker, true)
end

--- Says whether a worker takes work; nothing waits for one that does not.
---@param self fleet.Scheduler
---@param worker fleet.SchedulerWorker
---@param taking boolean
function workers.set_taking(self, worker, taking)
  if worker.taking == taking then return end
  worker.taking = taking
  local change = taking and 1 or -1
  self.worker_count = self.worker_count + change
  worker.node.workers = worker.node.workers + change
  workers.set_reserved(self, worker, worker.reserved and taking)
end

--- Keeps a busy worker free for an item that must be alone, or does so no more.
---@param self fleet.Scheduler
---@param worker fleet.SchedulerWorker
---@param reserved boolean
function workers.set_reserved(self, worker, reserved)
  if worker.reserved == reserved then return end
  worker.reserved = reserved
  self.reserved = self.reserved + (reserved and 1 or -1)
end

--- Says that a worker takes nothing more but goes on with what it has. From now
--- on nothing waits for it; it still has to be removed in the end. Returns false
--- when there is no such worker.
---@param self fleet.Scheduler
---@param id any
---@return boolean
function workers.drain_worker(self, id)
  local worker = self.workers[id]
  if not worker then return false end
  worker.draining = true
  workers.set_taking(self, worker, false)
  return true
end

--- Says that a worker is not heard of: it gets nothing more and nothing waits
--- for it, but what it has stays with it. Returns false when there is no such
--- worker.
---@param self fleet.Scheduler
---@param id any
---@return boolean
function workers.suspend_worker(self, id)
  local worker = self.workers[id]
  if not worker then return false end
  worker.suspended = true
  workers.set_taking(self, worker, false)
  return true
end

--- Says that a suspended worker is heard of again. It takes work, unless it
--- drains. Returns false when there is no such worker.
---@param self fleet.Scheduler
---@param id any
---@return boolean
function workers.resume_worker(self, id)
  local worker = self.workers[id]
  if not worker then return false end
  worker.suspended = false
  workers.set_taking(self, worker, not worker.draining)
  return true
end

return workers
