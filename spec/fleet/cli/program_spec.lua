-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local program = require("fleet.cli.program")

describe("fleet.cli.program", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function run(code)
    local driver = world:write("driver.lua", [[
      local program = require("fleet.cli.program")
      local task = require("host.task")
      local function cleanup() io.write("cleanup\n") end
      ]] .. code)
    return world:run({ "run", driver })
  end

  it("has the exit codes of the documents", function()
    assert.same({ 0, 1, 2, 3 },
      { program.OK, program.FAILED, program.USAGE, program.NO_WORKERS })
    assert.same({ INT = 130, PIPE = 141, TERM = 143 }, program.SIGNALLED)
  end)

  it("writes notes that a terminal does not obey", function()
    assert.equal("moonfleet: 5 \\x1b[1m\n", run([[program.note("%d %s", 5, "\27[1m")]]).err)
  end)

  it("returns what the task returned, after the cleanup", function()
    assert.equal("cleanup\n7\tx\n", run([[
      print(program.run(function() return 7, "x" end, function() end, cleanup))
    ]]).out)
  end)

  it("cleans up before it raises what the task raised", function()
    local done = run([[program.run(function() error("oops") end, function() end, cleanup)]])
    assert.equal(1, done.code)
    assert.equal("cleanup\n", done.out)
    assert.matches("driver.lua:4: oops", done.err)
  end)

  it("ends with the code of the signal for which the task was cancelled", function()
    assert.equal("INT\nTERM\ncleanup\n143\n", run([[
      local function on_signal(signal, running)
        print(signal)
        if signal == "INT" then return false end
        running:cancel()
        return true
      end
      task.spawn(function()
        local pid = io.open("/proc/self/stat"):read("n")
        task.sleep(0.1)
        os.execute("kill -INT " .. pid)
        task.sleep(0.1)
        os.execute("kill -TERM " .. pid)
      end)
      print(program.run(function() task.sleep(60) end, on_signal, cleanup))
    ]]).out)
  end)
end)
