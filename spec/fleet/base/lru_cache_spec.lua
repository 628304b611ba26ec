-- SPDX-License-Identifier: MIT
local lru_cache = require("fleet.base.lru_cache")

describe("lru_cache", function()
  it("gives what was put", function()
    local c = lru_cache.new(2)
    assert.is_nil(c:get("a"))
    c:put("a", 1)
    c:put("a", 2)
    c:put("b", false)
    assert.equal(2, c:get("a"))
    assert.is_false(c:get("b"))
  end)

  it("keeps what is asked for, forgets the rest, and stays bounded", function()
    local c = lru_cache.new(10)
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

  it("counts what it is told that an entry takes", function()
    local c = lru_cache.new(100)
    c:put("large", 1, 1000)
    assert.equal(1, c:get("large"))
    for i = 1, 50 do c:put(i, i, 30) end
    assert.is_nil(c:get("large"))
    assert.is_nil(c:get(45))
    assert.equal(46, c:get(46))
    c:put(50, "again", 30)
    for _ = 1, 10 do c:put("same", 1, 60) end
    assert.equal("again", c:get(50))
    local size = 0
    for _, half in ipairs({ c.young, c.old }) do
      for _, entry in pairs(half) do size = size + entry.size end
    end
    assert.is_true(size <= 200)
  end)
end)
