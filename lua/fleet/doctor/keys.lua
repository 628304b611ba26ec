-- SPDX-License-Identifier: MIT
-- Checks the keys of --tls: that others cannot change the files of the folder, or the
-- parameter of the store and the credentials that read it; what they are for and how long.

local file = require("host.file")
local fleet_keys = require("fleet.keys")
local host = require("host.keys")
local text = require("fleet.base.text")

local keys = {}

local FILES = { ".", "ca.crt", "cert.pem", "key.pem", "crl.pem" }

local function check_modes(report, dir)
  local open = {}
  for _, name in ipairs(FILES) do
    local about = file.about(name == "." and dir or dir .. "/" .. name)
    if about and about.mode & fleet_keys.WRITE_BY_OTHERS ~= 0 then
      open[#open + 1] = ("%s (%04o)"):format(name == "." and "the folder" or name, about.mode)
    end
  end
  if #open > 0 then
    report:warn("key files", ("others can change %s"):format(text.list(open, #FILES)),
      ("chmod -R go-w %s"):format(dir))
    return
  end
  local about = file.about(dir .. "/key.pem")
  local mode = about and about.mode or 0
  report:ok("key files", ("%s/key.pem (%04o) is readable by its owner %s"):format(dir, mode,
    mode & fleet_keys.READ_BY_GROUP ~= 0 and "and its group alone" or "alone"))
end

-- The parameter, its version and its age, and whose credentials have read it.
local function check_store(report, stored)
  local credentials = stored.view.credentials:get()
  report:ok("key store", ("%s in %s, version %d%s, read with the credentials from %s"):format(
    stored.where, stored.view:region() or "?", stored.version, stored.modified
    and " of " .. host.date(math.floor(stored.modified)) or "",
    credentials and credentials.source or "?"))
end

--- Checks keys that have been loaded.
---@param report fleet.Report
---@param identity host.Identity
---@param stored fleet.keys.Stored|nil where they are, if that is a store
function keys.check(report, identity, stored)
  local dir, facts = identity:dir(), identity:facts()
  if stored then check_store(report, stored) else check_modes(report, dir) end
  report:ok("keys", ("%s '%s' of fleet %s, which %s; serial number %s, until %s (%s)"):format(
    facts.role, facts.name, facts.fleet, fleet_keys.RIGHTS[facts.role], facts.serial,
    host.date(facts.not_after), text.count((facts.not_after - os.time()) // fleet_keys.DAY, "day")))
  for _, warning in ipairs(identity:warnings()) do
    report:warn("keys", warning, "renew it in time; from then on everybody is refused "
      .. "(docs/security.md)")
  end
end

return keys
