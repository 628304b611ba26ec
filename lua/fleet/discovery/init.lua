-- SPDX-License-Identifier: MIT
-- Finds the nodes of the fleet: polls a source, lets fleet.discovery.membership decide what an
-- answer means, and reports which members are added and removed. Each source has a file of its own:
-- ec2.lua, dns.lua, file.lua.

local errors = require("fleet.errors")
local log = require("fleet.log")
local membership = require("fleet.discovery.membership")
local sys = require("host.sys")
local task = require("host.task")
local text = require("fleet.base.text")

local discovery = {}

-- All in seconds. Failures in a row increase the interval between polls up to this.
local MAX_INTERVAL = 60
-- The shortest interval, also of polls on request.
local MIN_INTERVAL = 2
-- A command that has a cached list waits this long for a new one.
local OPEN_TIMEOUT = 5
-- The cache is written when the list changed, and this often to keep its age.
local SAVE_INTERVAL = 300
-- A cached list younger than this is compared with the first answer before that is trusted.
local MAX_CACHE_AGE = 3600

--- @class fleet.DiscoverySource
--- @field name string for people: "ec2 (tag moonfleet:release = r1)"
--- @field rules fleet.MembershipRules
--- @field interval number seconds until the next poll after a failure; after success it may be more
--- @field question string|nil all that an answer depends on; nil: the list is not cached on disk
--- @field poll fun(self): fleet.Answer|nil, fleet.Error|nil waits
--- @field why_empty fun(self): string why there may be no member, as a sentence
--- @field expect fun(self, id: string|nil)|nil takes the id of this machine in a cached answer

--- @class fleet.Discovery
--- @field source fleet.DiscoverySource
--- @field error fleet.Error|nil why the last poll failed
local Discovery = {}
Discovery.__index = Discovery

--- Makes a discovery; it does not poll yet.
---@param source fleet.DiscoverySource
---@param cache fleet.DiscoveryCache|nil keeps the last good answer
---@return fleet.Discovery
function discovery.new(source, cache)
  return setmetatable({
    source = source, cache = cache, membership = membership.new(source.rules),
    on_added = function() end, on_removed = function() end, is_live = function() return false end,
    is_open = false, -- the list is in use
    answered_at = nil, -- by sys.now, when the last good answer came
    failures = 0, polled_at = -math.huge,
    usual = source.interval, -- seconds between two polls while all is well, or more
    open_timeout = OPEN_TIMEOUT,
    polled = task.event(), -- a poll ended, with or without an answer
    due = task.event(),    -- poll now
  }, Discovery)
end

-- ---- one poll ----

local function save(self, own, has_changed)
  if self.membership.rejection then
    self.saved_at = -math.huge -- save with the next answer
    return
  end
  if not self.cache or not has_changed and sys.now() - self.saved_at < SAVE_INTERVAL then return end
  self.saved_at = sys.now()
  local ok, err = self.cache:save(self.membership:list(), own, os.time())
  if not ok and not self.cannot_save then
    self.cannot_save = true -- log it once
    log.warn("the list of nodes cannot be cached", { error = err.message })
  end
end

-- Logs an error when it first occurs.
local function fail(self, err)
  self.failures = self.failures + 1
  local is_new = not self.error or self.error.message ~= err.message
  if is_new and self.is_open then
    log.warn("discovery failed; the known nodes stay",
      { source = self.source.name, error = err.message })
  end
  self.error = err
end

local function succeed(self, answer)
  if self.failures > 0 then
    log.info("discovery works again", { source = self.source.name })
  end
  self.failures, self.error, self.answered_at, self.cached = 0, nil, sys.now(), nil
  if answer.note and answer.note ~= self.note then
    log.warn(answer.note, { source = self.source.name })
  end
  self.note = answer.note
  local was_rejected = self.membership.rejection
  local added, removed = self.membership:observe(answer, self.is_live)
  local rejection = self.membership.rejection
  if rejection and not was_rejected then
    log.warn("suspicious discovery answer; not removing any node",
      { source = self.source.name, reason = rejection })
  end
  for _, member in ipairs(removed) do self.on_removed(member) end
  for _, member in ipairs(added) do self.on_added(member) end
  save(self, answer.own, #added + #removed > 0)
end

-- Polls once. Returns the seconds until the next poll.
local function poll(self)
  self.polled_at = sys.now()
  local answer, err = self.source:poll()
  if self.closed then return 0 end
  local seconds
  if answer then
    succeed(self, answer)
    -- a caller that waits in open needs to know soon whether the next answer says the same
    seconds = self.membership.rejection and not self.is_open and MIN_INTERVAL or answer.wait
    self.usual = math.max(self.source.interval, answer.wait)
  else
    fail(self, err)
    seconds = math.min(self.usual * 2 ^ (self.failures - 1), math.max(MAX_INTERVAL, self.usual))
  end
  self.polled:notify()
  return seconds * (0.75 + math.random() / 2) -- so that drivers do not poll at the same time
end

local function poll_until_closed(self)
  local interval = poll(self)
  while not self.closed do
    local is_requested = self.due:wait(interval)
    if self.closed then return end
    local early = self.polled_at + MIN_INTERVAL - sys.now()
    if is_requested and early > 0 then task.sleep(early) end
    if self.closed then return end
    interval = poll(self)
  end
end

-- ---- for its users ----

-- Errors that the user has to correct. A cached list would hide them, and may be from a time when
-- the access was allowed.
local FINAL = { config = true, denied = true, stale = true }

-- Uses the cached list, because the source does not answer.
local function use_cached(self, cached)
  self.cached = cached
  self.membership:restore(cached.members)
  log.warn("using the cached list of nodes", {
    source = self.source.name, age = ("%d s"):format(math.max(0, os.time() - cached.time)),
    error = self.error and self.error.message,
  })
end

--- Begins to poll, and returns when the members are known: by an answer or, when none comes soon,
--- by the cached list of an earlier command, unless access is denied. An answer that is rejected
--- because of the cached list is waited out as well. Waits.
---@return fleet.Member[]|nil members sorted by address; nil and an error: there is neither
---@return fleet.Error|nil
function Discovery:open()
  self.saved_at = -math.huge
  local cached = self.cache and self.cache:load()
  local is_recent = cached and os.time() - cached.time < MAX_CACHE_AGE
  if is_recent then
    self.membership:restore(cached.members)
    if self.source.expect then self.source:expect(cached.own) end
  end
  task.spawn(poll_until_closed, self)
  local deadline = sys.now() + self.open_timeout
  while not self.error and not self.closed
    and not (self.answered_at and not (is_recent and self.membership.rejection)) do
    local timeout = cached and math.max(0, deadline - sys.now()) or nil
    if not self.polled:wait(timeout) then break end
  end
  if not self.answered_at then
    local err = self.error
    if not cached or err and (FINAL[err.kind] or FINAL[err.class]) then
      return nil, err or errors.format("cancelled", "discovery was closed")
    end
    use_cached(self, cached)
  end
  self.is_open = true
  return self.membership:list()
end

--- Sets the functions to call for changes from now on. They must not wait.
---@param on_added fun(member: fleet.Member)
---@param on_removed fun(member: fleet.Member)
---@param is_live fun(id: string): boolean whether there is a live connection to the member
function Discovery:follow(on_added, on_removed, is_live)
  self.on_added, self.on_removed, self.is_live = on_added, on_removed, is_live
end

--- Polls soon, because all nodes are lost or because the user wants to know. Does not wait.
function Discovery:refresh()
  self.due:notify()
end

--- The age of the list.
---@return number|nil seconds nil: there is no list
function Discovery:age()
  if self.answered_at then return sys.now() - self.answered_at end
  return self.cached and math.max(0, os.time() - self.cached.time)
end

--- Why the list may be out of date or incomplete; nil when all is well.
---@return string|nil
function Discovery:problem()
  if self.error then return "the last poll failed: " .. self.error.message end
  if not self.answered_at then return "there is no answer yet" end
  local rejection = self.membership.rejection
  return rejection and "the last answer is suspicious: " .. rejection
end

--- The source and the state of the list, in a line.
---@return string
function Discovery:describe()
  local age = self:age()
  local line = ("%s: %s"):format(self.source.name, text.count(#self.membership:list(), "node"))
  if age then line = ("%s, as of %d s ago"):format(line, math.floor(age)) end
  local problem = self:problem()
  return problem and line .. "; " .. problem or line
end

--- Why there are no nodes to work with.
---@return string
function Discovery:why_empty()
  return self.error and self.error.message or self.source:why_empty()
end

--- Stops polling. Idempotent.
function Discovery:close()
  if self.closed then return end
  self.closed = true
  self.polled:notify()
  self.due:notify()
end

return discovery
