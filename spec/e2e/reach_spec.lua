-- SPDX-License-Identifier: MIT
-- Calls every function that a job can reach on every object and with every odd argument
-- (spec/support/reach.lua): no worker may die of it.
-- Patient: takes long, and some calls end by their time limit.

local e2e = require("spec.support.e2e")

local JOB = "spec/support/reach.lua"

describe("what a job can reach", function()
  local world, paths, quick, waiting
  setup(function()
    world = e2e.new()
    local run = world:run({ "run", JOB, "--items", "list" })
    assert.equal(0, run.code, run.err)
    paths, quick, waiting = {}, {}, {}
    for _, item in ipairs(e2e.results(run.out)[1].value) do
      local list = item:find("|*", 1, true) and quick or waiting
      list[#list + 1] = item
      paths[item:match("^[^|]+")] = true
    end
  end)
  teardown(function() world:close() end)

  it("is what is meant to be there", function()
    local count = 0
    for _ in pairs(paths) do count = count + 1 end
    assert.is_true(count > 150, count)
    for _, path in ipairs({
      "digest/update", "document/xpath", "node/attr", "lines/take", "stream/write", "fleet/pmap",
      "fleet.http/request", "future/wait", "node/children", "globals/string/gsub", "globals/load",
      "future/done/notify", "wrapped", "iterator",
    }) do
      assert.is_true(paths[path], path)
    end
    for path in pairs(paths) do
      assert.is_nil(path:find("__gc", 1, true), path)
      assert.is_nil(path:find("host", 1, true), path)
    end
  end)

  -- Each item must end with the number of its calls, with a raised error, or by its time limit.
  local function call_all(items, seconds)
    local run = world:run({ "run", JOB, world:items(items), "--retries", 0,
      "--timeout", seconds })
    assert.is_true(run.code == 0 or run.code == 1, run.err:sub(1, 500))
    local results, calls = e2e.results(run.out), 0
    assert.equal(#items, #results)
    for _, result in ipairs(results) do
      local kind = result.error and result.error.kind
      assert.is_true(kind == nil or kind == "raise" or kind == "timeout", ("%s: %s"):format(
        result.item, kind and result.error.message))
      calls = calls + (result.value or 0)
    end
    assert.is_nil(run.err:match("worker died[^\n]*"))
    return calls
  end

  it("survives every wrong self and every odd argument", function()
    assert.is_true(call_all(quick, e2e.sanitized and 60 or 20) > 300000)
  end)

  it("survives them where it may wait, too", function()
    assert.is_true(call_all(waiting, 5) > 100000)
  end)
end)
