-- SPDX-License-Identifier: MIT
-- Trusted modules (--modules) in workers, which are confined: modules of Debian, written in C.

local e2e = require("spec.support.e2e")
local trusted = require("fleet.ship.trusted")

describe("jobs", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function test(name, f)
    it(name, function()
      for _, module in ipairs({ "lpeg", "cjson", "socket" }) do
        if not trusted.find(module) then
          return pending(("there is no %s for %s"):format(module, _VERSION))
        end
      end
      f()
    end)
  end

  -- Numbers in a text, by an LPeg grammar, as JSON.
  local JOB = [[
local lpeg, json = require("lpeg"), require("cjson")
local number = lpeg.C(lpeg.R("09") ^ 1) / tonumber
local list = lpeg.Ct((number + 1) ^ 0)
return { map = function(line) return json.encode(list:match(line)) end }
]]

  test("require the modules of the private node", function()
    local job = world:write("job.lua", JOB)
    local run = world:run({ "run", "--modules", "lpeg,cjson", job, "--items", "a1b22", "none" })
    assert.equal(0, run.code, run.err)
    local results = e2e.results(run.out)
    assert.same({ "[1,22]", "{}" }, { results[1].value, results[2].value })
    -- also from the environment and the configuration
    run = world:run({ "run", job, "--items", "7" }, { env = { "MOONFLEET_MODULES=lpeg,cjson" } })
    assert.equal("[7]", e2e.results(run.out)[1].value, run.err)
    local config = world:write("config.lua", "return { modules = { 'lpeg', 'cjson' } }")
    run = world:run({ "run", "--config", config, job, "--items", "7" })
    assert.equal("[7]", e2e.results(run.out)[1].value, run.err)
  end)

  test("learn of the flag that they need", function()
    local job = world:write("job.lua", JOB)
    local run = world:run({ "run", "--modules", "lpeg", job, "--items", "1" })
    assert.equal(1, run.code)
    local err = e2e.results(run.out)[1].error
    assert.equal("raise", err.kind)
    assert.matches("job.lua:1: module 'cjson' cannot be required in a job: it is written in C; "
      .. "jobs may require it only on nodes that allow it: moonfleet serve --modules cjson, or "
      .. "run, eval or repl --modules cjson for a private node or --ssh", err.message, 1, true)
  end)

  -- Captures modules and their functions.
  local DRIVER = [[
local fleet, lpeg, cjson = require("fleet"), require("lpeg"), require("cjson")
local match, digits = lpeg.match, "09"
local function f(s) return cjson.encode({ match(lpeg.C(lpeg.R(digits) ^ 1), s) }) end
local list, err = fleet.pmap(f, { "12a" })
print(list and (list[1].message or list[1]) or err.message)
print(fleet.call(fleet.any, cjson.encode, { 1 }))
-- a task ships it on
print(fleet.call(fleet.any, function() return (fleet.call(fleet.any, f, "5")) end))
]]

  test("get functions that capture modules", function()
    local script = world:write("driver.lua", DRIVER)
    local run = world:run({ "run", "--modules", "lpeg,cjson", script })
    assert.equal(0, run.code, run.err)
    assert.equal('["12"]\n[1]\n["5"]\n', run.out)
    run = world:run({ "run", "--modules", "lpeg", script })
    assert.matches("^upvalue 'cjson' %(module 'cjson', which is written in C%) cannot be shipped: "
      .. "function 'f' .* captures it; jobs may require it only on nodes that allow it: moonfleet "
      .. "serve %-%-modules cjson", run.out)
  end)

  test("of a node require those of the node", function()
    local node = world:node({ workers = 1, flags = { "--modules", "lpeg,cjson" } })
    local bare = world:node({ workers = 1 })
    local script = world:write("driver.lua", DRIVER)
    local run = world:run({ "run", "--peers", node.address, script })
    assert.equal('["12"]\n[1]\n["5"]\n', run.out, run.err)
    run = world:run({ "run", "--peers", bare.address, script })
    assert.matches("^module '%w+', which the function captures, cannot be loaded here: .* written "
      .. "in C; .* moonfleet serve %-%-modules", run.out)
    run = world:run({ "eval", "--peers", node.address, "--modules", "lpeg", "1" })
    assert.equal(2, run.code)
    assert.matches("--modules is for the private node and --ssh; with --peers each node has its "
      .. "own: moonfleet serve --modules", run.err, 1, true)
  end)

  test("of another driver have a state of their own", function()
    local node = world:node({ workers = 1, flags = { "--modules", "cjson" } })
    local first = world:program({ "repl", "--peers", node.address }, { pipe = true })
    first.stdin:write(":on any\nrequire('cjson').mark = 'first'\nrequire('cjson').mark\n")
    e2e.wait_until("the mark", function() return first:out():find("first", 1, true) end)
    local run = world:run({ "eval", "--peers", node.address, "tostring(require('cjson').mark)" })
    assert.equal("nil\n", run.out, run.err)
    first.stdin:close()
    first:wait()
  end)

  test("keep the sandbox that they have", function()
    local run = world:run({ "eval", "--modules", "lpeg,cjson,socket", [[
      require("lpeg"); require("cjson"); require("socket")
      return io.open, os.execute, os.getenv, package.loadlib, package.cpath,
        pcall(require, "host.http"), pcall(require, "lfs")]] })
    assert.matches("^nil\nnil\nnil\nnil\nnil\nfalse\nfalse\n", run.out)
  end)

  test("load a module that has files in Lua", function()
    local run = world:run({ "eval", "--modules", "socket",
      "require('socket').dns.toip('127.0.0.1') .. type(require('socket.core').tcp)" })
    assert.equal("127.0.0.1function\n", run.out, run.err)
  end)

  test("find modules where the node's LUA_CPATH and LUA_PATH say", function()
    local c = assert(trusted.find_c("lpeg"))
    assert(os.execute(("cp %s %s"):format(c, world:path("lpeg.so"))))
    world:write("only_here.lua", "return { lpeg = require('lpeg') }")
    local env = { "LUA_CPATH=" .. world:path("?.so"), "LUA_PATH=" .. world:path("?.lua") }
    local run = world:run({ "eval", "--modules", "lpeg,only_here",
      "type(require('only_here').lpeg.match)" }, { env = env })
    assert.equal("function\n", run.out, run.err)
  end)

  test("do not start where the node lacks a module", function()
    for _, words in ipairs({ { "serve", "--modules", "no_such" },
      { "eval", "--modules", "lpeg,no_such", "1" } }) do
      local run = world:run(words)
      assert.equal(2, run.code)
      assert.matches("^moonfleet: %-%-modules: there is no module 'no_such' on this machine; "
        .. "[^\n]+\n$", run.err)
    end
  end)
end)
