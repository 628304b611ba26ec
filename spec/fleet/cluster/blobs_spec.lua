-- SPDX-License-Identifier: MIT
local blobs = require("fleet.cluster.blobs")

describe("fleet.cluster.blobs", function()
  it("sends each blob once, however many users it has", function()
    local b = blobs.new()
    assert.is_true(b:use("a", 10))
    assert.is_false(b:use("a", 10))
    assert.is_true(b:use("b", 10))
    assert.is_nil(b:release("a"))
    assert.is_nil(b:release("a"))
    assert.is_false(b:use("a", 10)) -- still there
  end)

  it("drops unused blobs over the limit on their number, the longest unused first", function()
    local b = blobs.new(2, 1000)
    for _, key in ipairs({ "a", "b", "c", "d" }) do b:use(key, 1) end
    assert.is_nil(b:release("b"))
    assert.is_nil(b:release("a"))
    assert.same({ "b" }, b:release("c"))
    assert.is_true(b:use("b", 1)) -- to be sent again
    assert.is_false(b:use("a", 1))
    assert.is_nil(b:release("d"))
    assert.same({ "c" }, b:release("a"))
  end)

  it("drops unused blobs over the limit on their bytes", function()
    local b = blobs.new(100, 50)
    for i = 1, 5 do b:use(i, 20) end
    assert.is_nil(b:release(1))
    assert.is_nil(b:release(2))
    assert.same({ 1 }, b:release(3))
    b:use("huge", 1000)
    assert.same({ 2, 3, "huge" }, b:release("huge"))
  end)

  it("never drops a blob that is in use", function()
    local b = blobs.new(0, 0)
    b:use("a", 10)
    b:use("b", 10)
    assert.same({ "b" }, b:release("b"))
    assert.is_false(b:use("a", 10))
    assert.is_nil(b:release("a"))
    assert.same({ "a" }, b:release("a"))
  end)

  it("keeps its queue short", function()
    local b = blobs.new(4, 1000)
    for _ = 1, 10000 do
      b:use("a", 1)
      b:release("a")
    end
    local n = 0
    for _ in pairs(b.unused) do n = n + 1 end
    assert.equal(1, n)
  end)
end)
