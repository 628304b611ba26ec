-- SPDX-License-Identifier: MIT
-- What the commands share: exit codes, notes on stderr, and tasks that a signal ends.

local host_driver = require("host.driver")
local task = require("host.task")
local text = require("fleet.base.text")

local program = {}

--- Exit codes of all commands.
program.OK, program.FAILED, program.USAGE, program.NO_WORKERS = 0, 1, 2, 3
--- Exit codes by signal, as a shell reports a process that the signal ended.
program.SIGNALLED = { INT = 130, PIPE = 141, TERM = 143 }

--- Writes a line to stderr, after what was written to stdout.
---@param format string as for string.format
---@param ... any
function program.note(format, ...)
  io.stdout:flush()
  io.stderr:write("moonfleet: ", text.plain(format:format(...)), "\n")
end

--- Runs f() in a task and waits for its end.
---@param f fun(): ...
---@param on_signal fun(signal: string, running: host.Task): boolean may cancel the task, and
--- returns whether it did
---@param cleanup fun() runs when the task has ended, in any way
---@return integer|nil code of the signal that ended the task, else what f returned
---@return any ...
function program.run(f, on_signal, cleanup)
  local running, ended_by = task.start(f), nil
  task.spawn(function()
    while not ended_by do
      local signal = host_driver.wait_signal()
      if on_signal(signal, running) then ended_by = signal end
    end
  end)
  local results = table.pack(running:join())
  cleanup()
  if ended_by then return program.SIGNALLED[ended_by] end
  if not results[1] then error(("%s\n%s"):format(results[2], results[3]), 0) end
  return table.unpack(results, 2, results.n)
end

return program
