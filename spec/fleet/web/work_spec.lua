-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local work = require("fleet.web.work")

describe("web.work", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("loads jobs, and says what is none", function()
    local loaded, source, version = work.load("scripts/wordcount.lua")
    assert.equal("function", type(loaded.map))
    assert.matches("^%-%- ", source)
    assert.matches("^%x+$", version)
    local function refusal(text)
      local nothing, err = work.load(world:write("s.lua", text))
      assert.is_nil(nothing)
      return err.message
    end
    assert.matches("is a driver script", refusal("print(1)"))
    assert.matches("no map", refusal("return {}"))
    assert.matches("s.lua:1", refusal("return {"))
    assert.matches("cannot read the job script", select(2, work.load("missing.lua")).message)
  end)

  it("reduces the results in the order of the items", function()
    local function run_of(script, rows)
      return {
        kind = "job", script = world:write("s.lua", script), total = 4,
        results = function()
          local i = 0
          return function()
            i = i + 1
            return rows[i]
          end
        end,
      }
    end
    local rows = { { n = 4 }, { n = 3, value = "c" }, { n = 1, value = "a" },
      { n = 2, error = { kind = "raise", message = "no" } } }
    local map = "map = print, init = '', "
    assert.equal('"acnil"', work.conclude(run_of("return { " .. map
      .. "reduce = function(a, b) return a .. tostring(b) end }", rows)))
    assert.is_nil((work.conclude(run_of("return { map = print }", rows))))
    local _, err = work.conclude(run_of("return { " .. map
      .. "reduce = function() error('broken') end }", rows))
    assert.matches("^reduce: .*broken", err.message)
    _, err = work.conclude(run_of("return { " .. map
      .. "reduce = function() return ('x'):rep(300000) end }", rows))
    assert.matches("too many to be shown", err.message)
    assert.is_nil((work.conclude({ kind = "checksums" })))
  end)
end)
