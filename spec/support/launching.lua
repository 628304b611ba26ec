-- SPDX-License-Identifier: MIT
-- Nodes that the tested program starts itself. They run a copy of it in the world's folder, so that
-- their processes can be told from all others, whatever starts them:
--
--   launching.program(world)            the copy; sshd.start has its folder in PATH
--   launching.run(world, { "run", ...}) as World:run; no process of the copy may be left

local e2e = require("spec.support.e2e")
local lfs = require("lfs")

local launching = {}

--- A driver script that prints whether every byte passes both ways.
launching.ECHO = [[
local fleet = require("fleet")
local bytes = {}
for i = 0, 255 do bytes[i + 1] = string.char(i) end
local text = table.concat(bytes):rep(4000)
print(fleet.pmap(function(x) return x end, { text })[1] == text)
]]

--- Makes the copy, once.
---@param world e2e.World
---@return string path
function launching.program(world)
  local path = world:path("bin/moonfleet")
  if not e2e.exists(path) then
    assert(lfs.mkdir(world:path("bin")))
    assert(os.execute(("ln '%s' '%s' 2>/dev/null || cp '%s' '%s'"):format(e2e.program, path,
      e2e.program, path)))
  end
  return path
end

--- Returns the PATH that has the copy.
---@param world e2e.World
---@return string
function launching.path(world)
  launching.program(world)
  return world:path("bin") .. ":/usr/bin:/bin"
end

--- Returns a command for --launch that starts a node with one worker.
---@param world e2e.World
---@param flags string|nil more flags
---@return string
function launching.command(world, flags)
  return ("%s serve --stdio --workers=1 --allow-hosts=loopback %s"):format(
    launching.program(world), flags or "")
end

--- Returns the processes of the world's programs (nodes and workers), and the ssh and sshd of its
--- connections.
---@param world e2e.World
---@return {nodes: integer[], workers: integer[], connections: integer[]}
function launching.processes(world)
  local found = { nodes = {}, workers = {}, connections = {} }
  for name in lfs.dir("/proc") do
    local pid = math.tointeger(tonumber(name))
    local exe = pid and lfs.symlinkattributes(("/proc/%d/exe"):format(pid), "target")
    local line = exe and e2e.alive(pid) and (e2e.read(("/proc/%d/cmdline"):format(pid)) or "")
    if line and exe:find(world.dir, 1, true) == 1 then
      table.insert(line:find("serve", 1, true) and found.nodes or found.workers, pid)
    elseif line and exe:find("/ssh$") and line:find(world.dir, 1, true) then
      table.insert(found.connections, pid)
    end
  end
  return found
end

--- Returns the parents of a process, and theirs, up to a process.
---@param pid integer
---@param last integer which is not among them
---@return integer[]
function launching.ancestors(pid, last)
  local list = {}
  while true do
    local status = e2e.read(("/proc/%d/status"):format(pid)) or ""
    pid = math.tointeger(tonumber(status:match("\nPPid:%s*(%d+)")))
    if not pid or pid <= 1 or pid == last then return list end
    list[#list + 1] = pid
  end
end

--- Waits until no process of a launched node is left.
---@param world e2e.World
---@param seconds number|nil
function launching.wait_gone(world, seconds)
  e2e.wait_until("the end of the launched nodes", function()
    local left = launching.processes(world)
    return #left.nodes + #left.workers + #left.connections == 0
  end, seconds)
end

--- Runs the program to its end; no process of its nodes may be left soon after.
---@param world e2e.World
---@param words string[]
---@param options table|nil as World:start
---@return {code: integer|nil, signal: integer|nil, out: string, err: string}
function launching.run(world, words, options)
  local result = world:run(words, options)
  launching.wait_gone(world)
  return result
end

return launching
