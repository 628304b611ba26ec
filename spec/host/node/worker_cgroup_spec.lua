-- SPDX-License-Identifier: MIT
-- The control group of the workers (host/node/worker_cgroup.c), in real groups of version 2. The
-- node is not root there, and its worker has the whole of Lua: the library's sandbox is left out.

local e2e = require("spec.support.e2e")
local lfs = require("lfs")
local raw = require("spec.support.raw")
local sys = require("host.sys")

local RUNNER = [[
  return { prepare = function(definition)
    return assert(load(definition.source, "=job"))(), definition.concurrency
  end }
]]

local ROOT = (e2e.read("/proc/self/mounts") or ""):match("\n%S+ (%S+) cgroup2 ")
local IS_ROOT = (e2e.read("/proc/self/status") or ""):find("Uid:%s*0%s") ~= nil
local NOBODY = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" }

-- Whether groups can be made here, which containers often do not allow.
local function group(name)
  local path = ("%s/moonfleet-spec-%s-%x"):format(ROOT, name, string.unpack("I4", sys.random(4)))
  return IS_ROOT and ROOT and lfs.mkdir(path) and path or nil
end

local probe = group("probe")
if probe then lfs.rmdir(probe) end

describe("serve --worker-cgroup", function()
  local world, groups

  before_each(function() world, groups = e2e.new(), {} end)
  after_each(function()
    world:close()
    for _, path in ipairs(groups) do
      e2e.wait_until("an empty group", function()
        return not e2e.exists(path) or lfs.rmdir(path)
      end)
    end
  end)

  local function new_group(name)
    groups[#groups + 1] = group(name)
    return groups[#groups]
  end

  local function it_with_groups(name, test)
    it(name, probe and test or function() pending("no groups can be made here, or not root") end)
  end

  local function members(path)
    local set = {}
    for pid in e2e.read(path .. "/cgroup.procs"):gmatch("%d+") do set[tonumber(pid)] = true end
    return set
  end

  -- A node as nobody with the list of processes of a group as its standard output.
  local function start(list)
    for _, name in ipairs({ "lua", "lua/fleet", "lua/fleet/worker" }) do
      lfs.mkdir(world:path(name))
    end
    world:write("lua/fleet/worker/runner.lua", RUNNER)
    os.execute(("chmod -R a+rX '%s'"):format(world.dir))
    local port = e2e.free_port()
    local node = world:program({ "serve", "--listen", "127.0.0.1:" .. port, "--workers", "2",
      "--worker-cgroup", "stdout", "--lua-path", world:path("lua") },
      { stdout = list, within = NOBODY })
    e2e.wait_until("the node", function()
      assert(node:alive(), node:err())
      return node:err():find("node ready", 1, true)
    end)
    node.address = "127.0.0.1:" .. port
    return node
  end

  it_with_groups("moves each worker, also one that replaces another, and not the node", function()
    local path = new_group("workers")
    local node = start(path .. "/cgroup.procs")
    local workers = e2e.children(node.pid)
    assert.equal(2, #workers)
    assert.same({ [workers[1]] = true, [workers[2]] = true }, members(path))
    e2e.kill(workers[1], "KILL")
    e2e.wait_until("another worker", function()
      local now = e2e.children(node.pid)
      return #now == 2 and now[1] == workers[2] and members(path)[now[2]]
    end)
    assert.is_nil(node:err():find("workers stay", 1, true))
    -- nothing denies them anything in this group
    e2e.wait_until("the warning", function()
      return node:err():find("does not keep workers from the metadata services", 1, true)
    end)
    assert.equal(1, select(2, node:err():gsub("does not keep workers", "")))
    node:kill("KILL") -- its workers end with it, wherever they are
    e2e.wait_until("the end of the workers", function() return next(members(path)) == nil end)
  end)

  it_with_groups("gives neither the node nor a worker a way back", function()
    local path, other = new_group("workers"), new_group("other")
    local node = start(path .. "/cgroup.procs")
    local driver = raw.open(node.address)
    finally(function() driver:close() end)
    driver:send(1, { concurrency = 1, source = [[return function(paths)
      local opened = {}
      for path in paths:gmatch("%S+") do
        for _, mode in ipairs({ "w", "a", "r+" }) do
          if io.open(path, mode) then opened[#opened + 1] = path end
        end
      end
      for fd = 1, 64 do -- what it may have inherited
        for _, mode in ipairs({ "w", "a", "r+" }) do
          local name = "/proc/self/fd/" .. fd
          local file = fd > 2 and io.open(name, mode)
          if file and file:write("0\n") and file:flush() then opened[#opened + 1] = name end
        end
      end
      local file = io.open("/proc/self/cgroup")
      return { opened, file:read("a") }
    end]] }, 1, { table.concat({
      path .. "/cgroup.procs", other .. "/cgroup.procs", ROOT .. "/cgroup.procs",
      path .. "/cgroup.threads", other .. "/cgroup.threads",
    }, " ") })
    local value, err = driver:result(1)
    assert.is_nil(err)
    assert.same({}, value[1])
    assert.matches("0::[^\n]*" .. path:match("[^/]+$"):gsub("%-", "%%-"), value[2])
    -- by the rights of its user, without the filter of system calls
    for _, to in ipairs({ path, other, ROOT }) do
      assert.is_nil(os.execute(("%s sh -c 'echo %d >%s/cgroup.procs' 2>/dev/null"):format(
        table.concat(NOBODY, " "), e2e.children(node.pid)[1], to)), to)
    end
  end)

  it_with_groups("takes a folder, too", function()
    local path = new_group("workers")
    local node = world:node({ workers = 1, flags = { "--worker-cgroup", path } })
    assert.same({ [e2e.children(node.pid)[1]] = true }, members(path))
  end)

  it_with_groups("warns once when the group has gone, and works all the same", function()
    local path = new_group("workers")
    local node = start(path .. "/cgroup.procs")
    assert.is_nil(node:err():find("workers stay", 1, true))
    -- a worker that dies again and again is replaced after pauses, in which the group is empty
    e2e.wait_until("the removal of the group", function()
      for _, pid in ipairs(e2e.children(node.pid)) do e2e.kill(pid, "KILL") end
      return lfs.rmdir(path)
    end)
    e2e.wait_until("new workers", function() return #e2e.children(node.pid) == 2 end)
    assert.equal(1, select(2, node:err():gsub("workers stay in the control group", "")))
    assert.matches("cannot move worker process %d+: No such device", node:err())
  end)

  for name, to in pairs({ ["a file"] = "file", ["/dev/null"] = "/dev/null" }) do
    it("warns once when standard output is " .. name, function()
      local port = e2e.free_port()
      local node = world:program({ "serve", "--listen", "127.0.0.1:" .. port, "--workers", "2",
        "--worker-cgroup", "stdout" }, { stdout = to == "file" and world:path("out") or to })
      e2e.wait_until("the node", function() return node:err():find("node ready", 1, true) end)
      assert.equal(1, select(2, node:err():gsub("workers stay in the control group", "")))
      assert.matches("standard output is not the cgroup.procs of a control group", node:err())
    end)
  end

  it("warns once when the folder is none of a group", function()
    local node = world:node({ workers = 2, flags = { "--worker-cgroup", world.dir } })
    assert.equal(1, select(2, node:err():gsub("workers stay in the control group", "")))
    assert.matches("cannot open " .. world.dir, node:err(), 1, true)
  end)
end)
