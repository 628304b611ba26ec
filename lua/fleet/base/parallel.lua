-- SPDX-License-Identifier: MIT
-- Runs a function for every value of a list, all at the same time.

local task = require("host.task")

local parallel = {}

--- Runs f(value) for each value of a list at the same time and waits for all of them. If any
--- raises, that error is raised in the end.
---@generic T
---@param list T[]
---@param f fun(value: T)
---@param max integer|nil how many run at a time (default: all)
function parallel.each(list, f, max)
  local tasks, begun, failed, raised = {}, 0, false, nil
  local function run()
    while begun < #list do
      begun = begun + 1
      f(list[begun])
    end
  end
  for i = 1, math.min(#list, max or #list) do tasks[i] = task.start(run) end
  for _, t in ipairs(tasks) do
    local ok, err = t:join()
    if not ok and not failed then failed, raised = true, err end
  end
  if failed then error(raised, 0) end
end

return parallel
