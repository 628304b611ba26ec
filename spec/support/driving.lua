-- SPDX-License-Identifier: MIT
-- Helpers for specs of the scheduler.

local scheduler = require("fleet.scheduler")

local driving = {}

-- Errors of workers that left.
driving.CRASH = { kind = "crash", message = "worker died", signal = 11 }
driving.LOST = { kind = "lost", message = "node is gone" }
driving.DRAINING = { kind = "draining", message = "node leaves" }

--- Returns a scheduler with `n` items "item 1" .. "item n" and the given workers:
--- {id = node, ...}.
function driving.with(n, workers, opts)
  local s = scheduler.new(opts)
  for id, node in pairs(workers) do s:add_worker(id, node) end
  for i = 1, n do s:push("item " .. i) end
  return s
end

--- Returns every batch that the worker gets now.
function driving.take_all(s, worker)
  local batches = {}
  for batch in function() return s:next_batch(worker) end do batches[#batches + 1] = batch end
  return batches
end

--- Reports a good result, its id times ten, for each item of a batch.
function driving.finish(s, worker, batch)
  for id = batch.first, batch.first + batch.count - 1 do
    assert(s:result(worker, id, batch.attempt, true, id * 10, 5), "a good result is refused")
  end
end

--- Pops all available results; returns them as {id, ok, value or kind}.
function driving.pop_all(s)
  local list = {}
  for id, _, ok, value in function() return s:pop() end do
    list[#list + 1] = { id, ok, ok and value or value.kind }
  end
  return list
end

--- Returns a batch as {first id, last id, attempt}.
function driving.range(batch)
  return { batch.first, batch.first + batch.count - 1, batch.attempt }
end

return driving
