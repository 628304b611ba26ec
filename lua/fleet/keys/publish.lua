-- SPDX-License-Identifier: MIT
-- Puts the key pairs of a fleet's folder into a store (fleet.keys.store): each pair with the CA and
-- the revocation list becomes one encrypted parameter. The key of the CA never leaves the folder.
--
-- A parameter has the name of the pair's folder: PATH/node, PATH/driver-alice. Numbers renew: of
-- node, node-2, node-3 the last one is in PATH/node; and likewise driver, driver-2, observer-2.
-- May wait.

local FLEET_TAG = require("fleet.aws.imds").FLEET_TAG
local check = require("fleet.base.check")
local errors = require("fleet.errors")
local file = require("host.file")
local host = require("host.keys")
local read_file = require("fleet.base.file").read
local ssm = require("fleet.aws.ssm")
local store = require("fleet.keys.store")

local publish = {}

-- Bytes of a file; what does not fit into a parameter is found below.
local MAX_FILE = 1 << 20

local usage, config = errors.formatter("usage"), errors.formatter("config")

-- The files of a set, in the order of the text; host/net/tls_folder.h describes it.
local FILES = { "ca.crt", "cert.pem", "key.pem", "crl.pem" }

--- @class fleet.keys.Published
--- @field where string "ssm:/moonfleet/search/node"
--- @field folder string of the pair
--- @field version integer of the parameter, 1 for a new one
--- @field bytes integer

-- "driver-2" -> "driver", 2; "driver-alice" -> "driver-alice", 1
local function parameter_of(folder)
  local role, number = folder:match("^(%l+)%-(%d+)$")
  if role == "node" or role == "driver" or role == "observer" then
    return role, math.tointeger(tonumber(number))
  end
  return folder, 1
end

-- The pairs of a folder by the names of their parameters.
local function find_pairs(folder)
  local names, err = file.list(folder)
  if not names then return nil, config("%s: %s", folder, err.message) end
  local found, numbers = {}, {}
  for _, name in ipairs(names) do
    if name:sub(1, 1) ~= "." and file.about(("%s/%s/cert.pem"):format(folder, name)) then
      local parameter, number = parameter_of(name)
      if number and number > (numbers[parameter] or 0) then
        found[parameter], numbers[parameter] = name, number
      end
    end
  end
  return found
end

-- The files of a pair as one text. Refuses what no node or driver would take.
local function text_of(folder, pair)
  local parts = {}
  for _, name in ipairs(FILES) do
    local path = ("%s/%s/%s"):format(folder, pair, name)
    local bytes, message, missing = read_file(path, MAX_FILE)
    if not bytes and not (missing and name == "crl.pem") then
      return nil, config("cannot read %s", message)
    end
    if name == "cert.pem" then
      local facts = host.facts(bytes)
      if not facts then return nil, config("%s is not a certificate", path) end
      if facts.not_after < os.time() then
        return nil, usage("%s expired on %s: make another pair first", path,
          host.date(facts.not_after))
      end
    end
    if bytes then
      parts[#parts + 1] = ("# %s\n%s%s"):format(name, bytes, bytes:sub(-1) ~= "\n" and "\n" or "")
    end
  end
  local text = table.concat(parts)
  if #text > ssm.ADVANCED_BYTES then
    return nil, usage("%s/%s has %d bytes, and a parameter takes %d: remove old CAs from ca.crt "
      .. "and their lists from crl.pem, or give nodes and drivers the folder", folder, pair, #text,
      ssm.ADVANCED_BYTES)
  end
  return text
end

-- Which pairs are to be stored: those that were made now, or else those that are in the store
-- already, with node and driver in any case.
local function select_pairs(found, made, stored, path)
  if made then
    local selected = {}
    for _, folder in ipairs(made) do selected[parameter_of(folder)] = folder end
    return selected
  end
  local selected = { node = found.node, driver = found.driver }
  for name in pairs(stored) do
    local parameter = name:sub(#path + 2)
    selected[parameter] = found[parameter]
  end
  return selected
end

--- @class fleet.keys.Plan where pairs of a fleet are to be stored
--- @field view fleet.Aws
--- @field path string "/moonfleet/search"
--- @field fleet string
--- @field key string|nil KMS key; nil: the one in use, or the account's own for Parameter Store
--- @field stored table<string, {key: string|nil, version: integer|nil}> what is there, by name

--- Looks into the store: before keys are made, so that what would keep them from being stored is
--- known.
---@param view fleet.Aws
---@param where string "ssm:/moonfleet/search", or "ssm:", which is /moonfleet/FLEET
---@param fleet string
---@param key string|nil KMS key
---@return fleet.keys.Plan|nil
---@return fleet.Error|nil
function publish.plan(view, where, fleet, key)
  local path, err = store.path(where)
  if path == "" then path, err = store.path("ssm:/moonfleet/" .. fleet) end
  if not path then return nil, err end
  local stored
  stored, err = ssm.list(view, path)
  if not stored then return nil, err end
  return { view = view, path = path, fleet = fleet, key = key, stored = stored }
end

-- Stores one pair.
local function store_pair(plan, folder, pair, parameter)
  local name = plan.path .. "/" .. parameter
  local present, text, err = plan.stored[name], text_of(folder, pair)
  if not text then return nil, err end
  local version
  version, err = ssm.put(plan.view, name, text, {
    description = ("moonfleet: keys of fleet %s (%s)"):format(plan.fleet, pair),
    key = plan.key or present and present.key, overwrite = present ~= nil,
    tags = not present and { [FLEET_TAG] = plan.fleet } or nil,
  })
  return version and { where = "ssm:" .. name, folder = pair, version = version, bytes = #text },
    err
end

--- Stores pairs. Each parameter changes as a whole; when one fails, those before it, in the order
--- of their names, have changed.
---@param plan fleet.keys.Plan
---@param folder string of the fleet
---@param made string[]|nil the folders of the pairs; nil: those that are stored already, and node
---  and driver
---@return fleet.keys.Published[] what was stored, also when there is an error
---@return fleet.Error|nil
---@return string[]|nil others that are there and belong to no folder here
function publish.run(plan, folder, made)
  local done, found, err = {}, find_pairs(folder)
  if not found then return done, err end
  local selected = select_pairs(found, made, plan.stored, plan.path)
  if not next(selected) then return done, usage("%s has no pair of keys to store", folder) end
  for _, parameter in ipairs(check.sorted_keys(selected)) do
    local stored
    stored, err = store_pair(plan, folder, selected[parameter], parameter)
    if not stored then return done, err end
    done[#done + 1] = stored
  end
  local others = {}
  for _, name in ipairs(check.sorted_keys(plan.stored)) do
    if not found[name:sub(#plan.path + 2)] then others[#others + 1] = "ssm:" .. name end
  end
  return done, nil, others
end

return publish
