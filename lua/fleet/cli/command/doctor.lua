-- SPDX-License-Identifier: MIT
-- `moonfleet doctor`: checks everything that a fleet depends on, from this machine's limits to work
-- done on each node, and suggests fixes.

local access = require("fleet.cluster.access")
local resolve = require("fleet.discovery.resolve")
local driver = require("fleet.driver")
local json = require("fleet.json")
local program = require("fleet.cli.program")
local report = require("fleet.doctor.report")
local sys = require("host.sys")
local text = require("fleet.base.text")

local COLOURS = { ok = "32", warn = "33", fail = "31" }
local LABEL = 14

local function write_finding(finding)
  local word = ("%-4s"):format(finding.status)
  if sys.isatty(1) then word = ("\27[%sm%s\27[0m"):format(COLOURS[finding.status], word) end
  io.write(word, "  ", text.pad(finding.check, LABEL), text.escape(finding.detail), "\n")
  if finding.fix then io.write((" "):rep(6 + LABEL), "-> ", text.escape(finding.fix), "\n") end
  io.flush()
end

local function check_ec2(found, flags)
  local tag_key = flags.tag_key or require("fleet.discovery.release").TAG_KEY
  local aws = resolve.aws(flags)
  return require("fleet.doctor.ec2").check(found, aws, tag_key, flags.release, function()
    if not flags.release then return nil, flags.release_error end
    return resolve.source(flags.discover, flags)
  end)
end

-- Returns how nodes can be connected to, or nil.
local function check_keys(found, flags)
  local keys, err = access.open(flags, "doctor")
  if not keys then
    found:fail("keys", err.message, err.message:find("chmod 600", 1, true)
      and ("chmod 600 %s/key.pem"):format(flags.tls)
      or "moonfleet keygen makes keys; docs/security.md says which are for whom")
  elseif keys.identity then
    require("fleet.doctor.keys").check(found, keys.identity, keys.stored)
  end
  return keys
end

local function check_nodes(found, flags, keys)
  if not resolve.selects(flags) then
    found:warn("fleet", "nothing selects nodes (--peers, --discover, --ssh or --launch): only a "
      .. "private node of this machine is used", "name the nodes: export "
      .. "MOONFLEET_PEERS=HOST:PORT,..., or set peers, discover, ssh or launch in the "
      .. "configuration")
  end
  local cluster, err = driver.open_cluster(nil, keys)
  if not cluster then
    found:fail(flags.discover and "discovery" or "nodes", err.message,
      err.message:find("reachable only with", 1, true) and "give --tls with the folder of a "
      .. "driver's keys (moonfleet keygen makes them), or use --ssh (docs/fleet.md)" or nil)
    return
  end
  local own = driver.new(cluster)
  driver.set(own)
  require("fleet.doctor.nodes").check(found, own)
  driver.close()
end

---@param invocation fleet.cli.Invocation
---@return integer exit code: 0, or 1 when something is wrong
return function(invocation)
  local flags = invocation.flags
  local found = report.new(not flags.json and write_finding or nil)
  require("fleet.doctor.machine").check(found, flags)
  local keys = check_keys(found, flags)
  if (resolve.kind(flags.discover) ~= "ec2" or check_ec2(found, flags)) and flags.release
    and keys then
    check_nodes(found, flags, keys)
  end
  if flags.json then
    local objects = {}
    for i, f in ipairs(found.findings) do
      objects[i] = json.encode_record("check", f.check, "status", f.status, "detail", f.detail,
        "fix", f.fix)
    end
    io.write("[", table.concat(objects, ","), "]\n")
  else
    io.write(("\n%d ok, %s, %d failed\n"):format(found:count("ok"),
      text.count(found:count("warn"), "warning"), found:count("fail")))
  end
  return found:count("fail") == 0 and program.OK or program.FAILED
end
