-- SPDX-License-Identifier: MIT
local node_error = require("fleet.cluster.node_error")

describe("node_error", function()
  it("tells why a node is not called", function()
    for state, kind in pairs({
      draining = "draining", skew = "skew", down = "connect", suspect = "connect",
    }) do
      local err = node_error({ name = "n", state = state })
      assert.same({ kind, "n", "no", "node n is " .. state },
        { err.kind, err.node, err.applied, err.message })
    end
    assert.equal("why", node_error({ name = "n", state = "down", error = "why" }).message)
  end)
end)
