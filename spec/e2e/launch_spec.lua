-- SPDX-License-Identifier: MIT
-- Nodes that the driver starts: by ssh, with a real sshd of this machine, and by other commands.

local e2e = require("spec.support.e2e")
local sshd = require("spec.support.sshd")

local JOB = [[return { map = function(x) return x + 1 end, items = function()
  local i = 0
  return function() i = i + 1 return i <= 1000 and i or nil end
end }]]

describe("nodes that are started", function()
  local world, program_dir
  before_each(function()
    world = e2e.new()
    program_dir = e2e.program:match("^(.*)/[^/]*$")
  end)
  after_each(function() world:close() end)

  -- Runs the program; no process of it may be left a moment later.
  local function run(words, options)
    local result = world:run(words, options)
    e2e.wait_until("the end of the launched nodes", function()
      return not os.execute(("pgrep -f 'serve --stdio.*%s' >/dev/null"):format(world.dir))
    end)
    return result
  end

  local function stdio(extra)
    return ("%s serve --stdio --workers=1 --audit %s/audit %s"):format(e2e.program, world.dir,
      extra or "")
  end

  describe("by a command", function()
    it("do the work of a map", function()
      local result = run({ "run", "--launch", "2*" .. stdio(), world:write("job.lua", JOB) })
      assert.equal("", result.err:match("level=error[^\n]*") or "")
      assert.equal(0, result.code)
      assert.equal(1000, #e2e.results(result.out))
    end)

    it("may print something first", function()
      local noisy = ("echo 'Welcome to \\x1b[1mbuild1'; echo; %s"):format(stdio())
      local result = run({ "eval", "--launch", "sh -c \"" .. noisy .. "\"", "1 + 1" })
      assert.same({ 0, "2\n" }, { result.code, result.out })
    end)

    it("that fail say why", function()
      for command, message in pairs({
        ["sh -c 'echo no such queue >&2; exit 4'"] =
          "no such queue (it ended with exit code 4)",
        ["no-such-program-here"] = "not found",
        ["sh -c 'kill -9 $$'"] = "it was killed by signal 9",
        ["true"] = "it ended with exit code 0",
      }) do
        local result = run({ "eval", "--launch", command, "1" })
        assert.equal(3, result.code)
        assert.matches(message, result.err, 1, true)
      end
    end)

    it("that print for ever or are silent are given up", function()
      local result = run({ "eval", "--launch", "yes", "1" })
      assert.equal(3, result.code)
      assert.matches("launch 1", result.err, 1, true)
    end)
  end)

  describe("by ssh", function()
    it("do the work of a map, and end with it", function()
      local host = sshd.start(world, { path = program_dir .. ":/usr/bin:/bin" })
      local result = run({
        "run", "--ssh", host.target, "--ssh-command", host.command, world:write("job.lua", JOB),
      })
      assert.same({ 0, 1000 }, { result.code, #e2e.results(result.out) })
    end)

    it("explain what ssh says", function()
      local function fails(options, message)
        local host = sshd.start(world, options)
        local result = run({ "eval", "--ssh", host.target, "--ssh-command", host.command, "1" })
        assert.equal(3, result.code)
        assert.matches(host.target .. ": " .. message, result.err, 1, true)
      end
      fails({ known = false }, "host key unknown or changed; connect once by hand: ssh -p")
      fails({ accepts = false }, "permission denied (publickey); ssh never asks here: ssh-add, or "
        .. "IdentityFile in ~/.ssh/config")
      fails({ path = "/nowhere" }, "no moonfleet in the PATH of a non-interactive shell; "
        .. "--ssh-program PATH or --ssh-copy")
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

    it("are also those of a file, which may change", function()
      local host = sshd.start(world, { path = program_dir .. ":/usr/bin:/bin" })
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
