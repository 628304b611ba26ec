-- SPDX-License-Identifier: MIT
-- The library has all its parts; what they do is in the specs of fleet.api.

local fleet = require("fleet")

describe("fleet", function()
  it("has the functions of all parts", function()
    for _, name in ipairs({
      "call", "send", "cast", "multicall", "everywhere", "with", "nodes", "pmap", "each",
      "parallel_eval", "race", "all", "sleep", "self", "progress",
    }) do
      assert.is_function(fleet[name])
    end
    assert.equal("fleet.any", tostring(fleet.any))
  end)

  it("raises for a field that it does not have", function()
    assert.error_matches(function() return fleet.pmaap end,
      "fleet has no field 'pmaap'; did you mean fleet.pmap?")
  end)
end)
