-- SPDX-License-Identifier: MIT
-- The folder that has the keys of a fleet: its certificate authority (CA), and a folder for each
-- key pair that the CA has certified. `--tls` of the commands takes such a folder of a pair.
--
--   ca.key, ca.crt                     ca.crt may have further CAs, which are trusted as well
--   node/{ca.crt,cert.pem,key.pem}     for nodes; driver-alice, observer-bob and so on likewise
--   crl.pem                            beside each ca.crt, once a certificate has been revoked

local errors = require("fleet.errors")
local file = require("host.file")
local host = require("host.keys")
local read_file = require("fleet.base.file").read
local staging = require("fleet.keys.staging")

local keys = {}

-- Days of validity. That of a CRL is the default of easy-rsa 3.
local CA_DAYS = 3650
local CERTIFICATE_DAYS = 365
local CRL_DAYS = 180

--- What the holder of a pair may do, by its role.
keys.RIGHTS = {
  node = "for all nodes of the fleet",
  driver = "may submit jobs",
  observer = "may look, but not submit",
}
--- Seconds.
keys.DAY = 86400
--- Permissions with which others can change a file, and so replace it by one of their own.
keys.WRITE_BY_OTHERS = tonumber("022", 8)
keys.READ_BY_GROUP = tonumber("040", 8)

local GROUP_OR_OTHERS = tonumber("077", 8) -- permissions
local MAX_BYTES = 1 << 20 -- of a file

local usage, config = errors.formatter("usage"), errors.formatter("config")

--- @class fleet.keys.Pair
--- @field role "node"|"driver"|"observer"
--- @field name string the common name of the certificate
--- @field folder string below the folder of the fleet

--- @class fleet.keys.Facts
--- @field role "ca"|"node"|"driver"|"observer"|"other"
--- @field fleet string|nil
--- @field name string
--- @field serial string hexadecimal
--- @field not_before integer seconds since 1970
--- @field not_after integer

local function exists(path)
  return file.about(path) ~= nil or file.link(path) ~= nil
end

-- Nobody else may put files into the folder, and the key must be secret.
local function check_permissions(folder)
  local about = file.about(folder)
  if about and about.type ~= "folder" then return usage("%s is not a folder", folder) end
  if about and about.mode & keys.WRITE_BY_OTHERS ~= 0 then
    return usage("%s can be changed by others (%04o): chmod 700 %s, or name another folder", folder,
      about.mode, folder)
  end
  about = file.about(folder .. "/ca.key")
  if about and about.mode & GROUP_OR_OTHERS ~= 0 then
    return usage("%s/ca.key is readable by others (%04o): chmod 600 %s/ca.key", folder, about.mode,
      folder)
  end
  return nil
end

--- Returns the CA, and the content of ca.crt.
local function open_ca(folder)
  local err = check_permissions(folder)
  if err then return nil, err end
  local parts, present = {}, {}
  for _, name in ipairs({ "ca.key", "ca.crt" }) do
    local bytes, message, missing = read_file(folder .. "/" .. name, MAX_BYTES)
    if not bytes and not missing then return nil, config("cannot read %s", message) end
    parts[name], present[name] = bytes, not missing
  end
  if not present["ca.key"] and not present["ca.crt"] then
    return nil, usage("%s has no CA. To make one, give the new fleet a name: moonfleet keygen %s "
      .. "--fleet NAME", folder, folder)
  end
  for name, other in pairs({ ["ca.key"] = "ca.crt", ["ca.crt"] = "ca.key" }) do
    if not present[name] then
      return nil, usage("%s has %s but no %s: run keygen where the CA was made, or restore the "
        .. "file from a backup", folder, other, name)
    end
  end
  local ca
  ca, err = host.open(parts["ca.key"], parts["ca.crt"])
  if not ca then return nil, config("%s: %s", folder, err.message) end
  return ca, parts["ca.crt"]
end

--- The facts of the CA in a folder.
---@param folder string
---@return fleet.keys.Facts|nil
---@return fleet.Error|nil
function keys.authority(folder)
  local ca, err = open_ca(folder)
  if not ca then return nil, err end
  return ca:facts()
end

--- Returns the content of crl.pem, nil if there is none, or nil and an error.
local function read_crl(folder)
  local bytes, message, missing = read_file(folder .. "/crl.pem", MAX_BYTES)
  if bytes or missing then return bytes end
  return nil, config("cannot read %s", message)
end

-- Without a folder of the name, such a pair has it; else node-2 and so on.
local function free_node_folder(folder)
  local name, n = "node", 1
  while exists(folder .. "/" .. name) do
    n = n + 1
    name = ("node-%d"):format(n)
  end
  return name
end

--- Names a pair and its folder: {role="driver", name="alice", folder="driver-alice"}.
---@param folder string of the fleet
---@param role "node"|"driver"|"observer"
---@param name string|nil of the certificate; default, for a node: the next free one
---@return fleet.keys.Pair|nil
---@return fleet.Error|nil
function keys.pair(folder, role, name)
  if not name then
    name = free_node_folder(folder)
    return { role = role, name = name, folder = name }
  end
  if not host.is_name(name) then
    return nil, usage("'%s' cannot name a certificate: --%s takes 1 to 64 letters, digits and . _ "
      .. "- @, beginning with a letter or digit", name, role)
  end
  return { role = role, name = name, folder = ("%s-%s"):format(role, name) }
end

-- Days may be nil. A certificate is worth nothing when its CA has expired.
local function check_days(ca, folder, days)
  local left = (ca:facts().not_after - os.time()) // keys.DAY
  if days and days > left then
    return usage("--days %d is too long: the CA in %s expires on %s, in %d days", days, folder,
      host.date(ca:facts().not_after), left)
  end
  return nil
end

--- Writes the folders of pairs. Returns the facts of each certificate, or nil and an error.
local function stage_pairs(stage, ca, trusted, crl, key_pairs, days)
  local made = {}
  for i, pair in ipairs(key_pairs) do
    local certificate, key = ca:issue(pair.role, pair.name, days or CERTIFICATE_DAYS)
    if not certificate then return nil, key end
    local ok, err = stage:make_folder(pair.folder)
    local files = { { "ca.crt", trusted }, { "cert.pem", certificate }, { "key.pem", key } }
    if crl then files[#files + 1] = { "crl.pem", crl } end
    for _, entry in ipairs(files) do
      if ok then ok, err = stage:write(pair.folder .. "/" .. entry[1], entry[2]) end
    end
    if not ok then return nil, err end
    made[i] = host.facts(certificate)
  end
  return made
end

--- Calls f(stage), and ends the stage even when it raises.
local function with_stage(folder, f)
  local stage <close>, err = staging.open(folder)
  if not stage then return nil, err end
  return f(stage)
end

local function check_free(folder, names)
  for _, name in ipairs(names) do
    if exists(folder .. "/" .. name) then
      return usage("%s/%s exists, and nothing is overwritten: choose another name, or move it away",
        folder, name)
    end
  end
  return nil
end

local function folders_of(key_pairs, first)
  local names = first
  for _, pair in ipairs(key_pairs) do names[#names + 1] = pair.folder end
  return names
end

local function check_no_ca(folder)
  local bytes = read_file(folder .. "/ca.crt", MAX_BYTES)
  if not bytes then return nil end
  local facts = host.facts(bytes)
  local owner = facts and facts.fleet and "fleet " .. facts.fleet or "a fleet"
  return usage("%s has the CA of %s already: without --fleet, keygen adds to it; for another fleet "
    .. "name another folder", folder, owner)
end

--- Makes the CA of a new fleet, and pairs.
---@param folder string made if it does not exist
---@param fleet string
---@param key_pairs fleet.keys.Pair[]
---@param days integer|nil validity of the pairs; default: CERTIFICATE_DAYS
---@return fleet.keys.Facts|nil of the CA
---@return fleet.keys.Facts[]|fleet.Error of the pairs
function keys.create(folder, fleet, key_pairs, days)
  if not host.is_fleet(fleet) then
    return nil, usage("'%s' cannot name a fleet: --fleet takes 1 to 63 lower-case letters, digits "
      .. "and hyphens, beginning and ending with a letter or digit", fleet)
  end
  local err = check_permissions(folder)
  if err then return nil, err end
  return with_stage(folder, function(stage)
    local names = folders_of(key_pairs, { "ca.key", "ca.crt" })
    local why = check_no_ca(folder) or check_free(folder, names)
    if why then return nil, why end
    local ca
    ca, why = host.new(fleet, CA_DAYS)
    if not ca then return nil, why end
    local certificate, key = ca:write()
    if not certificate then return nil, key end
    local ok, made
    ok, why = stage:write("ca.key", key)
    if ok then ok, why = stage:write("ca.crt", certificate) end
    if ok then made, why = stage_pairs(stage, ca, certificate, nil, key_pairs, days) end
    if made then ok, why = stage:publish(names) end
    if not made or not ok then return nil, why end
    return ca:facts(), made
  end)
end

--- Makes pairs that the CA of a folder certifies.
---@param folder string
---@param key_pairs fleet.keys.Pair[]
---@param days integer|nil default: CERTIFICATE_DAYS
---@return fleet.keys.Facts|nil of the CA
---@return fleet.keys.Facts[]|fleet.Error of the pairs
function keys.issue(folder, key_pairs, days)
  local ca, trusted = open_ca(folder)
  if not ca then return nil, trusted end
  return with_stage(folder, function(stage)
    local names = folders_of(key_pairs, {})
    local crl, made, ok
    local err = check_days(ca, folder, days) or check_free(folder, names)
    if not err then crl, err = read_crl(folder) end
    if err then return nil, err end
    made, err = stage_pairs(stage, ca, trusted, crl, key_pairs, days)
    if made then ok, err = stage:publish(names) end
    if not ok then return nil, err end
    return ca:facts(), made
  end)
end

-- ---- revocation ----

--- Finds the certificate to revoke: a file, the folder of a pair, or a serial number, for those
--- whose files are lost. Returns {serial=, role=, name=}; a bare serial number has no more.
local function find_certificate(ca, what)
  local about = file.about(what)
  local serial = what:gsub(":", ""):lower()
  if not about and serial:find("^%x+$") and #serial == 32 then return { serial = serial } end
  local path = about and about.type == "folder" and what .. "/cert.pem" or what
  local pem, message, missing = read_file(path, MAX_BYTES)
  if missing then
    return nil, usage("there is no %s; --revoke takes a certificate, the folder of a pair, or a "
      .. "serial number of 32 hexadecimal digits", path)
  elseif not pem then
    return nil, usage("cannot read %s", message)
  end
  local facts, err = ca:verify(pem)
  if not facts then return nil, usage("cannot revoke %s: %s", path, err.message) end
  return facts
end

--- The folders that trust the CA, or nil and an error. That of the fleet is the first, since its
--- CRL is the one that counts.
local function trusting_folders(ca, folder)
  local folders, names, err = { folder }, file.list(folder)
  if not names then return nil, config("%s: %s", folder, err.message) end
  table.sort(names)
  for _, name in ipairs(names) do
    local path = folder .. "/" .. name
    local trusted, message, missing = read_file(path .. "/ca.crt", MAX_BYTES)
    if not trusted and not missing then return nil, config("cannot read %s", message) end
    if trusted and ca:is_in(trusted) then folders[#folders + 1] = path end
  end
  return folders
end

local function count(s, what)
  return select(2, s:gsub("%-%-%-%-%-BEGIN " .. what .. "%-%-%-%-%-", ""))
end

--- Writes the next CRL beside each ca.crt, with one more certificate if `what` names one.
---@param folder string
---@param what string|nil the file of a certificate, the folder of a pair, or a serial number
---@param days integer|nil validity of the CRL; default: CRL_DAYS
---@return {folders: string[], not_after: integer, missing: integer, certificate: table|nil}|nil
--- `missing`: how many CAs of ca.crt have no CRL; `certificate` is the one that was revoked
---@return fleet.Error|nil
function keys.revoke(folder, what, days)
  local ca, trusted = open_ca(folder)
  if not ca then return nil, trusted end
  local certificate, err
  if what then certificate, err = find_certificate(ca, what) end
  if err then return nil, err end
  return with_stage(folder, function(stage)
    -- read below the lock, so that nothing that was revoked meanwhile is forgotten
    local last, ok, crl, why
    last, why = read_crl(folder)
    if why then return nil, why end
    days = days or CRL_DAYS
    local not_after = os.time() + days * keys.DAY
    crl, why = ca:revoke(last, certificate and certificate.serial, days)
    if not crl then
      return nil, config("%s: %s", what and "cannot revoke " .. what or folder, why.message)
    end
    local folders
    folders, why = trusting_folders(ca, folder)
    if not folders then return nil, why end
    for i in ipairs(folders) do
      ok, why = stage:write(("crl-%d.pem"):format(i), crl)
      if not ok then return nil, why end
    end
    for i, each in ipairs(folders) do
      ok, why = stage:replace(("crl-%d.pem"):format(i), each .. "/crl.pem")
      if not ok then return nil, why end
    end
    return {
      folders = folders, not_after = not_after, certificate = certificate,
      missing = count(trusted, "CERTIFICATE") - count(crl, "X509 CRL"),
    }
  end)
end

return keys
