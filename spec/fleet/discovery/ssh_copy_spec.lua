-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local lfs = require("lfs")
local ssh = require("fleet.discovery.ssh")
local ssh_copy = require("fleet.discovery.ssh_copy")
local task = require("host.task")

describe("fleet.discovery.ssh_copy", function()
  local world, target, command, home
  before_each(function()
    world, target = e2e.new(), ssh.parse("alice@build1")
    home = world:path("home")
    lfs.mkdir(home)
    lfs.mkdir(world:path("bin"))
    -- "another host": runs the last word in a shell there, and counts
    local script = world:write("ssh", ([[
      for word; do :; done
      echo >>%s/calls
      export HOME=%s PATH=%s/bin:/usr/bin:/bin
      unset XDG_CACHE_HOME
      exec /bin/sh -c "$word"
    ]]):format(world.dir, home, world.dir))
    command = { "/bin/sh", script }
  end)
  after_each(function() world:close() end)

  -- Puts a program into the PATH there.
  local function program(name, text)
    world:write("bin/" .. name, "#!/bin/sh\n" .. text .. "\n")
    assert(os.execute("chmod 755 " .. world:path("bin/" .. name)))
  end

  local function calls() return #e2e.lines(e2e.read(world:path("calls")) or "") end

  local function copies()
    local list = {}
    for name in lfs.dir(home .. "/.cache/moonfleet") do
      if name ~= "." and name ~= ".." then list[#list + 1] = name end
    end
    return list
  end

  local function fails(message)
    local path, err = ssh_copy.provide(target, command)
    assert.is_nil(path)
    assert.same({ "connect", message }, { err.kind, err.message })
  end

  it("copies the program once", function()
    local path = assert(ssh_copy.provide(target, command))
    assert.equal(2, calls())
    assert.equal(path, ssh_copy.provide(target, command))
    assert.equal(3, calls())
    local list = copies()
    assert.equal(1, #list)
    assert.equal(('"${XDG_CACHE_HOME:-$HOME/.cache}"/moonfleet/%s'):format(list[1]), path)
    local copy = home .. "/.cache/moonfleet/" .. list[1]
    assert.is_true(e2e.read("/proc/self/exe") == e2e.read(copy))
    assert.equal("rwx------", lfs.attributes(copy, "permissions"))
    assert.equal("rwx------", lfs.attributes(home .. "/.cache/moonfleet", "permissions"))
  end)

  it("is sent once to a host that is wanted many times at once", function()
    local paths = {}
    local function provide(to)
      task.spawn(function()
        local path = assert(ssh_copy.provide(to, command))
        paths[#paths + 1] = path
      end)
    end
    for _ = 1, 10 do provide(target) end
    e2e.wait_until("all", function() return #paths == 10 end)
    assert.equal(2, calls())
    provide(target)
    provide(assert(ssh.parse("bob@build1")))
    e2e.wait_until("both", function() return #paths == 12 end)
    assert.equal(4, calls()) -- neither waited for what had ended, or for another target
    for _, path in ipairs(paths) do assert.equal(paths[1], path) end
    assert.equal(1, #copies())
  end)

  it("is not confused by what the host prints", function()
    command[2] = world:write("noisy", "echo 'moon: rising'\n" .. e2e.read(command[2]))
    assert(ssh_copy.provide(target, command))
  end)

  it("refuses another kernel or architecture", function()
    program("uname", "echo Linux riscv64")
    local pipe = io.popen("uname -sm")
    local here = pipe:read("l")
    pipe:close()
    fails(("alice@build1: it is Linux riscv64 and this machine is %s, so the program cannot be "
      .. "copied: install moonfleet there, and give --ssh-program unless it is in the PATH")
      :format(here))
    assert.is_false(e2e.exists(home .. "/.cache"))
  end)

  it("leaves nothing half written", function()
    program("cat", "/bin/head -c 1000; echo 'cat: No space left on device' >&2; exit 1")
    fails("alice@build1: cat: No space left on device")
    assert.same({}, copies())
    world:write("home/file", "")
    assert(os.execute(("rm -r %s/.cache && ln -s file %s/.cache"):format(home, home)))
    local _, err = ssh_copy.provide(target, command)
    assert.matches("^alice@build1: mkdir: ", err.message)
  end)

  it("says which command is missing there", function()
    program("mktemp", "echo 'sh: mktemp: not found' >&2; exit 127")
    fails("alice@build1: sh: mktemp: not found")
  end)

  it("explains why ssh fails", function()
    command[2] = world:write("refused", "echo 'a@b: Permission denied (publickey).' >&2; exit 255")
    fails("alice@build1: permission denied (publickey); ssh never asks here: ssh-add, or "
      .. "IdentityFile in ~/.ssh/config")
    command = { world:path("absent") }
    fails("alice@build1: cannot run " .. command[1])
  end)
end)
