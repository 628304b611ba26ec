-- SPDX-License-Identifier: MIT
local failure = require("fleet.worker.failure")

describe("fleet.worker.failure", function()
  describe("copy", function()
    it("leaves the error of the job as it is", function()
      local err = { kind = "dns", message = "no such host", applied = "unknown", status = 7 }
      assert.same({ kind = "dns", message = "no such host", applied = "yes", status = 7,
        inner = { applied = "unknown" } }, failure.copy(err, true))
      assert.same({ kind = "dns", message = "no such host", applied = "unknown", status = 7 }, err)
    end)

    it("takes error tables only, without metamethods", function()
      for _, value in ipairs({ "x", 1, {}, { kind = "x" }, { message = "x" },
        { kind = 1, message = "x" }, { kind = "x", message = {} },
        setmetatable({}, { __index = { kind = "x", message = "y" } }),
        setmetatable({}, { __pairs = error, __len = error }) }) do
        assert.is_nil(failure.copy(value, true))
      end
    end)

    it("keeps kinds of the fleet for the fleet", function()
      assert.same({ kind = "raise", message = "x", applied = "no",
        inner = { kind = "lost", node = "n", inner = { node = "m" } } },
        failure.copy({ kind = "lost", message = "x", node = "n", inner = { node = "m" } }, false))
    end)

    it("cuts long texts", function()
      local copy = failure.copy({ kind = "x", message = ("m"):rep(100000),
        traceback = ("t"):rep(100000) }, true)
      assert.equal(("m"):rep(65536) .. " ... (100000 bytes)", copy.message)
      assert.equal(("t"):rep(8192) .. " ... (100000 bytes)", copy.traceback)
    end)
  end)

  describe("describe", function()
    local function message(value) return failure.describe(value, nil, true).message end

    it("has the traceback, if there is one", function()
      assert.same({ kind = "raise", message = "x", applied = "yes", traceback = "t" },
        failure.describe("x", "t", true))
      assert.same({ kind = "raise", message = "x", applied = "no" },
        failure.describe("x", false, false))
    end)

    it("tells a lack of memory", function()
      assert.equal("memory", failure.describe("not enough memory", nil, true).kind)
      assert.equal("raise", failure.describe(setmetatable({},
        { __tostring = function() return "not enough memory" end }), nil, true).kind)
    end)

    it("shows any value", function()
      assert.equal("1.5", message(1.5))
      assert.equal("(error object is a nil value)", message(nil))
      assert.equal("(error object is a boolean value)", message(true))
      assert.equal("(error object is a table value: {code = 42})", message({ code = 42 }))
      assert.equal("own", message(setmetatable({},
        { __metatable = "locked", __tostring = function() return "own" end })))
    end)

    it("uses a __tostring of the metatable itself, as tostring does", function()
      local inherits = setmetatable({}, { __index = { __tostring = error } })
      assert.equal("(error object is a table value: {code = 42})",
        message(setmetatable({ code = 42 }, inherits)))
      local strict = setmetatable({}, { __index = function() error("no such field") end })
      assert.equal("(error object is a table value: {code = 42})",
        message(setmetatable({ code = 42 }, strict)))
    end)

    it("explains what jobs have not", function()
      assert.equal("attempt to call a nil value (field 'x')",
        message("attempt to call a nil value (field 'x')"))
    end)
  end)
end)
