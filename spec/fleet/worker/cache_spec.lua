-- SPDX-License-Identifier: MIT
local cache = require("fleet.worker.cache")

describe("cache", function()
  it("gives what was put", function()
    local c = cache.new(2)
    assert.is_nil(c:get("a"))
    c:put("a", 1)
    c:put("a", 2)
    c:put("b", false)
    assert.equal(2, c:get("a"))
    assert.is_false(c:get("b"))
  end)

  it("keeps what is asked for, forgets the rest, and stays bounded", function()
    local c = cache.new(10)
    c:put("kept", "here")
    for i = 1, 1000 do
      c:put(i, i)
      assert.equal("here", c:get("kept"))
      if i > 4 then assert.equal(i - 4, c:get(i - 4)) end
    end
    assert.is_nil(c:get(1))
    local count = 0
    for _, half in ipairs({ c.young, c.old }) do
      for _ in pairs(half) do count = count + 1 end
    end
    assert.is_true(count <= 20)
  end)
end)
