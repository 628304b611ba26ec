-- SPDX-License-Identifier: MIT
local unready = require("fleet.cluster.node_error")

describe("unready", function()
  it("says why a node is not called", function()
    for state, kind in pairs({
      draining = "draining", skew = "skew", down = "connect", suspect = "connect",
    }) do
      local err = unready({ name = "n", state = state })
      assert.same({ kind, "n", "no", "node n is " .. state },
        { err.kind, err.node, err.applied, err.message })
    end
    assert.equal("why", unready({ name = "n", state = "down", error = "why" }).message)
  end)
end)
