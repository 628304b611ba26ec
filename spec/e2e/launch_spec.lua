-- SPDX-License-Identifier: MIT
-- Nodes that the driver starts: by ssh, with a real sshd of this machine, and by other commands.
-- Patient: nodes start and end by their own time limits.

local e2e = require("spec.support.e2e")
local json = require("fleet.json")
local launching = require("spec.support.launching")
local sshd = require("spec.support.sshd")
local sys = require("host.sys")

local JOB = [[return { map = function(x) return x + 1 end, items = function()
  local i = 0
  return function() i = i + 1 return i <= 1000 and i or nil end
end }]]

local SLOW = [[
local fleet = require("fleet")
return { map = function(x) fleet.sleep(0.02) return x end }]]

describe("nodes that are started", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function run(words) return launching.run(world, words) end

  describe("by a command", function()
    it("do the work of a map", function()
      local result = run({
        "run", "--launch", "2*" .. launching.command(world), world:write("job.lua", JOB),
      })
      assert.equal("", result.err:match("level=%a+ [^\n]*") or "")
      assert.equal(0, result.code)
      assert.equal(1000, #e2e.results(result.out))
    end)

    it("may write to a terminal that changes no byte", function()
      local command = "python3 spec/support/raw_terminal.py " .. launching.command(world)
      local result = run({ "run", "--launch", command, world:write("driver.lua", launching.ECHO) })
      assert.same({ 0, "true\n" }, { result.code, result.out }, result.err)
    end)

    it("may be many at once", function()
      local result = run({
        "eval", "--all", "--launch", "50*" .. launching.command(world), "1",
      })
      assert.equal(0, result.code, result.err)
      assert.equal(50, #e2e.lines(result.out))
    end)

    it("are listed with what started them", function()
      local command = launching.command(world)
      local config = world:write("config.lua", ("return { launch = { %q, 'exit 4' } }"):format(
        command))
      local result = run({ "nodes", "--json", "--config", config })
      assert.equal(0, result.code)
      local nodes = assert(json.decode(result.out))
      assert.equal("launch 1 (" .. command:sub(1, 10), nodes[1].started_by:sub(1, 20))
      assert.same({
        "launch 2", "launch 2 (exit 4)", "down", "launch 2 (exit 4): it ended with exit code 4",
      }, { nodes[2].address, nodes[2].started_by, nodes[2].state, nodes[2].error })
      local listed = world:run({ "nodes" }, { env = { "MOONFLEET_LAUNCH=exit 4" } })
      assert.matches("launch 1  launch 1 (exit 4)  down", listed.out, 1, true)
      listed = world:run({ "repl", "--config", config }, {
        stdin = world:write("input", ":nodes\n"),
      })
      assert.matches("launch 2  launch 2 (exit 4)", listed.out, 1, true)
    end)

    it("may print something first", function()
      local noisy = ("echo 'Welcome to \\x1b[1mbuild1'; echo; %s"):format(launching.command(world))
      local result = run({ "eval", "--launch", "sh -c \"" .. noisy .. "\"", "1 + 1" })
      assert.same({ 0, "2\n" }, { result.code, result.out })
    end)

    it("that fail say why", function()
      for command, message in pairs({
        ["sh -c 'echo no such queue >&2; exit 4'"] =
          "launch 1 (sh -c 'echo no such queue >&2; exit 4'): no such queue (it ended with exit "
            .. "code 4)",
        ["no-such-program-here"] = "not found",
        ["kill -9 $$"] = "launch 1 (kill -9 $$): it was killed by signal 9",
        ["true"] = "launch 1 (true): it ended with exit code 0",
        ["echo no"] = 'launch 1 (echo no): it wrote "no\\n" (it ended with exit code 0)',
        ["exec moonfleet serve --stdio </dev/null"] = "input is neither a pipe nor a socket",
        ["yes"] = "launch 1 (yes): it is not moonfleet",
      }) do
        command = command:gsub("exec moonfleet", "exec " .. launching.program(world))
        local result = run({ "eval", "--launch", command, "1" })
        assert.equal(3, result.code)
        assert.matches(message, result.err, 1, true)
      end
    end)

    it("that fail after they have begun to answer say why", function()
      local function fails(protocol, command, message)
        command = ("echo moonfleet/%d; %s"):format(protocol, command)
        local result = run({ "eval", "--launch", command, "1" })
        assert.equal(3, result.code)
        assert.matches(message, result.err, 1, true)
      end
      fails(sys.protocol, "exec >&-; sleep 0.2; echo no room >&2; exit 7",
        "): no room (it ended with exit code 7)")
      fails(sys.protocol, "cat >/dev/null", "): the node has begun to answer, then nothing came; "
        .. "the command must pass on every byte, unchanged and at once (srun: --unbuffered)")
      -- at once with the preface, and later
      for _, wait in ipairs({ "", "sleep 0.2; " }) do
        fails(sys.protocol, wait .. [[printf '\0\0\0\130'; cat >/dev/null]],
          "): it sent a frame of unknown kind 88")
      end
      fails(sys.protocol - 1, "cat >/dev/null", "): it speaks protocol " .. sys.protocol - 1)
    end)

    it("are left out when they fail, and the others do the work", function()
      local result = run({
        "run", "--launch", "exit 4", "--launch", launching.command(world),
        world:write("job.lua", JOB),
      })
      assert.same({ 0, 1000 }, { result.code, #e2e.results(result.out) })
    end)

    it("may write to stderr for ever", function()
      local result = run({
        "run", "--launch", ("(while :; do echo again; done >&2) & exec %s"):format(
          launching.command(world)), world:write("job.lua", JOB),
      })
      assert.same({ 0, 1000 }, { result.code, #e2e.results(result.out) })
      assert.matches("[launch 1] again\n", result.err, 1, true)
    end)

    it("are lost at once when they close their stdin alone", function()
      -- the node itself waits for more, and could still answer
      local deaf = ("exec bash -c 'exec %s < <(dd bs=1 count=1500; exec <&-; exec sleep 5)'")
        :format(launching.command(world))
      local began = sys.now()
      local items = {}
      for i = 1, 500 do items[i] = i end
      local result = run({
        "run", "--launch", deaf, "--launch", launching.command(world), "--concurrency", "4",
        world:write("job.lua", SLOW), world:items(items),
      })
      assert.same({ 0, 500 }, { result.code, #e2e.results(result.out) }, result.err)
      assert.matches('msg="node lost"[^\n]*launch 1 ', result.err)
      assert.is_true(sys.now() - began < 14) -- silence alone would take 15 s
    end)

    it("end with a driver that is interrupted while they start", function()
      local pid_path = world:path("pid")
      local driver = world:program({
        "eval", "--launch", ("sh -c 'echo $$ >%s; exec sleep 100'"):format(pid_path), "1",
      })
      local pid = e2e.wait_until("the command", function()
        return tonumber((e2e.read(pid_path) or ""):match("^(%d+)\n"))
      end)
      driver:kill("INT")
      assert.equal(130, driver:wait().code)
      e2e.wait_until("the end of the command", function() return not e2e.alive(pid) end)
    end)
  end)

  describe("by ssh", function()
    it("do the work of a map, and end with it", function()
      local host = sshd.start(world)
      local result = run({
        "run", "--ssh", host.target, "--ssh-command", host.command, world:write("job.lua", JOB),
      })
      assert.same({ 0, 1000 }, { result.code, #e2e.results(result.out) })
    end)

    it("let jobs do what the command line says", function()
      local host = sshd.start(world)
      local code = [[
        local page, err = require("fleet.http").get("http://127.0.0.1:1/")
        return ("%s %s"):format(type(require("lpeg").P), err.message)]]
      for _, case in ipairs({
        { "--modules=lpeg", "^function .*loopback.* private node or %-%-ssh" },
        { "--modules=lpeg --allow-hosts=loopback", "^function .*Connection refused" },
      }) do
        local words = { "eval", "--ssh", host.target, "--ssh-command", host.command, code }
        for flag in case[1]:gmatch("%S+") do table.insert(words, 2, flag) end
        local result = run(words)
        assert.equal(0, result.code, result.err)
        assert.matches(case[2], result.out)
      end
    end)

    it("may be more on one host than sshd lets connect at once", function()
      local host, targets = sshd.start(world), {}
      -- a command waits 10 s for them all; above ten at once sshd refuses some
      local count = e2e.sanitized and 12 or 20
      for i = 1, count do targets[i] = "1/" .. host.target end
      local result = run({
        "eval", "--all", "--ssh", table.concat(targets, ","), "--ssh-command", host.command, "1",
      })
      assert.equal(0, result.code, result.err)
      assert.equal(count, #e2e.lines(result.out))
    end)

    it("may follow what the host prints first", function()
      local host = sshd.start(world, { banner = "Welcome to moonfleet/99, all users" })
      local result = run({
        "eval", "--ssh", host.target, "--ssh-command", host.command, "1 + 1",
      })
      assert.same({ 0, "2\n" }, { result.code, result.out })
    end)

    it("explain what ssh says", function()
      local function fails(target, options, message)
        local host = sshd.start(world, options)
        target = target or host.target
        local result = run({ "eval", "--ssh", target, "--ssh-command", host.command, "1" })
        assert.equal(3, result.code)
        assert.matches(target .. ": " .. message, result.err, 1, true)
      end
      fails(nil, { known = false }, "host key unknown or changed; connect once by hand: ssh -F ")
      fails(nil, { changed = true }, "host key unknown or changed; connect once by hand: ssh -F ")
      fails(nil, { accepts = false }, "permission denied (publickey); ssh never asks here: ssh-add,"
        .. " or IdentityFile in ~/.ssh/config")
      fails(nil, { path = "/nowhere" }, "no moonfleet in the PATH of a non-interactive shell; "
        .. "--ssh-program PATH or --ssh-copy")
      local port = e2e.free_port()
      fails("127.0.0.1:" .. port, {}, ("ssh: connect to host 127.0.0.1 port %d: Connection refused")
        :format(port))
    end)

    it("are the program that --ssh-program names", function()
      local host = sshd.start(world, { path = "/usr/bin:/bin", home = world.dir })
      for _, path in ipairs({ launching.program(world), "~/bin/moonfleet" }) do
        local result = run({
          "eval", "--ssh", host.target, "--ssh-command", host.command, "--ssh-program", path, "6",
        })
        assert.same({ 0, "6\n" }, { result.code, result.out })
      end
    end)

    it("are the program itself, copied once, with --ssh-copy", function()
      local home = world:path("home")
      assert(os.execute("mkdir " .. home))
      local host = sshd.start(world, { path = "/usr/bin:/bin", home = home })
      local words = {
        "eval", "--ssh-copy", "--ssh", host.target, "--ssh-command", host.command, "6 * 7",
      }
      for _ = 1, 2 do
        local result = run(words)
        assert.same({ 0, "42\n" }, { result.code, result.out })
      end
      local pipe = io.popen(("cd %s/.cache/moonfleet && stat -c '%%a' *"):format(home))
      assert.equal("700\n", pipe:read("a")) -- one file, whole
      pipe:close()
    end)

    it("are not copied to another kind of machine", function()
      local home = world:path("home")
      assert(os.execute(("mkdir -p %s/bin"):format(home)))
      world:write("home/bin/uname", "#!/bin/sh\necho Linux riscv64\n")
      assert(os.execute(("chmod 755 %s/bin/uname"):format(home)))
      local host = sshd.start(world, { path = home .. "/bin:/usr/bin:/bin", home = home })
      local result = run({
        "eval", "--ssh-copy", "--ssh", host.target, "--ssh-command", host.command, "1",
      })
      assert.equal(3, result.code)
      assert.matches(host.target .. ": it is Linux riscv64 and this machine is Linux ", result.err,
        1, true)
      assert.is_false(e2e.exists(home .. "/.cache"))
    end)

    it("end with a driver that is interrupted while they start", function()
      local pid_path = world:path("pid")
      local program = world:write("slow", ("#!/bin/sh\necho $$ >%s\nexec sleep 100\n"):format(
        pid_path))
      assert(os.execute("chmod 755 " .. program))
      local host = sshd.start(world)
      local driver = world:program({
        "eval", "--ssh", host.target, "--ssh-command", host.command, "--ssh-program", program, "1",
      })
      e2e.wait_until("the command", function() return e2e.read(pid_path) end)
      driver:kill("INT")
      assert.equal(130, driver:wait().code)
      launching.wait_gone(world)
    end)

    it("are also those of a file, which may change", function()
      local host = sshd.start(world)
      local list = world:write("hosts", "# ours\n1/" .. host.target .. "\n")
      local result = run({
        "nodes", "--json", "--sshlogin-file", list, "--ssh-command", host.command,
      })
      assert.equal(0, result.code)
      assert.matches('"workers":1', result.out, 1, true)
      assert.matches("ssh " .. host.target, result.out, 1, true)
    end)
  end)
end)
