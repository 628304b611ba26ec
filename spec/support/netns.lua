-- SPDX-License-Identifier: MIT
-- Two network namespaces with a virtual cable that can be unplugged: a real partition, without even
-- an RST. Without keys a node listens on loopback addresses only, so such addresses are routed over
-- the cable; with keys it takes others, too.
--
--   local net, why = netns.new(world)        -- nil if namespaces cannot be made
--   local net = netns.new(world, "10.9.0.")   -- where the addresses are to be
--   world:node({ url = net.far.address .. ":5440", within = net.far.within })
--   world:program({ ... }, { within = net.near.within })
--   net.cut() net.heal()

local e2e = require("spec.support.e2e")
local lfs = require("lfs")

local netns = {}

local function namespace(pid)
  return lfs.symlinkattributes(("/proc/%s/ns/net"):format(pid), "target")
end

-- Keeps a namespace open while the world exists.
local function hold(world, words, parent)
  local p, ours = world:start(words), namespace("self")
  e2e.wait_until("a namespace", function()
    if not p:alive() then error("no namespace: " .. p:err()) end
    local its = namespace(p.pid)
    return its and its ~= ours and its ~= parent
  end)
  return p
end

-- Runs a shell script in a namespace.
local function shell(side, script)
  local words = table.concat(side.within, " ")
  assert(os.execute(("PATH=$PATH:/usr/sbin %s sh -ec '%s'"):format(words, script)), script)
end

local SET_UP = [[
ip link set lo up
ip addr del 127.0.0.1/8 dev lo
ip addr add 127.0.0.1/32 dev lo
echo 1 >/proc/sys/net/ipv4/conf/%s/route_localnet
ip addr add %s/24 dev %s
ip link set %s up
]]

--- Makes the two sides, `near` and `far`, each with `address` and `within` (see World:start).
---@param world e2e.World
---@param network string|nil their first three bytes (default: "127.1.0.")
---@return table|nil net or nil and why not
---@return string|nil
function netns.new(world, network)
  network = network or "127.1.0."
  if not os.execute("unshare -Urn true 2>/dev/null") then
    return nil, "this system lets us make no network namespaces"
  end
  local net = {}
  local function side(name, pid, address)
    net[name] = { address = address, within = {
      "nsenter", "-t", tostring(pid), "-U", "--preserve-credentials", "-n",
    } }
    return net[name]
  end
  local near = hold(world, { "unshare", "-Urn", "sleep", "3600" })
  side("near", near.pid, network .. "1")
  local words = table.move({ "unshare", "-n", "sleep", "3600" }, 1, 4, 1 + #net.near.within,
    { table.unpack(net.near.within) })
  local far = hold(world, words, namespace(near.pid))
  side("far", far.pid, network .. "2")
  shell(net.near, ("ip link add name near type veth peer name far netns %d"):format(far.pid))
  for name, s in pairs(net) do shell(s, SET_UP:format(name, s.address, name, name)) end
  local near_side = net.near
  function net.cut() shell(near_side, "ip link set near down") end
  function net.heal() shell(near_side, "ip link set near up") end
  return net
end

return netns
