-- SPDX-License-Identifier: MIT
-- Keys of fleets in folders of a world: those that keygen makes, and those that it would never
-- make, which openssl(1) does.
--
--   local world, keys
--   before_each(function() world, keys = fleet_keys.world() end)   -- of the fleet "search"
--   after_each(function() world:close() end)
--
--   local node = keys:serve()
--   world:run({ "eval", "--peers", node.address, "--tls", keys.driver, "1" })
--   keys:forge({ role = "driver", to = os.time() - 60 })   -- the folder of an expired pair

local e2e = require("spec.support.e2e")
local fleet_keys = require("fleet.keys")
local lfs = require("lfs")

local support = {}

--- @class spec.FleetKeys
--- @field dir string with the CA
--- @field node string folder of a pair
--- @field driver string folder of a pair, of which the name is alice
local Keys = {}
Keys.__index = Keys

--- Makes a CA, a pair for nodes and one for a driver.
---@param world e2e.World
---@param fleet string|nil default: "search"
---@return spec.FleetKeys
function support.new(world, fleet)
  world.count = world.count + 1
  local dir = world:path("keys" .. world.count)
  assert(fleet_keys.create(dir, fleet or "search", {
    { role = "node", name = "node", folder = "node" },
    { role = "driver", name = "alice", folder = "driver" },
  }))
  return setmetatable({
    world = world, dir = dir, fleet = fleet or "search", node = dir .. "/node",
    driver = dir .. "/driver", forged = 0,
  }, Keys)
end

--- Makes a world, and the keys of a fleet in it.
---@return e2e.World
---@return spec.FleetKeys
function support.world()
  local world = e2e.new()
  return world, support.new(world)
end

--- Makes a world, and the path in it of a folder for keys, which is still to be made.
---@return e2e.World
---@return string
function support.folder()
  local world = e2e.new()
  return world, world:path("keys")
end

--- Starts a node that has keys, and waits until it listens. Options: as World:node, with `workers`
--- (1), and `folder` of the pair (default: `node`).
---@param options table|nil
---@return e2e.Node
function Keys:serve(options)
  local own = { workers = 1 }
  for name, value in pairs(options or {}) do own[name] = value end
  own.flags = { "--tls", own.folder or self.node, table.unpack(own.flags or {}) }
  return self.world:node(own)
end

--- Makes another pair.
---@param role "node"|"driver"|"observer"
---@param name string|nil
---@param days integer|nil
---@return string folder
function Keys:pair(role, name, days)
  local pair = assert(fleet_keys.pair(self.dir, role, name))
  assert(fleet_keys.issue(self.dir, { pair }, days))
  return self.dir .. "/" .. pair.folder
end

--- Revokes a pair; the list is in every folder then.
---@param folder string
function Keys:revoke(folder)
  assert(fleet_keys.revoke(self.dir, folder))
end

local CONFIG = [[
[ca]
default_ca = c
[c]
database = DIR/index
serial = DIR/serial
new_certs_dir = DIR
certificate = CERTIFICATE
private_key = KEY
default_md = sha256
policy = p
unique_subject = no
x509_extensions = e
[p]
commonName = supplied
[e]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = USAGE
subjectAltName = DNS:NAME
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
]]

local USAGES = { node = "serverAuth", driver = "clientAuth", observer = "clientAuth" }

local function time(seconds)
  return os.date("!%Y%m%d%H%M%SZ", seconds)
end

--- Makes a pair of any kind with openssl(1). Options: `role`, `fleet` (of its name), `from` and
--- `to` (seconds since 1970; default: an hour ago, and in a day), `trusts` (other keys, whose CA is
--- in ca.crt; default: these).
---@param options table
---@return string folder
function Keys:forge(options)
  self.forged = self.forged + 1
  local dir = ("%s/forged-%d"):format(self.dir, self.forged)
  assert(lfs.mkdir(dir))
  local function write(name, text)
    local file = assert(io.open(dir .. "/" .. name, "wb"))
    file:write(text)
    file:close()
  end
  write("index", "")
  write("serial", ("%08x\n"):format(0x1000 + self.forged))
  write("ca.crt", e2e.read((options.trusts or self).dir .. "/ca.crt"))
  write("openssl.cnf", (CONFIG:gsub("%u%u%u+", {
    DIR = dir, CERTIFICATE = self.dir .. "/ca.crt", KEY = self.dir .. "/ca.key",
    USAGE = USAGES[options.role],
    NAME = ("%s.%s.moonfleet"):format(options.role, options.fleet or self.fleet),
  })))
  local now = os.time()
  assert(os.execute(([[
    set -e; cd '%s'; umask 077
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem \
      -subj /CN=mallory -out request.pem 2>log
    openssl ca -batch -notext -config openssl.cnf -in request.pem -out cert.pem \
      -startdate %s -enddate %s 2>>log]]):format(dir, time(options.from or now - 3600),
    time(options.to or now + 86400))), "openssl cannot make a certificate; see " .. dir .. "/log")
  return dir
end

--- Makes a folder with copies of the files of another one, to change them.
---@param folder string
---@param name string of the new one
---@return string
function Keys:copy(folder, name)
  local to = self.dir .. "/" .. name
  assert(os.execute(("cp -r '%s' '%s'"):format(folder, to)))
  return to
end

--- Has a folder get the files of another one, each complete at once.
---@param from string
---@param to string
function Keys.replace(_, from, to)
  for name in lfs.dir(from) do
    if name:find("^%a") then
      assert(os.execute(("cp '%s/%s' '%s/.new' && mv '%s/.new' '%s/%s'"):format(from, name, to, to,
        to, name)))
    end
  end
end

return support
