-- SPDX-License-Identifier: MIT
local errors = require("fleet.errors")

describe("fleet.errors", function()
  it("prints kind and message", function()
    local e = errors.new({ kind = "timeout", message = "no answer in 30 s" })
    assert.equal("timeout: no answer in 30 s", tostring(e))
  end)

  it("prints what is known of the place", function()
    local e = errors.new({ kind = "crash", message = "worker died", node = "n1", attempt = 2,
      signal = 11, applied = "unknown", traceback = "stack" })
    assert.equal("crash: worker died (node n1, attempt 2, signal 11, applied unknown)",
      tostring(e))
    assert.equal("lost: gone (applied no)",
      tostring(errors.new({ kind = "lost", message = "gone", applied = "no" })))
  end)

  it("prints even when fields are damaged afterwards", function()
    local e = errors.new({ kind = "raise", message = "x" })
    e.message, e.node = nil, {}
    assert.matches("^raise: nil %(node table: ", tostring(e))
  end)

  it("returns the same table, named fleet.error", function()
    local fields = { kind = "raise", message = "x" }
    assert.equal(fields, errors.new(fields))
    assert.equal("fleet.error", debug.getmetatable(fields).__name)
    assert.equal(fields, errors.new(fields))
  end)

  it("raises at the caller's line when the fields are no error", function()
    for _, bad in ipairs({ {}, { kind = "raise" }, { kind = 1, message = "x" }, "raise", 7 }) do
      local ok, message = pcall(function() errors.new(bad) end)
      assert.is_false(ok)
      assert.matches("errors_spec.lua:%d+: errors.new: needs", message)
    end
  end)

  it("makes functions that format", function()
    assert.equal("config: 100%", tostring(errors.formatter("config")("%d%%", 100)))
  end)

  it("knows an error by its shape, not its metatable", function()
    assert.is_true(errors.is({ kind = "lost", message = "gone" }))
    assert.is_true(errors.is(errors.new({ kind = "lost", message = "gone" })))
    for _, other in ipairs({ {}, { kind = "lost" }, { kind = "x", message = 1 }, "lost", true }) do
      assert.is_false(errors.is(other))
    end
    assert.is_false(errors.is(nil))
  end)

  it("never runs a metamethod of the value it looks at", function()
    local trap = setmetatable({}, { __index = function() error("ran") end })
    assert.is_false(errors.is(trap))
    assert.equal(trap, errors.wrap(trap))
  end)

  it("hides their metatable, which the host uses too", function()
    local e = errors.new({ kind = "raise", message = "x" })
    assert.is_false(getmetatable(e))
    assert.is_false(pcall(setmetatable, e, {}))
    for _, value in pairs(errors) do
      assert.are_not.equal(debug.getmetatable(e), value)
    end
  end)

  it("wraps bare errors only", function()
    local bare = { kind = "dns", message = "no such host" }
    assert.equal(bare, errors.wrap(bare))
    assert.equal("dns: no such host", tostring(bare))
    local plain = { rows = 3 }
    assert.equal(plain, errors.wrap(plain))
    assert.is_nil(getmetatable(plain))
    assert.equal("text", errors.wrap("text"))
    assert.is_nil(errors.wrap(nil))
  end)

  it("leaves the metatable of somebody else's error alone", function()
    local own = setmetatable({ kind = "mine", message = "x" }, { __metatable = "locked" })
    assert.equal(own, errors.wrap(own))
    assert.equal("locked", getmetatable(own))
  end)

  it("formats a message", function()
    local err = errors.format("input", "line %d of %s", 3, "x")
    assert.equal("input: line 3 of x", tostring(err))
  end)

  it("documents every kind", function()
    local expected = { "raise", "encode", "decode", "too_large", "timeout", "memory", "crash",
      "lost", "refused", "draining", "skew", "cancelled", "connect", "deadline", "poisoned",
      "url", "dns", "tls", "redirect", "truncated", "protocol", "input" }
    for _, kind in ipairs(expected) do
      assert.is_string(errors.kinds[kind])
    end
  end)
end)
