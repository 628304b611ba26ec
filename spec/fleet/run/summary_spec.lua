-- SPDX-License-Identifier: MIT
local summary = require("fleet.run.summary")

local function closing(done, failed, elapsed, nodes, total)
  return summary.text({ counts = { done = done, failed = failed, total = total },
    nodes = nodes or {}, elapsed = elapsed })
end

describe("summary.duration", function()
  local cases = { [0] = "0.0 ms", [0.0042] = "4.2 ms", [0.0999] = "99.9 ms",
    [0.1] = "0.10 s", [0.25] = "0.25 s", [9.99] = "9.99 s", [9.999] = "10.0 s", [59.94] = "59.9 s",
    [59.96] = "1 m 00 s", [125] = "2 m 05 s", [3599.6] = "1 h 00 m 00 s",
    [90061] = "25 h 01 m 01 s" }
  for seconds, expected in pairs(cases) do
    it(("gives %s for %g"):format(expected, seconds), function()
      assert.equal(expected, summary.duration(seconds))
    end)
  end
end)

describe("summary.text", function()
  it("is one line with one node or none", function()
    assert.equal("2000 items in 1.23 s (1626/s): 1998 ok, 2 failed\n", closing(2000, 2, 1.23))
    assert.equal("1 item in 2.00 s (0.5/s): 0 ok, 1 failed\n",
      closing(1, 1, 2, { { name = "a", ok = 0, failed = 1 } }))
  end)

  it("names the releases that worked, when there are several", function()
    local nodes = {
      { name = "a", ok = 5, failed = 1, release = "r2" }, { name = "b", ok = 2, failed = 0,
        release = "r1" }, { name = "c", ok = 1, failed = 0, release = "r1" },
      { name = "d", ok = 0, failed = 0, release = "r3" }, { name = "e", ok = 1, failed = 0 },
    }
    assert.matches("\nreleases: r1 %(3 items on 2 nodes%), r2 %(6 items on 1 node%)\n$",
      closing(10, 1, 1, nodes))
    nodes[1].release = "r1"
    assert.not_matches("releases", closing(10, 1, 1, nodes))
  end)

  it("has no rate where there is none", function()
    assert.equal("0 items in 0.50 s: 0 ok, 0 failed\n", closing(0, 0, 0.5))
    assert.equal("3 items in 0.0 ms: 3 ok, 0 failed\n", closing(3, 0, 0))
  end)

  it("tells what was not run", function()
    assert.equal("5 items in 1.00 s (5.0/s): 5 ok, 0 failed, 7 not run\n",
      closing(5, 0, 1, nil, 12))
    assert.equal("5 items in 1.00 s (5.0/s): 5 ok, 0 failed\n", closing(5, 0, 1, nil, 5))
  end)

  it("tells what was done before, and counts it for no rate and no share", function()
    local counts = { done = 10, failed = 3, resumed = 6 }
    assert.equal(table.concat({
      "10 items in 2.00 s (2.0/s): 7 ok, 3 failed; 6 from the journal",
      "node  ok  failed  share",
      "a      1       1    50%",
      "b      2       0    50%",
      "" }, "\n"), summary.text({ counts = counts, elapsed = 2,
        nodes = { { name = "a", ok = 1, failed = 1 }, { name = "b", ok = 2, failed = 0 } } }))
    counts.resumed = 10
    assert.equal("10 items in 2.00 s: 7 ok, 3 failed; 10 from the journal\n",
      summary.text({ counts = counts, elapsed = 2, nodes = {} }))
  end)

  it("tells who did how much, aligned", function()
    assert.equal(table.concat({
      "2000 items in 1.00 s (2000/s): 1999 ok, 1 failed",
      "node             ok  failed  share",
      "one            1989       0   >99%",
      "back\\x1bslash    10       1    <1%",
      "idle              0       0     0%",
      "" }, "\n"), closing(2000, 1, 1, { { name = "one", ok = 1989, failed = 0 },
        { name = "back\27slash", ok = 10, failed = 1 }, { name = "idle", ok = 0, failed = 0 } }))
  end)

  it("has shares that add up to all", function()
    local cases = {
      { { 335, 335, 330 }, "34% 33% 33%" }, { { 1, 1, 1 }, "34% 33% 33%" },
      { { 13, 14, 13 }, "33% 35% 32%" },
      { { 1, 2 }, "33% 67%" }, { { 5, 0 }, "100% 0%" },
      { { 15, 15, 15, 15, 15, 25 }, "15% 15% 15% 15% 15% 25%" },
    }
    for _, case in ipairs(cases) do
      local nodes, done, seen = {}, 0, {}
      for i, n in ipairs(case[1]) do
        nodes[i], done = { name = "n" .. i, ok = n, failed = 0 }, done + n
      end
      for share in closing(done, 0, 1, nodes):gmatch("(%d+%%)\n") do seen[#seen + 1] = share end
      assert.equal(case[2], table.concat(seen, " "))
    end
  end)

  it("needs no items for its table", function()
    local idle = { { name = "a", ok = 0, failed = 0 }, { name = "b", ok = 0, failed = 0 } }
    assert.matches("\na      0       0     0%%\n", closing(0, 0, 1, idle))
  end)
end)
