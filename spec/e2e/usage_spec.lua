-- SPDX-License-Identifier: MIT
-- Wrong usage leads to one line that says what to do, and to the right exit code.
-- Patient: waits for peers that do not exist.

local e2e = require("spec.support.e2e")

local JOB = "return { map = function(item) return item end }\n"
local FAILED, USAGE, NO_WORKERS, CLOSED = 1, 2, 3, 141

describe("a driver script", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function run(text, ...)
    return world:run({ "run", "--peers", "127.0.0.1:" .. e2e.free_port(),
      world:write("driver.lua", 'local fleet = require("fleet")\n' .. text), ... })
  end

  it("of maps and calls on all nodes ends with the reason when no node can be used", function()
    local job = run('return { map = function(x) return x end, items = function() end }')
    assert.equal(3, job.code)
    for _, use in ipairs({
      'print(table.concat(fleet.pmap(function(x) return x end, { 1 }), " "))',
      'print(#fleet.parallel_eval({ { function() end } }))',
      'for _ in fleet.each(function(x) return x end, { 1 }) do print(1) end',
      'print(next(fleet.multicall(function() end)))',
      'print(next(require("fleet.rpc").multicall(nil, function() end)))',
    }) do
      local ended = run(use)
      assert.same({ 3, "" }, { ended.code, ended.out }, use)
      assert.matches("^moonfleet: no node can be used: tcp://[%d.:]+: connection refused; is "
        .. "moonfleet serve running there%?\n$", ended.err)
    end
    assert.matches("^moonfleet: no node can be used: tcp://[%d.:]+: connection refused", job.err)
  end)

  it("may look at that itself", function()
    local ended = run([[
local results, err = fleet.pmap(function() end, { 1 }, { on_no_workers = "return" })
print(results, err.kind)
results, err = fleet.with({ on_no_workers = "return" }).multicall(function() end)
print(results, err.kind)
print(pcall(fleet.pmap, function() end, { 1 }))
]])
    assert.equal(0, ended.code, ended.err)
    assert.matches("^nil\tconnect\nnil\tconnect\nfalse\tconnect: no node can be used", ended.out)
  end)

  it("ends with exit code 2 when its journal is another's", function()
    local ended = world:run({ "run", world:write("driver.lua", [[
local fleet = require("fleet")
print(#fleet.pmap(function(x) return x end, { 1 }, { journal = arg[1] }))
print(#fleet.pmap(function(x) return -x end, { 1 }, { journal = arg[1] }))
]]), world:path("journal") })
    assert.same({ 2, "1\n" }, { ended.code, ended.out })
    assert.matches("^moonfleet: journal '[^\n]+': it belongs to another job[^\n]+\n$", ended.err)
  end)
end)

describe("the command line", function()
  local world, job, items
  before_each(function()
    world = e2e.new()
    job, items = world:write("job.lua", JOB), world:items({ "a", "b", "c" })
  end)
  after_each(function() world:close() end)

  -- Checks for one line that begins with the program's name and has no traceback.
  local function check_line(run, code, pattern)
    assert.equal(code, run.code, run.err)
    assert.matches("^moonfleet: [^\n]+\n$", run.err)
    assert.matches(pattern, run.err)
    assert.not_matches("traceback", run.err)
    assert.not_matches("lua/fleet", run.err)
  end

  local function check_silent(run, code, pattern)
    check_line(run, code, pattern)
    assert.equal("", run.out)
  end

  describe("names what is wrong with a job:", function()
    local BAD = {
      ["a syntax error"] = { "return { map = function(", "job%.lua:1: .*expected" },
      ["no map"] = { "return {}", "job%.lua: the job has no map; add map = function" },
      ["a field that does not exist"] = { "return { map = print, mpa = 1 }",
        "unknown field 'mpa' in the job; did you mean 'map'%?" },
      ["an option that does not exist"] = { "return { map = print, options = { timeot = 1 } }",
        "unknown option 'timeot'; did you mean 'timeout'%?" },
      ["a function, not a table"] = { "return function() end", "a job is a table: return {" },
      ["bytecode"] = { string.dump(function() end), "binary chunk" },
    }
    for what, case in pairs(BAD) do
      it(what, function()
        local bad = world:write("job.lua", case[1])
        check_silent(world:run({ "run", bad, items }), USAGE, case[2])
      end)
    end

    it("an error while it loads, with the script's own traceback", function()
      local bad = world:write("job.lua", "\nerror('no luck')\nreturn {}")
      local run = world:run({ "run", bad, items })
      assert.equal(FAILED, run.code)
      assert.matches("^moonfleet: [^\n]*job%.lua:2: no luck\nstack traceback:\n", run.err)
      assert.not_matches("lua/fleet", run.err)
      assert.equal("", run.out)
    end)

    it("what it raises, whatever that is", function()
      for code, message in pairs({
        ["error({ code = 42, message = 'no such thing' })"] =
          '%(error object is a table value: {code = 42, message = "no such thing"}%)',
        ["error(setmetatable({}, { __tostring = function() return 'so it is' end }))"] = "so it is",
        ["error({ kind = 'lost', message = 'it went away' })"] = "it went away",
        ["error(42)"] = "42", ["error(nil)"] = "nil value", ["error(true)"] = "a boolean value",
        ["error(print)"] = "a function value", ["error({ 1, { 2 } })"] = "table value: {1, {2}}",
      }) do
        for _, before in ipairs({ "", "require('fleet').nodes() " }) do
          local run = world:run({ "run", world:write("d.lua", before .. code) })
          assert.equal(FAILED, run.code)
          local said = run.err:gsub("no error object", "nil value")
          assert.matches("^moonfleet: [^\n]*d%.lua: [^\n]*" .. message
            .. "[^\n]*\nstack traceback:\n", said)
        end
      end
    end)

    it("there is none", function()
      check_silent(world:run({ "run", world:path("none.lua"), items }), USAGE,
        "cannot read the job script .*none%.lua: No such file")
      check_silent(world:run({ "run", world.dir, items }), USAGE, "cannot read the job script")
      check_silent(world:run({ "run" }), USAGE, "run needs a job script")
    end)
  end)

  describe("says what it needs for", function()
    local BAD = {
      ["an unknown command"] = { { "rnu" }, "did you mean 'run'%?" },
      ["an unknown flag"] = { { "run", "JOB", "ITEMS", "--peer", "x" },
        "unknown flag %-%-peer; did you mean %-%-peers%?" },
      ["a flag without its value"] = { { "run", "JOB", "--limit" }, "%-%-limit needs a value" },
      ["a number that is none"] = { { "run", "JOB", "ITEMS", "--limit", "many" },
        "%-%-limit needs a whole number of at least 1, got 'many'" },
      ["a format that does not exist"] = { { "run", "JOB", "ITEMS", "--format", "xml" },
        "%-%-format needs jsonl, csv or table, got 'xml'" },
      ["--items without items"] = { { "run", "JOB", "--items" }, "%-%-items needs items" },
      ["--input with --items"] = { { "run", "JOB", "--items", "--input", "jsonl", "1" },
        "%-%-input says what the lines of files are; with %-%-items each argument is an item" },
      ["a node that is to be lost between two looks"] = {
        { "run", "JOB", "ITEMS", "--heartbeat", "2", "--dead-after", "1500ms" },
        "%-%-dead%-after %(1%.5 s%) must be longer than %-%-heartbeat %(2 s%)" },
      ["a node that is to be suspect between two looks"] = { { "nodes", "--heartbeat", "5" },
        "%-%-suspect%-after %(5 s%) must be longer than %-%-heartbeat %(5 s%)" },
      ["a journal that is a folder"] = {
        { "run", "JOB", "ITEMS", "--journal", "/" }, "journal '/': it is a folder; name a file" },
      ["an input file that is not there"] = { { "run", "JOB", "none.txt" },
        "cannot read 'none%.txt': No such file or directory; with %-%-items the arguments are" },
      ["an item without --items"] = { { "run", "JOB", "http://127.0.0.1/" },
        "cannot read 'http://127%.0%.0%.1/': No such file or directory; with %-%-items the " },
      ["an input that is a folder"] = { { "run", "JOB", "/" }, "cannot read '/': Is a directory" },
      ["a node on an address of the network"] = { { "serve", "--listen", "tcp://0.0.0.0:5440" },
        "will not listen on 0.0.0.0 without %-%-tls DIR: anyone who can connect could run code" },
      ["a node on no address"] = { { "serve", "--listen", "udp://127.0.0.1" },
        "cannot listen on udp://127.0.0.1: an address is tcp://HOST:PORT or ipc:///PATH" },
      ["more in flight than is of use"] = { { "run", "job.lua", "--concurrency", "2000000" },
        "%-%-concurrency needs a whole number from 1 to 1000000, got '2000000'" },
      ["a node without workers"] = { { "serve", "--workers", "0" }, "from 1 to 1024, got '0'" },
    }
    for what, case in pairs(BAD) do
      it(what, function()
        local words = {}
        for i, word in ipairs(case[1]) do
          words[i] = word == "JOB" and job or word == "ITEMS" and items or word
        end
        check_silent(world:run(words), USAGE, case[2])
      end)
    end

    it("items, when a terminal is the input", function()
      local command = ("%s run %s; echo code $?"):format(e2e.program, job)
      local run = world:start({ "script", "-qec", command, "/dev/null" }, { pipe = true }):wait()
      assert.equal("moonfleet: no items; name a file of items, - for stdin, or --items ITEM...\r\n"
        .. "code 2\r\n", run.out)
    end)
  end)

  it("says that a port is in use", function()
    local node = world:node({ workers = 1 })
    local run = world:run({ "serve", "--listen", node.address, "--log-level", "error" })
    check_silent(run, FAILED, "address is in use; stop what uses it or choose another")
    assert.is_true(node:alive())
  end)

  describe("tells apart why a peer cannot be used:", function()
    local function run_with(peers, ...)
      return world:run({ "run", job, items, "--peers", peers, ... })
    end

    it("nobody listens", function()
      local run = run_with("127.0.0.1:" .. e2e.free_port())
      check_silent(run, NO_WORKERS, "connection refused; is moonfleet serve running there%?")
    end)

    it("the name does not exist", function()
      check_silent(run_with("127.0.0.999"), NO_WORKERS, "no such host")
    end)

    it("the address is none", function()
      check_silent(run_with("http://127.0.0.1:80"), NO_WORKERS, "not an address")
    end)

    it("it runs another release", function()
      local node = world:node({ workers = 1, flags = { "--release", "other" } })
      check_silent(run_with(node.address), NO_WORKERS,
        "runs release other .*this is 0.*the same %-%-release")
      local same = run_with(node.address, "--release", "other")
      assert.equal(0, same.code, same.err)
    end)

    it("a web server answers there", function()
      local run = run_with("127.0.0.1:" .. world:nginx().port)
      check_silent(run, NO_WORKERS, "it is not moonfleet: it begins with \"HTTP/1.1 400")
    end)

    it("and goes on with the others", function()
      local node = world:node({ workers = 1 })
      local run = run_with("127.0.0.1:" .. e2e.free_port() .. "," .. node.address)
      assert.equal(0, run.code)
      assert.equal(3, #e2e.results(run.out))
      assert.matches("^moonfleet: [^\n]+connection refused", run.err)
    end)
  end)

  describe("when results cannot be written,", function()
    it("says that the folder is missing before it does anything", function()
      local path = world:path("missing/out")
      check_silent(world:run({ "run", job, items, "--output", path }), 1, "cannot write .*No such")
      check_silent(world:run({ "run", job, items, "--output", world.dir }), 1, "Is a directory")
    end)

    it("leaves nothing behind when there is no node either", function()
      local path = world:path("out")
      local peer = "127.0.0.1:" .. e2e.free_port()
      local run = world:run({ "run", job, items, "--output", path, "--peers", peer })
      assert.equal(NO_WORKERS, run.code)
      assert.is_nil(e2e.read(path .. ".partial"))
    end)

    it("says that the disk is full", function()
      local function first_line(run)
        assert.equal(1, run.code)
        return run.err:match("^[^\n]*")
      end
      local FULL = "^moonfleet: .*No space left on device"
      assert.matches(FULL, first_line(world:run({ "run", job, items, "--output", "/dev/full" })))
      for _, words in ipairs({
        { "run", job, items }, { "run", "--dry-run", job, items }, { "help" }, { "version" },
      }) do
        assert.matches(FULL, first_line(world:run(words, { stdout = "/dev/full" })))
      end
    end)

    it("stops quietly when nobody reads them any more", function()
      local many = {}
      for i = 1, 100000 do many[i] = i end
      local path = world:items(many)
      for _, flag in ipairs({ "--log-level=warn", "--dry-run" }) do
        local run = world:start({ "bash", "-c", '"$@" | head -n 1; exit ${PIPESTATUS[0]}', "-",
          e2e.program, "run", job, path, flag }):wait()
        assert.equal(CLOSED, run.code, run.err)
        assert.equal("", run.err)
        assert.matches('^{"item":"1"[^\n]*}\n$', run.out)
      end
    end)

    it("does not take another file for a closed stdout", function()
      local out = world:path("out")
      local run = world:start({ "sh", "-c", '"$@" >&-', "-", e2e.program, "run", job, items })
        :wait()
      assert.equal(1, run.code)
      assert.matches("^moonfleet: writing failed: Bad file descriptor\n", run.err)
      run = world:start({ "sh", "-c", '"$@" <&- >&- 2>&-', "-", e2e.program, "run", job, items,
        "--output", out }):wait()
      assert.equal(0, run.code)
      assert.equal(3, #e2e.results(e2e.read(out)))
    end)

    it("does not replace what is no plain file", function()
      local target, link = world:path("target"), world:path("link")
      assert(os.execute(("ln -s target %s && mkfifo %s"):format(link, world:path("fifo"))))
      assert.equal(0, world:run({ "run", job, items, "--output", link }).code)
      assert.equal(3, #e2e.results(e2e.read(target)))
      local reader = world:start({ "cat", world:path("fifo") })
      assert.equal(0, world:run({ "run", job, items, "--output", world:path("fifo") }).code)
      assert.equal(3, #e2e.results(reader:wait().out))
    end)
  end)
end)
