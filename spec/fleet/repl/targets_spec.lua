-- SPDX-License-Identifier: MIT
-- Over a fleet of this spec; the real one is behind spec/fleet/cli/command/eval_spec.lua.

local errors = require("fleet.errors")
local targets = require("fleet.repl.targets")

describe("targets", function()
  local fleet, driver, sent, prints
  before_each(function()
    sent, prints = {}, {}
    fleet = {
      any = {},
      nodes = function()
        return {
          { name = "b", state = "ready" }, { name = "c", state = "down" },
          { name = "a", state = "ready" },
        }
      end,
      with = function(options)
        return {
          send = function(node, f, ...)
            sent[#sent + 1] = { node = node, timeout = options.timeout, ... }
            return { f = f }
          end,
        }
      end,
    }
    driver = { count = 0, closed = 0, cluster = {} }
    function driver.get()
      driver.count = driver.count + 1
      return driver
    end
    function driver.close() driver.closed = driver.closed + 1 end
  end)

  local function open()
    return targets.new({
      fleet = fleet, driver = driver,
      on_print = function(...) prints[#prints + 1] = { ... } end,
      loader = function(text, name) return load(text, name, "t") end,
    })
  end

  it("connects at the first use, once", function()
    local t = open()
    assert.equal(0, driver.count)
    assert.same({ "a", "b" }, t:names())
    assert.equal(3, #t:nodes())
    assert.equal(1, driver.count)
    driver.cluster.on_print("a", "hello")
    assert.same({ { "a", "hello" } }, prints)
    t:close()
    assert.equal(1, driver.closed)
  end)

  it("says why the other nodes cannot run code", function()
    local _, others = open():names()
    assert.equal(1, #others)
    assert.same({ "c", "connect", "node c is down" },
      { others[1].node, others[1].kind, others[1].message })
  end)

  it("sends code to a node, or to the one with the least to do", function()
    local t = open()
    local future = t:send("a", 2.5, "1 + 1", "=x", "local y = 1 ", "arg")
    assert.same({ n = 1, 2 }, future.f("1 + 1", "=x"))
    t:send(nil, nil, "code", "=x")
    assert.same({ node = "a", timeout = 2.5, "1 + 1", "=x", "local y = 1 ", "arg" }, sent[1])
    assert.equal(fleet.any, sent[2].node)
    assert.equal(1e9, sent[2].timeout)
  end)

  it("passes on why there is no fleet", function()
    local err = errors.new({ kind = "connect", message = "nobody" })
    function driver.get() return nil, err end
    local t = open()
    for _, method in ipairs({ "nodes", "names", "send" }) do
      local value, why = t[method](t)
      assert.is_nil(value)
      assert.equal(err, why)
    end
  end)
end)
