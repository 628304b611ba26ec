-- SPDX-License-Identifier: MIT
-- `moonfleet keygen`: makes the certificate authority and the key pairs of a fleet, revokes
-- certificates, and stores the pairs where instances read them. Says what it has made, and what is
-- to be done with it.

local errors = require("fleet.errors")
local host = require("host.keys")
local keys = require("fleet.keys")
local program = require("fleet.cli.program")
local publish = require("fleet.keys.publish")
local resolve = require("fleet.discovery.resolve")
local text = require("fleet.base.text")

local usage = errors.formatter("usage")

local function print_rows(rows)
  for _, line in ipairs(text.columns(rows, {})) do io.write(line, "\n") end
end

local function until_date(facts)
  return "until " .. host.date(facts.not_after)
end

--- The pairs that the flags ask for, or nil and an error.
local function requested(folder, flags)
  local list, seen = {}, {}
  local function add(role, name)
    local pair, err = keys.pair(folder, role, name)
    if pair and seen[pair.folder] then
      return usage("--%s names '%s' twice", role, name)
    end
    list[#list + 1] = pair
    if pair then seen[pair.folder] = true end
    return err
  end
  if flags.fleet then
    list[1] = { role = "node", name = "node", folder = "node" }
    list[2] = { role = "driver", name = "driver", folder = "driver" }
  elseif flags.node then
    add("node")
  end
  for _, role in ipairs({ "driver", "observer" }) do
    for _, name in ipairs(flags[role] or {}) do
      local err = add(role, name)
      if err then return nil, err end
    end
  end
  return list
end

local function write_ca_advice(folder, is_new)
  io.write("  Never copy ", folder, "/ca.key to a node or a driver.\n")
  if is_new then io.write("  Back it up: without it the fleet gets no more keys.\n") end
end

--- Lists what was made, and says what comes next.
local function report_pairs(folder, flags, ca, key_pairs, made)
  local rows, has = {}, {}
  if flags.fleet then
    rows[1] = { folder .. "/ca.crt", "CA of fleet " .. ca.fleet, until_date(ca) }
    rows[2] = { folder .. "/ca.key", "its key, which stays here", "" }
  end
  for i, pair in ipairs(key_pairs) do
    has[pair.role] = has[pair.role] or folder .. "/" .. pair.folder
    rows[#rows + 1] = { folder .. "/" .. pair.folder, keys.RIGHTS[pair.role], until_date(made[i]) }
  end
  print_rows(rows)
  if made[1].not_after == ca.not_after then -- it was cut to that
    program.note("the CA expires on %s, and with it all that it has certified: make a new one in "
      .. "time (docs/security.md)", host.date(ca.not_after))
  end
  if flags.store then return end -- see store_pairs
  io.write("\nNext:\n")
  if has.node then
    io.write("  Copy ", has.node, " to every node, readable by its user alone. Start nodes with\n",
      "    moonfleet serve --listen tcp://0.0.0.0:5440 --tls DIR\n")
    if not flags.fleet then
      io.write("  A running node takes up new files in its folder within 10 seconds.\n")
    end
  end
  if has.driver then
    io.write("  Give each driver no folder but its own. It connects with\n",
      "    moonfleet run --peers HOST --tls ", has.driver, " JOB.lua\n")
  end
  if has.observer then
    io.write("  Give each observer no folder but its own. It connects with\n",
      "    moonfleet nodes --peers HOST --tls ", has.observer, "\n")
  end
  write_ca_advice(folder, flags.fleet)
end

-- ---- the store ----

-- Returns the plan of the flags, nil without --store, or nil and an error.
local function plan_store(folder, flags)
  if not flags.store then return nil end
  local fleet = flags.fleet
  if not fleet then
    local ca, err = keys.authority(folder)
    if not ca then return nil, err end
    fleet = ca.fleet
  elseif not host.is_fleet(fleet) then
    return nil -- which the making of keys says better
  end
  return publish.plan(resolve.aws(flags), flags.store, fleet, flags.kms_key)
end

--- Stores pairs; `made` are the folders of new ones. Returns as the command does.
local function store_pairs(plan, folder, flags, made)
  local stored, err, others = publish.run(plan, folder, made)
  local rows = {}
  for i, each in ipairs(stored) do
    rows[i] = { each.where, folder .. "/" .. each.folder, "version " .. each.version }
  end
  if #rows > 0 then io.write("\nStored:\n") end
  print_rows(rows)
  if err then
    err.message = ("%s; the keys in %s are complete, and not all of them are stored: correct that "
      .. "and repeat it, moonfleet keygen %s --store ssm:%s"):format(err.message, folder, folder,
      plan.path)
    return nil, err
  end
  for _, other in ipairs(others) do
    program.note("%s belongs to no folder of %s and stays as it is", other, folder)
  end
  io.write("\nNext:\n  Let each role of AWS read its own parameter (ssm:GetParameter) and no other."
    .. "\n")
  for _, each in ipairs(stored) do
    local role = each.where:match("([^/]+)$")
    local command = role == "node" and "serve --discover ec2 --listen tcp://0.0.0.0:5440"
      or role:find("^observer") and "nodes --discover ec2" or "run --discover ec2"
    io.write("    moonfleet ", command, " --tls ", each.where, role:find("^driver") and " JOB.lua"
      or "", "\n")
  end
  io.write("  Nodes and drivers that are running read it again within 6 minutes.\n")
  write_ca_advice(folder, flags.fleet)
  return program.OK
end

local function make_pairs(folder, flags)
  local key_pairs, err = requested(folder, flags)
  if not key_pairs then return nil, err end
  local ca, made, plan
  plan, err = plan_store(folder, flags)
  if err then return nil, err end
  if flags.fleet then
    ca, made = keys.create(folder, flags.fleet, key_pairs, flags.days)
  else
    ca, made = keys.issue(folder, key_pairs, flags.days)
  end
  if not ca then return nil, made end
  report_pairs(folder, flags, ca, key_pairs, made)
  if not plan then return program.OK end
  local folders = {}
  for i, pair in ipairs(key_pairs) do folders[i] = pair.folder end
  return store_pairs(plan, folder, flags, folders)
end

local function revoke(folder, flags)
  local plan, done, err
  plan, err = plan_store(folder, flags)
  if not err then done, err = keys.revoke(folder, flags.revoke, flags.days) end
  if not done then return nil, err end
  local certificate = done.certificate
  if certificate then
    io.write("revoked ", certificate.role and ("%s '%s', "):format(certificate.role,
      certificate.name) or "", "serial ", certificate.serial, "\n")
  end
  local rows = {}
  for i, each in ipairs(done.folders) do
    rows[i] = { each .. "/crl.pem", "until " .. host.date(done.not_after) }
  end
  print_rows(rows)
  if done.missing > 0 then
    program.note("%s/ca.crt has %s without a list in crl.pem, and what it has certified will be "
      .. "refused: append its crl.pem to this one (docs/security.md)", folder,
      text.count(done.missing, "more CA"))
  end
  if plan then return store_pairs(plan, folder, flags) end
  io.write("\nNext:\n",
    "  Copy crl.pem into the folder that --tls names, on every node and driver. They read it\n",
    "  within 10 seconds, and close connections of what it revokes.\n",
    "  Renew it before it expires, for then everybody is refused: moonfleet keygen ", folder,
    " --crl\n")
  return program.OK
end

---@param invocation fleet.cli.Invocation
---@return integer|nil exit code
---@return fleet.Error|nil
return function(invocation)
  local flags = invocation.flags
  local folder = invocation.args[1]:match("^(.-)/*$")
  if folder == "" then folder = "/" end
  local makes = flags.fleet or flags.node or flags.driver or flags.observer
  if flags.revoke and flags.crl then
    return nil, usage("--revoke writes crl.pem itself: leave out --crl")
  elseif makes and (flags.revoke or flags.crl) then
    return nil, usage("--%s cannot be combined with flags that make keys: use two commands",
      flags.revoke and "revoke" or "crl")
  elseif flags.kms_key and not flags.store then
    return nil, usage("--kms-key needs --store: in a folder keys are not encrypted")
  elseif flags.revoke or flags.crl then
    return revoke(folder, flags)
  end
  if not makes and flags.store then
    local plan, err = plan_store(folder, flags)
    if not plan then return nil, err end
    return store_pairs(plan, folder, flags)
  end
  if not makes then
    local ca, err = keys.authority(folder)
    return nil, err or usage("%s has the CA of fleet %s, and nothing is to be done: add --node, "
      .. "--driver NAME, --observer NAME, --revoke CERT, --crl or --store WHERE", folder, ca.fleet)
  end
  return make_pairs(folder, flags)
end
