-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local json = require("fleet.json")
local log = require("host.log")
local main = require("fleet.cli.main")
local program = require("fleet.cli.program")
local sys = require("host.sys")

describe("the program", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function run(...) return world:run({ ... }) end

  it("prints its version, and those of its libraries", function()
    local libraries = sys.libraries()
    assert.equal("Lua", libraries[1][1])
    for _, library in ipairs(libraries) do assert.matches("^%d+%.%d+", library[2], library[1]) end
    for _, words in ipairs({ { "version" }, { "--version" }, { "-V" }, { "run", "-V" } }) do
      local done = run(table.unpack(words))
      assert.same({ 0, "" }, { done.code, done.err })
      assert.matches(("^moonfleet %s\ncommit [%%w-]+\nLua %s, curl [%%d.]+[^\n]*, nng [%%d.]+")
        :format(sys.version:gsub("%p", "%%%0"), (libraries[1][2]:gsub("%p", "%%%0"))), done.out)
    end
    local object = json.decode(run("version", "--json").out)
    assert.equal(sys.version, object.moonfleet)
    assert.equal(sys.commit, object.commit)
    assert(sys.commit == "unknown" or sys.commit:match("^%x+") == sys.commit:sub(1, 40), sys.commit)
    for _, library in ipairs(libraries) do assert.equal(library[2], object[library[1]]) end
  end)

  it("warns of a variable that nothing reads, and goes on", function()
    local done = world:run({ "eval", "1" }, {
      env = { "MOONFLEET_FROMAT=csv", "MOONFLEET_PEER=x", "MOONFLEET_LOG_LEVEL=error",
        "MOONFLEET_HISTORY=", "MOONFLEET_ZZZZZZZZ=1" },
    })
    assert.same({ 0, "1\n" }, { done.code, done.out })
    local unread = "moonfleet: nothing reads the variable "
    assert.same({
      unread .. "'MOONFLEET_FROMAT'; did you mean MOONFLEET_FORMAT?",
      unread .. "'MOONFLEET_PEER'; did you mean MOONFLEET_PEERS?",
      unread .. "'MOONFLEET_ZZZZZZZZ'",
    }, e2e.lines(done.err))
  end)

  it("prints help on stdout", function()
    local general = run("help")
    assert.same({ 0, "" }, { general.code, general.err })
    assert.matches("^moonfleet COMMAND ", general.out)
    assert.equal(general.out, run().out)
    assert.equal(general.out, run("--help").out)
    local of_run = run("help", "run")
    assert.matches("^moonfleet run ", of_run.out)
    assert.equal(of_run.out, run("run", "--help").out)
  end)

  for _, case in ipairs({
    { { "rum" }, "unknown command 'rum'; did you mean 'run'?" },
    { { "help", "rum" }, "unknown command 'rum'; did you mean 'run'?" },
    { { "--log-level", "info" }, "no command given; there are" },
    { { "run" }, "run needs a job script" },
    { { "run", "--worker", "2" }, "unknown flag --worker" },
    { { "nodes", "--log-level", "loud" }, "--log-level" },
    { { "run", "x.lua", "--format", "csv", "--format", "table" }, "--format is given twice" },
    { { "nodes", "--peers", "./peers.txt" },
      "'./peers.txt' is not HOST, HOST:PORT or [IPV6]:PORT; a list of nodes in a file is" },
    { { "eval", "1", "--peers", "a:b" }, "--peers: 'a:b' is not HOST" },
    { { "version", "now" }, "version takes no arguments" },
    { { "run", "no/such.lua" }, "no/such.lua" },
    { { "serve", "--discover", "EC2" }, "got 'EC2'; did you mean ec2?" },
    { { "doctor", "--discover", "ec2x" }, "got 'ec2x'; did you mean ec2?" },
  }) do
    local words = table.concat(case[1], " ")
    it("takes '" .. words .. "' for a mistake, in one line", function()
      local done = run(table.unpack(case[1]))
      assert.same({ 2, "" }, { done.code, done.out })
      assert.matches("^moonfleet: [^\n]+\n$", done.err)
      assert.matches(case[2], done.err, 1, true)
    end)
  end

  it("takes flags from the environment, and says which variable is wrong", function()
    local done = world:run({ "nodes" }, { env = { "MOONFLEET_LOG_LEVEL=loud" } })
    assert.equal(2, done.code)
    assert.matches("MOONFLEET_LOG_LEVEL", done.err, 1, true)
    local nobody = "127.0.0.1:" .. e2e.free_port()
    done = world:run({ "nodes" }, { env = { "MOONFLEET_PEERS=" .. nobody } })
    assert.equal(3, done.code)
    assert.matches(nobody, done.err, 1, true)
  end)

  it("uses the nodes that are named nearest", function()
    local list = world:write("list", "127.0.0.1:" .. e2e.free_port() .. "\n")
    local peer = "127.0.0.1:" .. e2e.free_port()
    local done = world:run({ "nodes", "--discover", "file:" .. list },
      { env = { "MOONFLEET_PEERS=" .. peer } })
    assert.equal(3, done.code, done.err)
    assert.matches("found by file", done.err, 1, true)
    done = world:run({ "nodes", "--peers", peer }, { env = { "MOONFLEET_DISCOVER=ec2" } })
    assert.equal(3, done.code, done.err)
    assert.matches(peer, done.out, 1, true)
    done = world:run({ "nodes" },
      { env = { "MOONFLEET_DISCOVER=ec2", "MOONFLEET_PEERS=" .. peer } })
    assert.equal(2, done.code)
    assert.matches("MOONFLEET_PEERS and MOONFLEET_DISCOVER both select", done.err, 1, true)
  end)

  it("ends with 3 when there is no node to work with", function()
    local job = world:write("job.lua", "return { map = print }")
    local done = run("run", job, "--items", "1", "--peers", "127.0.0.1:" .. e2e.free_port())
    assert.equal(3, done.code)
    assert.equal("", done.out)
    assert.matches("connection refused", done.err, 1, true)
  end)

  describe("with --lua-path", function()
    before_each(function() assert(os.execute(("cp -r lua %s"):format(world.dir))) end)

    it("reads its library from there", function()
      local path = world:write("lua/fleet/cli/command/nodes.lua",
        "return function() io.write('other library\\n') return 7 end")
      local done = run("nodes", "--lua-path", path:match("^(.*)/fleet/"))
      assert.same({ 7, "other library\n" }, { done.code, done.out })
    end)

    it("does not preempt the library from there either", function()
      local path = world:write("lua/fleet/cli/command/nodes.lua", [[
local task = require("host.task")
return function()
  require("host.task").preempt()
  local busy, seen = true, false
  task.spawn(function() seen = busy end)
  local n = 0
  for _ = 1, 1e7 do n = n + 1 end
  busy = false
  return seen and 1 or 7
end
]])
      assert.equal(7, run("nodes", "--lua-path", path:match("^(.*)/fleet/")).code)
    end)
  end)
end)

describe("main.main", function()
  local kept
  before_each(function() kept = { write = io.write, stderr = io.stderr } end)
  local function replace(name, value) rawset(io, name, value) end
  after_each(function()
    for name, value in pairs(kept) do replace(name, value) end
    sys.set_log("warn") -- as at the start of the runner
  end)

  it("gives the exit code of a command", function()
    local text = ""
    replace("write", function(...) text = text .. table.concat({ ... }) end)
    assert.equal(program.OK, main.main({ "help", "run" }))
    assert.matches("^moonfleet run ", text)
  end)

  it("gives the host what to serve", function()
    local options = main.main({ "serve", "--listen", "127.0.0.1:7", "--workers", "2" })
    assert.same({ "tcp://127.0.0.1:7" }, options.listen)
    assert.same({ 2, sys.version }, { options.workers, options.release })
    assert.equal("r2", main.main({ "serve", "--release", "r2" }).release)
  end)

  it("logs warnings, a node what it does too, and whatever is asked for", function()
    local function levels(...)
      main.main({ ... })
      local list = {}
      for _, level in ipairs({ "error", "warn", "info", "debug" }) do
        if log.enabled(level) then list[#list + 1] = level end
      end
      return table.concat(list, " ")
    end
    assert.equal("error warn info", levels("serve"))
    assert.equal("error", levels("serve", "--log-level", "error"))
    assert.equal("error warn info debug", levels("serve", "--log-level", "debug"))
  end)

  it("says what went wrong in one line on stderr", function()
    local text = ""
    replace("stderr", { write = function(_, ...) text = text .. table.concat({ ... }) end })
    assert.equal(program.USAGE, main.main({ "rum" }))
    assert.equal("moonfleet: unknown command 'rum'; did you mean 'run'?\n", text)
  end)
end)
