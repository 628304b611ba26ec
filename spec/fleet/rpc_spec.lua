-- SPDX-License-Identifier: MIT
local fleet = require("fleet")
local rpc = require("fleet.rpc")

require("spec.support.library")(setup, teardown, 1)

local name
setup(function() name = fleet.nodes()[1].name end)

local function add(a, b) return a + b end

describe("rpc", function()
  it("calls", function()
    assert.equal(3, (rpc.call(name, add, { 1, 2 })))
    assert.equal(3, (rpc.call(name, add, { 1, 2 }, 5)))
    local value, err = rpc.call(name, function() error("x", 0) end)
    assert.same({ nil, "raise" }, { value, err.kind })
    assert.equal("timeout", select(2, rpc.call(name, function()
      require("fleet").sleep(3600)
    end, {}, 0.05)).kind)
  end)

  it("calls now and asks later", function()
    local key = rpc.async_call(name, add, { 1, 2 })
    assert.equal(3, (rpc.yield(key)))
    assert.same({ true, 3 }, { rpc.nb_yield(key) })
    local never = rpc.async_call(name, function() require("fleet").sleep(3600) end)
    assert.same({ false }, { rpc.nb_yield(never) })
    assert.same({ false }, { rpc.nb_yield(never, 0.01) })
    never:cancel()
  end)

  it("calls several, by name", function()
    for _, nodes in ipairs({ { name }, false }) do
      assert.same({ { [name] = 3 }, {} }, { rpc.multicall(nodes or nil, add, { 1, 2 }) })
    end
    local results, failures = rpc.multicall({ name, "nobody" }, add, { 1, 2 })
    assert.same({ [name] = 3 }, results)
    assert.equal("connect", failures.nobody.kind)
  end)

  it("maps, and raises the first error", function()
    assert.same({ 11, 12, 13, n = 3 }, rpc.pmap(add, { 10 }, { 1, 2, 3 }))
    local ok, err = pcall(rpc.pmap, add, { "x" }, { 1 })
    assert.is_false(ok)
    assert.equal("raise", err.kind)
  end)

  it("evaluates in parallel", function()
    local results = rpc.parallel_eval({ { add, { 1, 2 } }, { add, { 3, 4 } } })
    assert.same({ 3, 7, n = 2 }, results)
  end)

  it("casts, to one and to all", function()
    assert.is_true(rpc.cast(name, add, { 1, 2 }))
    assert.is_true(rpc.eval_everywhere(nil, add, { 1, 2 }))
    assert.is_true(rpc.abcast({ name }, add, { 1, 2 }))
    assert.equal("connect", select(2, rpc.eval_everywhere({ "nobody" }, add)).kind)
  end)

  it("is misused loudly", function()
    assert.has_error(function() rpc.call(name, add, 1) end,
      "rpc.call: arguments must be a list, got number")
    assert.has_error(function() rpc.call(name, add, {}, -1) end,
      "rpc.call: the timeout must be a positive number, got -1")
    assert.has_error(function() rpc.parallel_eval({ { add }, nil, { add } }) end)
  end)
end)
