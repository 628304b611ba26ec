-- SPDX-License-Identifier: MIT
-- Which errors that keep a call from beginning are raised, and the errors of nodes not ready.

local backend = require("fleet.api.backend")
local errors = require("fleet.errors")

describe("cannot_begin", function()
  it("raises what kept everything from beginning, unless the caller wants to see it", function()
    local err = errors.format("connect", "no node")
    local ok, raised = pcall(backend.cannot_begin, err, {})
    assert.same({ false, err }, { ok, raised })
    assert.is_true(errors.is_unstartable(raised))
    assert.same({ n = 2, nil, err },
      table.pack(backend.cannot_begin(err, { on_no_workers = "return" })))
  end)

  it("returns what may be different the next time", function()
    local err = errors.format("timeout", "late")
    assert.same({ n = 2, nil, err }, table.pack(backend.cannot_begin(err, {})))
    assert.is_false(backend.in_task)
  end)
end)

describe("node_error", function()
  it("tells why a node is not called", function()
    for state, kind in pairs({
      draining = "draining", skew = "skew", down = "connect", suspect = "connect",
    }) do
      local err = backend.node_error({ name = "n", state = state })
      assert.same({ kind, "n", "no", "node n is " .. state },
        { err.kind, err.node, err.applied, err.message })
    end
    assert.equal("why", backend.node_error({ name = "n", state = "down", error = "why" }).message)
  end)
end)
