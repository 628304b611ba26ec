-- SPDX-License-Identifier: MIT
local progress = require("fleet.run.progress")

--- A display and the list of what it wrote.
local function new(opts)
  local written = {}
  opts.write = function(bytes) written[#written + 1] = bytes end
  opts.width = opts.width or function() return 80 end
  opts.now = opts.now or 100
  return progress.new(opts), written
end

local ERASE = "\27[K"

--- What a terminal shows after the writes: \r goes back, text goes over text.
local function screen(written)
  local line, at = {}, 1
  for c in table.concat(written):gsub("\27%[K", "\27"):gmatch(".") do
    if c == "\r" then
      at = 1
    elseif c == "\27" then
      for i = #line, at, -1 do line[i] = nil end
    else
      line[at] = c
      at = at + 1
    end
  end
  return (table.concat(line):gsub(" +$", ""))
end

local function counts(done, total, failed)
  return { done = done, total = total, failed = failed or 0 }
end

describe("progress on a terminal", function()
  it("draws bar, counts, rate, time left, failures and nodes", function()
    local display, written = new({ is_tty = true, width = function() return 120 end })
    display:update({ done = 0, failed = 0, total = 2000, nodes = 3, workers = 6 }, 100)
    assert.equal("[" .. ("-"):rep(30) .. "]  0/2000  0%  3 nodes  6 workers", screen(written))
    display:update({ done = 500, failed = 2, total = 2000, nodes = 3, workers = 6 }, 105)
    assert.equal("[" .. ("#"):rep(7) .. ("-"):rep(23) .. "]  500/2000  25%  100/s  ETA 0:15  "
      .. "2 failed  3 nodes  6 workers", screen(written))
    display:update({ done = 2000, failed = 2, total = 2000, nodes = 1, workers = 1 }, 110)
    assert.equal("[" .. ("#"):rep(30) .. "]  2000/2000  100%  200/s  2 failed  1 node  1 worker",
      screen(written))
  end)

  it("has neither bar nor time left while the total is unknown", function()
    local display, written = new({ is_tty = true })
    display:update(counts(50, nil), 105)
    assert.equal("50 done  10/s", screen(written))
  end)

  it("takes a total of 0", function()
    local display, written = new({ is_tty = true })
    display:update(counts(0, 0), 105)
    assert.equal("0/0  0.0/s", screen(written))
  end)

  it("draws at most ten times a second, the first at once", function()
    local display, written = new({ is_tty = true })
    for i = 0, 1000 do display:update(counts(i, 1000), 100 + i / 1000) end
    assert.is_true(#written >= 9 and #written <= 11)
  end)

  it("leaves nothing of a longer line before it", function()
    local display, written = new({ is_tty = true })
    display:update(counts(1000, 1000, 500), 101)
    display:update(counts(1, nil), 102)
    assert.equal("1 done", screen(written))
  end)

  it("is never wider than the terminal", function()
    for width = 0, 130 do
      local display, written = new({ is_tty = true, width = function() return width end })
      for i = 1, 20 do
        display:update({ done = i * 100000, failed = i * 99, total = 2000000,
          nodes = 12, workers = 480 }, 100 + i)
      end
      for _, bytes in ipairs(written) do
        assert.is_true(#bytes:gsub("\r", ""):gsub("\27%[K", "") <= math.max(width - 1, 0))
      end
    end
  end)

  it("keeps to a terminal that changes its width", function()
    local width = 100
    local display, written = new({ is_tty = true, width = function() return width end })
    display:update(counts(1, 2), 101)
    width = 20
    display:update(counts(1, 2), 102)
    assert.is_true(#screen(written) < 20)
  end)

  it("clears its line and draws it again", function()
    local display, written = new({ is_tty = true })
    display:update(counts(1, 2), 100)
    display:clear()
    assert.equal("", screen(written))
    assert.equal("\r" .. ERASE, written[#written])
    display:update(counts(1, 2), 100.001)
    assert.matches("1/2", screen(written))
    display:finish()
    assert.equal("", screen(written))
    local before = #written
    display:finish()
    display:update(counts(2, 2), 200)
    assert.equal(before, #written)
  end)

  it("shows nothing while it pauses", function()
    local display, written = new({ is_tty = true })
    display:update(counts(1, 3), 100)
    display:pause()
    display:pause()
    display:resume()
    display:update(counts(2, 3), 101)
    assert.equal("", screen(written))
    display:resume()
    display:update(counts(2, 3), 102)
    assert.matches("2/3", screen(written))
  end)

  it("also clears what the terminal wrote behind it", function()
    local display, written = new({ is_tty = true })
    display:update(counts(1, 2), 100)
    written[#written + 1] = "^C"
    display:clear()
    assert.equal("", screen(written))
  end)

  it("tells the rate of the last seconds, not of the whole run", function()
    local display, written = new({ is_tty = true })
    local done = 0
    for second = 1, 60 do
      done = done + (second <= 40 and 1000 or 10)
      display:update(counts(done, nil), 100 + second)
    end
    assert.matches("  10/s$", screen(written))
  end)

  it("shows a stall as a stall, without a time left", function()
    local display, written = new({ is_tty = true })
    display:update(counts(10, 20), 101)
    for second = 2, 60 do display:update(counts(10, 20), 100 + second) end
    assert.matches("10/20  50%%  0%.0/s$", screen(written))
  end)

  it("lives through clocks and counts that go back", function()
    local display, written = new({ is_tty = true })
    display:update(counts(10, 20), 200)
    display:update(counts(12, 20), 50)
    display:update(counts(13, 20), 51)
    assert.matches("13/20", screen(written))
    assert.is_nil(screen(written):find("-%d"))
    display:update(counts(3, 20), 52)
    assert.is_nil(screen(written):find("-%d"))
  end)

  it("writes long times in hours", function()
    local display, written = new({ is_tty = true })
    display:update(counts(10, 50000), 110)
    assert.matches("ETA 13:53:10", screen(written))
    display:update(counts(11, 1000000000000), 120)
    assert.matches("ETA %?", screen(written))
  end)
end)

describe("progress elsewhere", function()
  it("writes a plain line every 10 s and none before", function()
    local display, written = new({ is_tty = false })
    for tenth = 0, 249 do
      display:update({ done = tenth * 10, failed = 1, total = 5000, nodes = 2 }, 100 + tenth / 10)
    end
    assert.same({
      "progress: 1000/5000, 20%, 100/s, ETA 0:40, 1 failed, 2 nodes\n",
      "progress: 2000/5000, 40%, 100/s, ETA 0:30, 1 failed, 2 nodes\n",
    }, written)
    display:clear()
    display:finish()
    assert.equal(2, #written)
  end)
end)
