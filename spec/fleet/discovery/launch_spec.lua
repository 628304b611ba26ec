-- SPDX-License-Identifier: MIT
local launch = require("fleet.discovery.launch")

local function fails(flags, message)
  local members, err = launch.members(flags)
  assert.is_nil(members)
  assert.equal("usage", err.kind)
  assert.matches(message, err.message, 1, true)
end

local function names(members)
  local list = {}
  for i, member in ipairs(members) do list[i] = member.id end
  return list
end

describe("fleet.discovery.launch", function()
  it("makes a node for each command, or N", function()
    local members = assert(launch.members({
      launch = { "srun moonfleet serve --stdio", " 2* x y " },
    }))
    assert.same({ "launch 1", "launch 2", "launch 3" }, names(members))
    assert.same({ "/bin/sh", "-c", "srun moonfleet serve --stdio" }, members[1].launch.argv)
    assert.same({ "/bin/sh", "-c", "x y" }, members[3].launch.argv)
    assert.equal("launch 3 (x y): no such queue (it ended with exit code 4)",
      members[3].launch.explain(4, nil, "queued\nno such queue\n\n"))
    assert.equal("launch 3 (x y): it was killed by signal 9", members[3].launch.explain(nil, 9, ""))
  end)

  it("refuses commands that start nothing, and too many", function()
    fails({ launch = { " " } }, "--launch needs a command such as")
    fails({ launch = { "3*" } }, "--launch needs a command such as")
    fails({ launch = { "0*x" } }, "takes an N from 1 to 1000, got '0*x'")
    for _, n in ipairs({ "1001", ("9"):rep(20), ("9"):rep(400) }) do
      fails({ launch = { n .. "*x" } }, "takes an N from 1 to 1000")
    end
  end)

  it("makes a node for each target of ssh, with a name of its own", function()
    local members = assert(launch.members({
      ssh = { "alice@a", "b:7", "alice@a" }, release = "r 1", release_source = "--release",
      log_level = "info",
    }))
    assert.same({ "ssh alice@a", "ssh b:7", "ssh alice@a #2" }, names(members))
    assert.same({ "alice@a", "ssh alice@a #2" },
      { members[3].launch.title, members[3].launch.shown })
    local argv = members[2].launch.argv
    assert.same({ "-p", "7", "--", "b",
      "exec moonfleet serve --stdio --lease-exit=60 --log-level=info '--release=r 1'" },
      { table.unpack(argv, #argv - 4) })
  end)

  it("misses moonfleet in the PATH only where it is the one of the PATH", function()
    local function explain(flags)
      flags.ssh = { "a" }
      return assert(launch.members(flags))[1].launch.explain(127, nil, "sh: x: not found\n")
    end
    assert.matches("^a: no moonfleet in the PATH", explain({}))
    assert.equal("a: sh: x: not found", explain({ ssh_program = "x" }))
    assert.equal("a: sh: x: not found", explain({ ssh_copy = true }))
  end)

  it("gives nodes of ssh the release of this program only where it runs", function()
    local function has_release(flags)
      flags.ssh, flags.release = { "a" }, "r1"
      local argv = assert(launch.members(flags))[1].launch.argv
      return argv[#argv]:find(" --release=r1", 1, true) ~= nil
    end
    assert.is_true(has_release({ release_source = "--release" }))
    assert.is_true(has_release({ release_source = "/etc/moonfleet/release", ssh_copy = true }))
    assert.is_false(has_release({ release_source = "/etc/moonfleet/release" }))
  end)

  it("gives nodes of ssh what jobs may do on the private node", function()
    local members = assert(launch.members({
      ssh = { "a" }, allow_hosts = { "10.0.0.0/8", "loopback" }, modules = { "lpeg" },
    }))
    assert.matches(" %-%-allow%-hosts=10%.0%.0%.0/8,loopback %-%-modules=lpeg$",
      members[1].launch.argv[#members[1].launch.argv])
  end)

  it("refuses targets, commands and programs that are wrong", function()
    fails({ ssh = { "a", "-b" } }, "--ssh: '-b' begins with a dash")
    fails({ ssh = { "a" }, ssh_command = "ssh '" }, "--ssh-command has a quote")
    fails({ ssh = { "a" }, ssh_program = "-x" }, "--ssh-program needs the path")
    fails({ ssh = { "a" }, ssh_program = "x", ssh_copy = true }, "give only one of them")
  end)

  it("reads the targets of a file", function()
    local parse = assert(launch.file_parser({}))
    assert.same({ "ssh a", "ssh b" }, names(assert(parse("a\nb\n", "f"))))
    assert.equal("f:1: '@' has no user before the @", select(2, parse("@\n", "f")).message)
  end)
end)
