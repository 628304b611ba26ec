-- SPDX-License-Identifier: MIT
local credit = require("fleet.scheduler.credit")

-- The credit after `rounds` rounds in which all tasks in flight finish.
local function after(rounds, cpu, wall, c)
  c = c or credit.new(64)
  for _ = 1, rounds do c:report(c.size, c.size * cpu, c.size * wall) end
  return c.size, c
end

describe("fleet.scheduler.credit", function()
  it("starts small and doubles by the round", function()
    assert.equal(4, credit.new(64).size)
    assert.equal(8, (after(1, 1e-6, 1e-6)))
    assert.equal(32, (after(3, 1e-6, 1e-6)))
  end)

  it("sends trivial tasks by the thousand, but not without limit", function()
    assert.equal(4096, (after(30, 1e-6, 1e-6)))
    assert.equal(4096, (after(30, 0, 0)))
  end)

  it("keeps tasks that compute from queueing", function()
    assert.equal(2, (after(30, 0.1, 0.1)))
    assert.equal(50, (after(30, 0.001, 0.001)))
  end)

  it("falls immediately when tasks become expensive", function()
    local size, c = after(30, 1e-6, 1e-6)
    assert.equal(4096, size)
    c:report(1000, 1000, 1000)
    assert.equal(2, c.size)
  end)

  it("has what runs and what will in a moment in flight when tasks wait", function()
    assert.equal(64 + 32, (after(30, 1e-5, 0.1)))
    assert.equal(64, (after(30, 1e-5, 10)))
  end)

  it("doubles for a starved worker up to the concurrency", function()
    local c = credit.new(64)
    local sizes = {}
    for i = 1, 6 do
      c:starved(c.size)
      sizes[i] = c.size
    end
    assert.same({ 8, 16, 32, 64, 64, 64 }, sizes)
    c = credit.new(1)
    c:starved(4)
    assert.equal(4, c.size)
  end)

  it("does not grow by starvation while the credit is on its way", function()
    local c = credit.new(64)
    c:starved(1)
    assert.equal(4, c.size)
  end)

  it("does not take all slots back from a starved worker for one report", function()
    local c = credit.new(64)
    for _ = 1, 4 do c:starved(c.size) end
    c:report(4, 4 * 0.01, 4 * 1) -- computes 10 ms, waits a second: worth 5
    assert.equal(63, c.size)
    c:report(400, 400 * 0.01, 400 * 1)
    assert.equal(5, c.size)
  end)

  it("never falls below a fixed batch", function()
    local c = credit.new(64, 50)
    assert.equal(50, c.size)
    assert.equal(50, (after(10, 1, 1, c)))
    assert.equal(20000, (after(10, 1e-6, 1e-6, credit.new(64, 20000))))
    assert.equal(2, credit.new(64, 1).size)
  end)

  it("ignores impossible reports", function()
    local c = credit.new(64)
    local nan = 0 / 0
    for _, bad in ipairs({ { 0, 0, 0 }, { -1, 1, 1 }, { 1, -1, 1 }, { 1, 1, -1 }, { 1, nan, 1 },
      { nan, 1, 1 }, { 1, 1, math.huge }, { math.huge, 1, 1 }, { "1", 1, 1 }, { 1, {}, 1 } }) do
      c:report(table.unpack(bad))
    end
    c:report(nil, nil, nil)
    assert.equal(4, c.size)
    assert.equal(8, (after(1, 1e-6, 1e-6, c)))
  end)
end)
