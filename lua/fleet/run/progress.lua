-- SPDX-License-Identifier: MIT
-- The progress of a run on stderr: on a terminal one line that is drawn over
-- and over, elsewhere a plain line now and then. Time comes from the caller.

local summary = require("fleet.run.summary")

local progress = {}

local DRAW_EVERY = 0.1
local PLAIN_EVERY = 10
-- The rate is that of the last seconds, from samples this far apart.
local SAMPLE_EVERY = 0.5
local SAMPLES = 20
local BAR_MAX, BAR_MIN = 30, 10
-- Many terminals wrap when the last column is written, and write ^C behind the line.
local FREE_COLUMNS = 3
-- To the end of the line: also what the terminal itself wrote there (^C).
local ERASE = "\27[K"

--- 5025 seconds as "1:23:45", 83 as "1:23".
local function clock(seconds)
  local whole = math.ceil(seconds)
  local h, m, s = whole // 3600, whole // 60 % 60, whole % 60
  if h > 999 then return "?" end
  if h > 0 then return ("%d:%02d:%02d"):format(h, m, s) end
  return ("%d:%02d"):format(m, s)
end

local function plural(n, word)
  return ("%d %s%s"):format(n, word, n == 1 and "" or "s")
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
  if counts.nodes then add(plural(counts.nodes, "node")) end
  if counts.workers then add(plural(counts.workers, "worker")) end
  return parts
end

--- A line of at most `width` columns: as many parts as fit, then a bar if there
--- is room for one.
local function fit(counts, rate, width)
  local parts = parts_of(counts, rate)
  while #parts > 1 and #table.concat(parts, "  ") > width do table.remove(parts) end
  local line = table.concat(parts, "  "):sub(1, math.max(width, 0))
  local room = math.min(width - #line - 4, BAR_MAX)
  if not counts.total or counts.total == 0 or room < BAR_MIN then return line end
  local full = math.min(room * counts.done // counts.total, room)
  return ("[%s%s]  %s"):format(("#"):rep(full), ("-"):rep(room - full), line)
end

local Progress = {}

local metatable = { __name = "fleet.run.progress", __index = Progress }

local function take_sample(self, counts, now)
  local newest = self.samples[#self.samples]
  if now < newest.now or counts.done < newest.done then
    self.samples = { { now = now, done = counts.done } } -- the clock or the count was set back
  elseif now - newest.now >= SAMPLE_EVERY then
    self.samples[#self.samples + 1] = { now = now, done = counts.done }
    if #self.samples > SAMPLES then table.remove(self.samples, 1) end
  end
end

--- Items a second over the last samples; nil while they tell too little.
local function rate_of(self, counts, now)
  local oldest = self.samples[1]
  if now - oldest.now < SAMPLE_EVERY then return nil end
  return (counts.done - oldest.done) / (now - oldest.now)
end

--- Tells the latest counts, at a time in seconds of a clock that does not jump.
--- May be called as often as one likes: a terminal is drawn on at most ten times
--- a second, and anything else gets a line every 10 s.
---@param counts fleet.Counts also nodes and workers, both optional
---@param now number
function Progress:update(counts, now)
  if self.finished then return end
  take_sample(self, counts, now)
  if now < self.drawn then self.drawn = now end
  if now - self.drawn < (self.is_tty and DRAW_EVERY or PLAIN_EVERY) then return end
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

--- Takes the line off a terminal, so that something else can be written there;
--- the next update draws it again.
function Progress:clear()
  if not self.shown then return end
  self.write("\r" .. ERASE)
  self.shown = false
  self.drawn = -math.huge
end

--- Ends the display and leaves a clean line: later updates draw nothing.
function Progress:finish()
  self:clear()
  self.finished = true
end

--- Makes a display that begins now. Options: `write(bytes)`; `is_tty`; `width()`
--- gives the columns of the terminal, which may change; `now` in seconds.
---@param opts {write: fun(bytes: string), is_tty: boolean, width: (fun(): integer), now: number}
---@return table progress with :update, :clear and :finish
function progress.new(opts)
  return setmetatable({
    write = opts.write,
    is_tty = opts.is_tty,
    width = opts.width,
    samples = { { now = opts.now, done = 0 } },
    -- A terminal shows the first counts at once, a log only what takes long.
    drawn = opts.is_tty and -math.huge or opts.now,
    shown = false,
    finished = false,
  }, metatable)
end

return progress
