-- SPDX-License-Identifier: MIT
-- How the driver reaches nodes over TCP: with the keys of --tls; without keys on this machine
-- alone; or, with --insecure, without keys anywhere. Keeps the keys up to date: each connection
-- begins with the files that are in the folder then (keys in a store are read again now and then),
-- and those that stand are verified again when the keys have changed.

local channel = require("host.channel")
local errors = require("fleet.errors")
local log = require("fleet.log")
local task = require("host.task")
local tls = require("host.tls")

local access = {}

--- Seconds between two looks at the folder.
access.INTERVAL = 10

--- @class fleet.Access
--- @field identity host.Identity|nil
--- @field stored fleet.keys.Stored|nil where the keys are, when they are in a store
--- @field interval number|nil seconds between two reads of the store
--- @field insecure boolean|nil
--- @field changes integer how often the keys have changed
local Access = {}
Access.__index = Access

--- Loads the keys that the command line names. Waits when they are in a store.
---@param flags table of the command line
---@param command string what needs them, for messages
---@return fleet.Access|nil
---@return fleet.Error|nil of kind "usage", or why the store cannot be read
function access.open(flags, command)
  if not flags.tls or not flags.tls:find("^ssm:") then
    return access.new(flags.tls, flags.insecure, command)
  end
  local store = require("fleet.keys.store") -- loaded when used, so that commands start fast
  local view = require("fleet.discovery.resolve").aws(flags)
  local where, err = store.resolve(flags.tls, "driver", flags.fleet, view.imds)
  if not where then return nil, err end
  local self = setmetatable({ changes = 0, interval = flags.tls_interval }, Access)
  self.stored = store.new(view, where)
  local secret <close>, why = self.stored:fetch()
  if not secret then return nil, why end
  self.identity, err = tls.load_text(where, secret, command)
  if not self.identity then return nil, err end
  return self
end

--- Loads the keys.
---@param dir string|nil the folder of --tls
---@param insecure boolean|nil
---@param command string what needs them, for messages
---@return fleet.Access|nil
---@return fleet.Error|nil of kind "usage"
function access.new(dir, insecure, command)
  local self = setmetatable({ insecure = insecure, changes = 0 }, Access)
  if not dir then return self end
  local err
  self.identity, err = tls.load(dir, command)
  if not self.identity then return nil, err end
  return self
end

--- Returns why a node cannot be reached without keys, or nil.
---@param url string
---@return fleet.Error|nil of kind "usage"
function Access:fault(url)
  local _, err = channel.check(url, self.identity ~= nil, self.insecure)
  return err
end

-- Counts and logs new keys; those that cannot be used are logged, and the old ones stay.
local function note_change(self, is_new, err)
  if err then
    log.warn("the keys in use stay, since the new ones cannot be used", { why = err.message })
  elseif is_new then
    self.changes = self.changes + 1
    log.info("new keys", { folder = self.identity:dir(), serial = self.identity:facts().serial })
  end
end

--- Takes the files of the folder if they have changed.
function Access:refresh()
  if self.identity then note_change(self, self.identity:reload()) end
end

--- Takes the keys of the store whenever they have changed. Waits, for ever.
function Access:follow()
  self.stored:follow(function(secret)
    note_change(self, self.identity:take_text(secret))
  end, function() return self.identity:failed() end, task.event(), self.interval)
end

--- Returns why the node at the other end is not accepted any more, or nil. Without new keys, only
--- time can have changed that.
---@param open_channel host.Channel
---@param is_new boolean whether there are new keys since the last time
---@return fleet.Error|nil of kind "tls"
function Access:refusal(open_channel, is_new)
  local expires = open_channel:expires()
  if not expires or not is_new and expires >= os.time() then return nil end
  local _, err = open_channel:verify(self.identity)
  return err
end

--- Connects to a node. Waits.
---@param url string
---@param timeout number seconds
---@return host.Channel|nil
---@return fleet.Error|nil as host.channel.dial
function Access:dial(url, timeout)
  self:refresh()
  local changes = self.changes
  local opened, err = channel.dial({
    url = url, tls = self.identity, insecure = self.insecure, timeout = timeout,
  })
  if opened and self.changes ~= changes then err = self:refusal(opened, true) end
  if not err then return opened end
  if opened then opened:close() end
  return nil, err
end

--- Returns the fleet that the keys belong to, or nil.
---@return string|nil
function Access:fleet()
  return self.identity and self.identity:facts().fleet
end

--- Returns why nothing can be submitted with these keys, or nil.
---@return fleet.Error|nil of kind "connect"
function Access:observer_fault()
  if not self.identity or self.identity:facts().role ~= "observer" then return nil end
  return errors.format("connect", "%s/cert.pem: refused: this certificate may observe only "
    .. "(moonfleet nodes, moonfleet doctor)", self.identity:dir())
end

return access
