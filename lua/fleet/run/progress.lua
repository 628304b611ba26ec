-- SPDX-License-Identifier: MIT
-- The progress of a run on stderr: on a terminal one line that is redrawn, elsewhere a plain line
-- now and then. The caller passes the time.

local summary = require("fleet.run.summary")
local text = require("fleet.base.text")

local progress = {}

-- Seconds.
local DRAW_INTERVAL = 0.1
local PLAIN_INTERVAL = 10
-- The rate is that of the last seconds, from samples this far apart.
local SAMPLE_INTERVAL = 0.5
local MAX_SAMPLES = 20
local MAX_BAR, MIN_BAR = 30, 10
-- Many terminals wrap when the last column is written, and write ^C after the line.
local FREE_COLUMNS = 3
-- Erases to the end of the line, including what the terminal itself wrote there (^C).
local ERASE = "\27[K"

--- 5025 seconds as "1:23:45", 83 as "1:23".
local function clock(seconds)
  local h, m, s = summary.split(math.ceil(seconds))
  if h > 999 then return "?" end
  if h > 0 then return ("%d:%02d:%02d"):format(h, m, s) end
  return ("%d:%02d"):format(m, s)
end

--- The parts of a line, the most important first.
local function parts_of(counts, rate)
  local done, total = counts.done, counts.total
  local parts = { total and ("%d/%d"):format(done, total) or ("%d done"):format(done) }
  local function add(part) parts[#parts + 1] = part end
  if total and total > 0 then add(("%d%%"):format(done * 100 // total)) end
  if rate then add(summary.rate(rate)) end
  if rate and rate > 0 and total and total > done then
    add("ETA " .. clock((total - done) / rate))
  end
  if counts.failed > 0 then add(("%d failed"):format(counts.failed)) end
  if counts.nodes then add(text.count(counts.nodes, "node")) end
  if counts.workers then add(text.count(counts.workers, "worker")) end
  return parts
end

--- A line of at most `width` columns: as many parts as fit, and a bar if there is room for one.
local function fit(counts, rate, width)
  local parts = parts_of(counts, rate)
  while #parts > 1 and #table.concat(parts, "  ") > width do table.remove(parts) end
  local line = table.concat(parts, "  "):sub(1, math.max(width, 0))
  local room = math.min(width - #line - 4, MAX_BAR)
  if not counts.total or counts.total == 0 or room < MIN_BAR then return line end
  local full = math.min(room * counts.done // counts.total, room)
  return ("[%s%s]  %s"):format(("#"):rep(full), ("-"):rep(room - full), line)
end

--- @class fleet.run.Progress
local Progress = {}
Progress.__index = Progress

local function take_sample(self, counts, now)
  local newest = self.samples[#self.samples]
  if now < newest.now or counts.done < newest.done then
    self.samples = { { now = now, done = counts.done } } -- the clock or the count went back
  elseif now - newest.now >= SAMPLE_INTERVAL then
    self.samples[#self.samples + 1] = { now = now, done = counts.done }
    if #self.samples > MAX_SAMPLES then table.remove(self.samples, 1) end
  end
end

--- Items per second over the last samples; nil while there are too few.
local function rate_of(self, counts, now)
  local oldest = self.samples[1]
  if now - oldest.now < SAMPLE_INTERVAL then return nil end
  return (counts.done - oldest.done) / (now - oldest.now)
end

--- Shows the latest counts. May be called at any rate: a terminal is redrawn at most ten times per
--- second, anything else gets a line every 10 s.
---@param counts fleet.Counts also nodes and workers, both optional
---@param now number seconds of a monotonic clock
function Progress:update(counts, now)
  if self.finished or self.pauses > 0 then return end
  take_sample(self, counts, now)
  if now < self.drawn then self.drawn = now end
  if now - self.drawn < (self.is_tty and DRAW_INTERVAL or PLAIN_INTERVAL) then return end
  self.drawn = now
  local rate = rate_of(self, counts, now)
  if not self.is_tty then
    self.write(("progress: %s\n"):format(table.concat(parts_of(counts, rate), ", ")))
    return
  end
  local line = fit(counts, rate, self.width() - FREE_COLUMNS)
  self.write("\r" .. line .. ERASE)
  self.shown = true
end

--- Erases the line on a terminal, so that something else can be written there; the next update
--- draws it again.
function Progress:clear()
  if not self.shown then return end
  self.write("\r" .. ERASE)
  self.shown = false
  self.drawn = -math.huge
end

--- Erases the line and shows nothing until `resume`, so that something that may wait can be written
--- there. As many calls of `resume` are needed.
function Progress:pause()
  self.pauses = self.pauses + 1
  self:clear()
end

function Progress:resume()
  self.pauses = self.pauses - 1
end

--- Ends the display and leaves a clean line: later updates show nothing.
function Progress:finish()
  self:clear()
  self.finished = true
end

--- Makes a display that begins now. Options: `write(bytes)`; `is_tty`; `width()`, which returns the
--- columns of the terminal, which may change; `now` in seconds.
---@param opts {write: fun(bytes: string), is_tty: boolean, width: (fun(): integer), now: number}
---@return fleet.run.Progress
function progress.new(opts)
  return setmetatable({
    write = opts.write,
    is_tty = opts.is_tty,
    width = opts.width,
    samples = { { now = opts.now, done = 0 } },
    -- a terminal shows the first counts at once, a log only a long run
    drawn = opts.is_tty and -math.huge or opts.now,
    shown = false,
    pauses = 0,
    finished = false,
  }, Progress)
end

return progress
