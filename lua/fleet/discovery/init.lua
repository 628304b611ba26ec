-- SPDX-License-Identifier: MIT
-- Finds the nodes of the fleet, and goes on looking: asks a source again and again, has
-- fleet.discovery.membership decide what an answer means, and tells who comes and goes.
--
-- A source is a table with these, and there is one a file (ec2, dns, file):
--   name        what is asked, for people: "ec2 (tag moonfleet:release = r1)"
--   rules       fleet.MembershipRules
--   interval    seconds between two looks, when one has failed; at least as long as after success
--   question    all that an answer depends on, when the last one is to be kept on disk; or nil
--   poll()      waits; a fleet.Answer, or nil and an error
--   nobody()    why there may be no member, as a sentence
--   expect(id)  optional: which member this machine was in an answer of before
--   close()     optional

local errors = require("fleet.errors")
local log = require("fleet.log")
local membership = require("fleet.discovery.membership")
local sys = require("host.sys")
local task = require("host.task")

local discovery = {}

-- Failures in a row make it ask less often, up to this many seconds.
local RARELY = 60
-- A command that has a list from before waits so long for a new one.
local PATIENCE = 5
-- Asking because somebody wants to know, not because it is time: not more often.
local LEAST = 2
-- The file is written when the list changed, and else so often, for its age.
local KEEP_EVERY = 300
-- A list from before is held against the first answer unless it is older.
local RECENT = 3600

--- @class fleet.DiscoverySource
--- @field name string
--- @field rules fleet.MembershipRules
--- @field interval number
--- @field question string|nil
--- @field poll fun(self): fleet.Answer|nil, fleet.Error|nil
--- @field nobody fun(self): string
--- @field close fun(self)|nil

--- @class fleet.Discovery
--- @field source fleet.DiscoverySource
--- @field error fleet.Error|nil why the last look failed
local Discovery = {}
Discovery.__index = Discovery

--- Nothing is asked yet.
---@param source fleet.DiscoverySource
---@param store fleet.Store|nil where the last good answer is kept
---@return fleet.Discovery
function discovery.new(source, store)
  return setmetatable({
    source = source, store = store, membership = membership.new(source.rules),
    on_added = function() end, on_removed = function() end, is_live = function() return false end,
    began = false, -- somebody works with what is known
    good_at = nil, -- by sys.now, when the last good answer came
    failures = 0, asked_at = -math.huge,
    usual = source.interval, -- seconds between two looks while all is well, or more
    patience = PATIENCE,
    changed = task.event(), -- it was asked, with or without an answer
    due = task.event(),     -- do not wait any longer
  }, Discovery)
end

-- ---- one look ----

local function keep(self, own, changed)
  if self.membership.doubt then
    self.kept_at = -math.huge -- what changed is for the next time
    return
  end
  if not self.store or not changed and sys.now() - self.kept_at < KEEP_EVERY then return end
  self.kept_at = sys.now()
  local ok, err = self.store:save(self.membership:list(), own, os.time())
  if not ok and not self.keeps_nothing then
    self.keeps_nothing = true -- said once
    log.warn("the list of nodes is not kept", { error = err.message })
  end
end

-- An error that was said is not said again until something else happens.
local function fail(self, err)
  self.failures = self.failures + 1
  local new = not self.error or self.error.message ~= err.message
  if new and self.began then
    log.warn("discovery failed; nodes stay as they are known",
      { source = self.source.name, error = err.message })
  end
  self.error = err
end

local function succeed(self, answer)
  if self.failures > 0 then
    log.info("discovery works again", { source = self.source.name })
  end
  self.failures, self.error, self.good_at, self.stored = 0, nil, sys.now(), nil
  if answer.note and answer.note ~= self.note then
    log.warn(answer.note, { source = self.source.name })
  end
  self.note = answer.note
  local doubted = self.membership.doubt
  local added, removed = self.membership:observe(answer, self.is_live)
  local doubt = self.membership.doubt
  if doubt and not doubted then
    log.warn("an answer is not believed, nobody is taken out",
      { source = self.source.name, why = doubt })
  end
  for _, member in ipairs(removed) do self.on_removed(member) end
  for _, member in ipairs(added) do self.on_added(member) end
  keep(self, answer.own, #added + #removed > 0)
end

-- Asks once. Returns how long to wait before the next time.
local function look(self)
  self.asked_at = sys.now()
  local answer, err = self.source:poll()
  if self.closed then return 0 end
  local seconds
  if answer then
    succeed(self, answer)
    -- who waits to begin learns soon whether the next one says the same
    seconds = self.membership.doubt and not self.began and LEAST or answer.wait
    self.usual = math.max(self.source.interval, answer.wait)
  else
    fail(self, err)
    seconds = math.min(self.usual * 2 ^ (self.failures - 1), math.max(RARELY, self.usual))
  end
  self.changed:notify()
  return seconds * (0.75 + math.random() / 2) -- not all at once
end

local function watch(self)
  local again = look(self)
  while not self.closed do
    local impatient = self.due:wait(again)
    if self.closed then return end
    local early = self.asked_at + LEAST - sys.now()
    if impatient and early > 0 then task.sleep(early) end
    if self.closed then return end
    again = look(self)
  end
end

-- ---- for its users ----

-- Errors that are for whoever asks to put right; a list from before would hide them, and may be
-- of a time when it was allowed.
local OURS = { config = true, denied = true, stale = true }

-- Begins with what was known before, when the source says nothing.
local function take_stored(self, kept)
  self.stored = kept
  self.membership:recall(kept.members)
  log.warn("the nodes are those that were known before", {
    source = self.source.name, age = ("%d s"):format(math.max(0, os.time() - kept.time)),
    error = self.error and self.error.message,
  })
end

--- Begins to look, and returns when it is known who belongs: by an answer, or, when none comes
--- soon, by the one that was kept from an earlier time, unless the caller was refused. An answer
--- that is not believed beside that one is waited out as well. Waits.
---@return fleet.Member[]|nil members sorted by address; or nil and an error: there is neither
---@return fleet.Error|nil
function Discovery:open()
  self.kept_at = -math.huge
  local kept = self.store and self.store:load()
  local recent = kept and os.time() - kept.time < RECENT
  if recent then self.membership:recall(kept.members) end
  if recent and self.source.expect then self.source:expect(kept.own) end
  task.spawn(watch, self)
  local give_up = sys.now() + self.patience
  while not self.error and not self.closed
    and not (self.good_at and not (recent and self.membership.doubt)) do
    local patience = kept and math.max(0, give_up - sys.now()) or nil
    if not self.changed:wait(patience) then break end
  end
  if not self.good_at then
    local err = self.error
    if not kept or err and (OURS[err.kind] or OURS[err.class]) then
      return nil, err or errors.format("cancelled", "discovery was closed")
    end
    take_stored(self, kept)
  end
  self.began = true
  return self.membership:list()
end

--- Says who is to be told of changes from now on.
---@param on_added fun(member: fleet.Member) may not wait; nor may the others
---@param on_removed fun(member: fleet.Member)
---@param is_live fun(id: string): boolean whether there is a live connection to the member
function Discovery:follow(on_added, on_removed, is_live)
  self.on_added, self.on_removed, self.is_live = on_added, on_removed, is_live
end

--- Asks soon, because all nodes are lost or because the user wants to know. Does not wait.
function Discovery:poke()
  self.due:notify()
end

--- How old what is known is.
---@return number|nil seconds nil: nothing is known
function Discovery:age()
  if self.good_at then return sys.now() - self.good_at end
  return self.stored and math.max(0, os.time() - self.stored.time)
end

--- Why what is known may be out of date, or in part; nil when all is well.
---@return string|nil
function Discovery:trouble()
  if self.error then return "the last look failed: " .. self.error.message end
  if not self.good_at then return "there is no answer yet" end
  local doubt = self.membership.doubt
  return doubt and "the last answer is not believed: " .. doubt
end

--- What was asked and how good the answer is, in a line.
---@return string
function Discovery:describe()
  local count = #self.membership:list()
  local age = self:age()
  local line = ("%s: %d node%s"):format(self.source.name, count, count == 1 and "" or "s")
  if age then line = ("%s, as of %d s ago"):format(line, math.floor(age)) end
  local trouble = self:trouble()
  return trouble and line .. "; " .. trouble or line
end

--- Why there is nobody to work with.
---@return string
function Discovery:nobody()
  if self.error then return self.error.message end
  return self.source:nobody()
end

--- Asks no more. Idempotent.
function Discovery:close()
  if self.closed then return end
  self.closed = true
  self.changed:notify()
  self.due:notify()
  if self.source.close then self.source:close() end
end

return discovery
