-- SPDX-License-Identifier: MIT
-- How the driver reaches nodes over TCP: with the keys of --tls; without keys on this machine
-- alone; or, with --insecure, without keys anywhere. Keeps the keys up to date: each connection
-- begins with the files that are in the folder then, and those that stand are verified again when
-- the files have changed.

local channel = require("host.channel")
local errors = require("fleet.errors")
local log = require("fleet.log")
local tls = require("host.tls")

local access = {}

--- Seconds between two looks at the folder.
access.INTERVAL = 10

--- @class fleet.Access
--- @field identity host.Identity|nil
--- @field insecure boolean|nil
--- @field changes integer how often the keys have changed
local Access = {}
Access.__index = Access

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

--- Takes the files of the folder if they have changed. Those that cannot be used are logged, and
--- the old ones stay.
function Access:refresh()
  local is_new, err
  if self.identity then is_new, err = self.identity:reload() end
  if err then
    log.warn("the keys in use stay, since the new ones cannot be used", { why = err.message })
  elseif is_new then
    self.changes = self.changes + 1
    log.info("new keys", { folder = self.identity:dir(), serial = self.identity:facts().serial })
  end
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

--- Returns why nothing can be submitted with these keys, or nil.
---@return fleet.Error|nil of kind "connect"
function Access:observer_fault()
  if not self.identity or self.identity:facts().role ~= "observer" then return nil end
  return errors.format("connect", "%s/cert.pem: refused: this certificate may observe only "
    .. "(moonfleet nodes, moonfleet doctor)", self.identity:dir())
end

return access
