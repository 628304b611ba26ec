-- SPDX-License-Identifier: MIT
-- Keys in a store instead of a folder: `--tls ssm:/moonfleet/FLEET/ROLE` is a parameter of AWS's
-- Parameter Store, which has the files of the folder as one text, so that a change is atomic
-- (host/net/tls_folder.h describes the text). `--tls ssm:` is that of the own fleet and role.

local FLEET_TAG = require("fleet.aws.imds").FLEET_TAG
local errors = require("fleet.errors")
local log = require("fleet.log")
local ssm = require("fleet.aws.ssm")
local task = require("host.task")
local text = require("fleet.base.text")

local store = {}

--- Seconds between two reads of the version; 40 reads a second are free to all of an account.
store.INTERVAL = 300
-- The same after an attempt that failed.
local RETRY_INTERVAL = 60
-- Seconds that a node waits for its keys when it starts, and the longest pause between attempts.
local START_LIMIT = 60
local MAX_PAUSE = 10
-- As AWS allows for names.
local MAX_NAME, MAX_LEVELS = 900, 15

local usage = errors.formatter("usage")

--- Whether the value of --tls names a store.
---@param where string|nil
---@return boolean
function store.is_store(where)
  return where ~= nil and where:find("^ssm:") ~= nil
end

--- The path of a parameter, or of several, in "ssm:/PATH"; "" in "ssm:".
---@param where string
---@return string|nil
---@return fleet.Error|nil of kind "usage"
function store.path(where)
  local path = where:match("^ssm:(.*)$")
  if not path then
    return nil, usage("keys are stored as ssm:/PATH, such as ssm:/moonfleet/search, got %s",
      text.quote(where))
  end
  path = path:gsub("/+$", "")
  if path == "" and where == "ssm:" then return path end
  local levels = select(2, path:gsub("/", ""))
  if not path:find("^/[%w_.-]") or path:find("[^%w_./-]") or path:find("//", 1, true)
    or #path > MAX_NAME or levels >= MAX_LEVELS then
    return nil, usage("%s names no parameter: ssm:/PATH has letters, digits and . _ - between "
      .. "single slashes, such as ssm:/moonfleet/search/node", text.quote(where))
  elseif path:lower():find("^/aws") or path:lower():find("^/ssm") then
    return nil, usage("%s: AWS keeps names that begin with aws or ssm to itself", text.quote(where))
  end
  return path
end

--- The whole name of the keys: "ssm:/moonfleet/search/node". May wait for the instance's tag.
---@param where string the value of --tls
---@param role "node"|"driver"
---@param fleet string|nil of --fleet
---@param imds fleet.aws.Imds
---@return string|nil
---@return fleet.Error|nil of kind "usage", or that of the metadata service, which did not answer
function store.resolve(where, role, fleet, imds)
  local path, err = store.path(where)
  if not path then return nil, err end
  if path ~= "" then return "ssm:" .. path end
  if not fleet then
    fleet, err = imds:tag(FLEET_TAG)
    if not fleet then
      -- what cannot be read now may be read later, so it is no fault of the command line
      return nil, errors.format(err and err.kind or "usage", "--tls ssm: reads the keys of the "
        .. "fleet that the instance's tag %s names, %s: name them, --tls "
        .. "ssm:/moonfleet/FLEET/%s, or give --fleet", FLEET_TAG, err
        and "which cannot be read (" .. err.message .. ")" or "and there is none, or "
        .. "InstanceMetadataTags is not enabled", role)
    end
  end
  path, err = store.path(("ssm:/moonfleet/%s/%s"):format(fleet, role))
  return path and "ssm:" .. path, err
end

--- @class fleet.keys.Stored keys in a store
--- @field where string "ssm:/moonfleet/search/node"
--- @field version integer|nil that was read last
--- @field modified number|nil seconds since 1970: when that was stored
local Stored = {}
Stored.__index = Stored

---@param view fleet.Aws
---@param where string of store.resolve
---@return fleet.keys.Stored
function store.new(view, where)
  return setmetatable({ view = view, where = where, name = where:match("^ssm:(.*)$") }, Stored)
end

-- Says what makes the parameter.
local function advise(self, err)
  if err.code == "ParameterNotFound" then
    err.message = ("%s; `moonfleet keygen DIR --store ssm:%s` stores the keys of a fleet"):format(
      err.message, self.name:match("^(.*)/[^/]+$"))
  end
  return nil, err
end

--- Reads the keys.
---@return host.Secret|nil
---@return fleet.Error|nil
function Stored:fetch()
  local found, err = ssm.get(self.view, self.name)
  if not found then return advise(self, err) end
  self.version, self.modified = found.version, found.modified
  return found.value
end

--- Reads the keys if they have another version than those that were read last.
---@return host.Secret|nil secret nil: they have not; nil and an error
---@return fleet.Error|nil
function Stored:fetch_if_new()
  local version, err = ssm.version(self.view, self.name)
  if not version then return advise(self, err) end
  if version == self.version then return nil end
  return self:fetch()
end

-- Errors that waiting does not repair.
local LASTING = { config = true, usage = true }

--- Reads the keys of a node that starts: what its role and its policy need is not there in the
--- first seconds of an instance. Each reason to wait is logged once.
---@param limit number|nil seconds; default: START_LIMIT
---@return host.Secret|nil
---@return fleet.Error|nil the last one
function Stored:wait(limit)
  local deadline, pause, logged = os.time() + (limit or START_LIMIT), 1, nil
  while true do
    local secret, err = self:fetch()
    if secret then return secret end
    if LASTING[err.kind] or os.time() + pause > deadline then return nil, err end
    if err.message ~= logged then
      log.warn("waiting for the keys", { keys = self.where, error = err.message,
        seconds_left = deadline - os.time() })
    end
    logged = err.message
    task.sleep(pause)
    pause = math.min(2 * pause, MAX_PAUSE)
  end
end

--- Reads the keys again and again, for ever; waits in between, but no longer than until `wake` is
--- notified.
---@param take fun(secret: host.Secret) uses them, or says why not
---@param has_failed fun(): boolean whether those that were taken last cannot be used yet
---@param wake host.Event
---@param interval number|nil seconds; default: INTERVAL
function Stored:follow(take, has_failed, wake, interval)
  interval = interval or store.INTERVAL
  local logged
  while true do
    wake:wait((logged and math.min(interval, RETRY_INTERVAL) or interval)
      * (0.9 + math.random() / 5))
    local secret, err
    if has_failed() then secret, err = self:fetch() else secret, err = self:fetch_if_new() end
    if err and err.message ~= logged then
      log.warn("the keys in use stay, since the store cannot be read", { keys = self.where,
        error = err.message })
    elseif logged and not err then
      log.info("the store of the keys can be read again", { keys = self.where })
    end
    logged = err and err.message
    if secret then
      take(secret)
      secret:close()
    end
  end
end

return store
