-- SPDX-License-Identifier: MIT
-- What `moonfleet run` joins: script, items, options, results. How it fails and how it is
-- interrupted is in spec/e2e.
local e2e = require("spec.support.e2e")
local task = require("host.task")
local json = require("fleet.json")

describe("moonfleet run", function()
  local world, echo
  before_each(function()
    world = e2e.new()
    echo = world:write("echo.lua", "return { map = function(item) return item end }")
  end)
  after_each(function() world:close() end)

  --- Runs words to the end, which must be `code` (0), and returns the run.
  local function run(words, code, options)
    local done = world:run({ "run", table.unpack(words) }, options)
    assert.equal(code or 0, done.code, done.err)
    return done
  end

  --- What became of each item: a list of values, errors for those that failed.
  local function values(words, code, options)
    local list = {}
    for i, row in ipairs(e2e.results(run(words, code, options).out)) do
      list[i] = row.error or row.value
    end
    return list
  end

  local function script(text) return world:write("script.lua", text) end

  describe("given a script that is no job", function()
    it("runs it here, with its arguments", function()
      local path = script("print(#arg, arg[0], arg[1], arg[2]) print(io ~= nil, ...)")
      local done = run({ path, "a", "b c" })
      assert.equal(("2\t%s\ta\tb c\ntrue\ta\tb c\n"):format(path), done.out)
      assert.equal("", done.err)
    end)

    it("fails with what it raises, and where", function()
      local done = run({ script("local x = nil\nx.y = 1") }, 1)
      assert.matches("^moonfleet: [^\n]*script.lua:2: attempt to index[^\n]*\nstack traceback:\n",
        done.err)
    end)

    it("lets it wait", function()
      assert.equal("woken\n",
        run({ script("require('fleet').sleep(0.001) print('woken')") }).out)
    end)
  end)

  it("gives a few items to as many workers", function()
    local node = world:node({ workers = 4 })
    local job = script([[
      local fleet = require("fleet")
      return { map = function() fleet.sleep(0.2) return fleet.self().worker end }
    ]])
    local workers = values({ "--items", "--peers", node.address, job, "a", "b", "c", "d" })
    table.sort(workers)
    assert.same({ 1, 2, 3, 4 }, workers)
  end)

  describe("takes its items", function()
    local JOB_ITEMS = "return { map = function(x) return x end, items = %s }"

    it("from the files given, one after the other", function()
      local one, two = world:write("1", "a\n\nb"), world:write("2", "c\r\nd\n")
      assert.same({ "a", "", "b", "c", "d" }, values({ echo, one, two }))
    end)

    it("from stdin, when there is no file or where - stands", function()
      local input, file = world:write("in", "x\ny\n"), world:write("1", "a\n")
      assert.same({ "x", "y" }, values({ echo }, 0, { stdin = input }))
      assert.same({ "a", "x", "y", "a" },
        values({ echo, file, "-", file }, 0, { stdin = input }))
    end)

    it("from a named pipe, which may wait for its writer", function()
      local pipe = world:path("pipe")
      assert(os.execute("mkfifo " .. pipe))
      local path = script("io.stderr:write('loaded') return { map = function(x) return x end }")
      local program = world:program({ "run", path, pipe })
      e2e.wait_until("the job", function() return program:err():find("loaded") end)
      task.sleep(0.1) -- it waits for the pipe now, or is about to
      program:kill("INT")
      assert.equal(130, program:wait().code)
      program = world:program({ "run", path, pipe })
      e2e.wait_until("the job", function() return program:err():find("loaded") end)
      assert(os.execute("printf 'x\\ny\\n' >" .. pipe))
      local done = program:wait()
      assert.equal(0, done.code, done.err)
      assert.same({ "x", "y" }, { e2e.results(done.out)[1].value, e2e.results(done.out)[2].value })
    end)

    it("from the words given", function()
      assert.same({ "a b", "", "--x" }, values({ echo, "--items", "--", "a b", "", "--x" }))
    end)

    it("not for a script that is no job: the words are its own", function()
      local path = script("print(#arg, arg[1], select('#', ...), (select(2, ...)))")
      assert.equal("2\ta\t2\tb\n", run({ path, "a", "b" }).out)
      assert.equal("3\t--name\t3\tx\n", run({ path, "--name", "x", "--help" }).out)
      assert.equal("2\t--timeout\t2\t5\n", run({ path, "--", "--timeout", "5" }).out)
      assert.equal("1\t--items\t1\tnil\n", run({ "--log-level", "error", path, "--items" }).out)
    end)

    it("and flags too, wherever a job has them", function()
      local path = script(JOB_ITEMS:format("function() return { arg[1], arg[2] or 'none' } end"))
      assert.same({ "x" }, values({ path, "--limit", "1", "--items", "x", "y" }))
      assert.same({ "x" }, values({ "--limit", "1", path, "--items", "x", "y" }))
      path = script("local words = ... or 'none' return { map = print, items = { words } }")
      assert.equal('{"item":"none","value":null}\n', run({ path, "--format", "jsonl" }).out)
    end)

    -- A script without a `return` is no job, and what it was to work on would be passed over.
    for _, case in ipairs({
      { "local t = { map = function(x) return x end }", { "--items", "%s", "a", "b" }, "--items" },
      { "map = function(x) return x end", { "%s", "urls.txt", "--format", "csv" }, "'urls.txt'" },
      { "function map(x) return x end", { "%s", "--output", "x.csv" }, "'--output'" },
      { "if true then return end", { "--format", "csv", "%s" }, "--format" },
      { "print((function(...) return ... end)(1))", { "%s", "a" }, "'a'" },
      { "local t = {} function t.f() return arg end", { "--dry-run", "%s", "a" }, "--dry-run" },
    }) do
      it("and says so where nothing would take them: " .. case[1], function()
        local words = {}
        for i, word in ipairs(case[2]) do words[i] = word:gsub("%%s", script(case[1])) end
        local done = run(words, 2)
        assert.equal("", done.out)
        assert.matches("^moonfleet: [^\n]*script.lua returns no job, so it is a driver script"
          .. "[^\n]* return { map = ... }\n$", done.err)
        assert.matches(case[3], done.err, 1, true)
        assert.is_false(e2e.exists("x.csv"))
      end)
    end

    it("and hints at the return of a script that made a map and did nothing", function()
      local path = script("local job = { map = function(x) return x end }")
      assert.matches("script.lua returned nothing and used no node; a job ends with return { map",
        run({ path }, 0, { stdin = world:items({ "a" }) }).err, 1, true)
      local quiet = script("local t = { map = function() end } require('fleet').nodes()")
      assert.equal("", run({ quiet }).err)
      assert.equal("", run({ script("print('map')") }).err)
    end)

    it("and says so after a script that could have been a job, but was none", function()
      local path = script("print('ran') if arg[1] == 'job' then return { map = print } end")
      local done = run({ path, "--format", "csv" }, 2)
      assert.equal("ran\n", done.out)
      assert.matches("which has no use for --format", done.err, 1, true)
      assert.equal("ran\n", run({ path, "x" }).out)
    end)

    it("from lines of JSON", function()
      local file = world:write("in", '{"a":[1,2.5]}\n\n"s"\nfalse\nnull\n{\n7')
      local rows = e2e.results(run({ echo, file, "--input", "jsonl" }, 1).out)
      assert.same({ { a = { 1, 2.5 } }, "s", false, nil, nil, 7 },
        { rows[1].value, rows[2].value, rows[3].value, rows[4].value, rows[5].value,
          rows[6].value })
      assert.same({ "null", "{" }, { rows[4].item, rows[5].item })
      for _, i in ipairs({ 4, 5 }) do assert.equal("input", rows[i].error.kind) end
      assert.matches(":6:", rows[5].error.message, 1, true)
    end)

    it("from lines of JSON with numbers and characters that nothing holds", function()
      local file = world:write("in",
        '{"id":18446744073709551615}\n1e999\n"\\ud83d"\n-9223372036854775809\n')
      assert.equal('{"item":{"id":1.8446744073709552e+19},"value":{"id":1.8446744073709552e+19}}\n'
        .. '{"item":1.7976931348623157e+308,"value":1.7976931348623157e+308}\n'
        .. '{"item":"\u{FFFD}","value":"\u{FFFD}"}\n'
        .. '{"item":-9.223372036854776e+18,"value":-9.223372036854776e+18}\n',
        run({ echo, file, "--input", "jsonl" }).out)
    end)

    it("from what a map gives, and writes what one gives as an array", function()
      local path = script([[
        local fleet = require("fleet")
        local function double(x) return 2 * x end
        return {
          items = function() return fleet.pmap(double, { 1, 2, 3 }) end,
          map = function(x) return fleet.pmap(double, { x, x + 1 }) end,
        }
      ]])
      assert.equal('{"item":2,"value":[4,6]}\n{"item":4,"value":[8,10]}\n'
        .. '{"item":6,"value":[12,14]}\n', run({ path }).out)
      assert.same({ 1, 2 }, values({ script(JOB_ITEMS:format("table.pack(1, 2)")) }))
    end)

    it("from the job, which has the arguments, when no file is given", function()
      assert.same({ 1, "two" }, values({ script(JOB_ITEMS:format("{ 1, 'two' }")) }))
      local path = script(JOB_ITEMS:format("function() return string.gmatch('p q r', '%a') end"))
      assert.same({ "p", "q", "r" }, values({ path }))
      assert.same({ "w" }, values({ path, "--items", "w" }))
      assert.same({ "line" }, values({ path, world:write("in", "line\n") }))
    end)

    it("from the job until that raises", function()
      local path = script(JOB_ITEMS:format([[function()
        return coroutine.wrap(function()
          coroutine.yield("one")
          error("no more")
        end)
      end]]))
      local done = run({ path }, 1)
      assert.same({ "one" }, { e2e.results(done.out)[1].value })
      assert.matches("moonfleet: items: [^\n]*no more\n", done.err)
    end)

    it("up to a limit, and reads no further", function()
      local program = world:program({ "run", echo, "--limit", "2" }, { pipe = true })
      program.stdin:write("1\n2\n") -- and no end
      assert.equal(0, program:wait().code)
      assert.equal(2, #e2e.results(program:out()))
    end)

    it("by chance", function()
      local file = world:items(e2e.lines(("x\n"):rep(2000)))
      assert.equal(2000, #values({ echo, file, "--sample", "100%" }))
      local some = #values({ echo, file, "--sample", "50%" })
      assert.is_true(some > 700 and some < 1300)
    end)
  end)

  describe("says in its closing lines", function()
    it("why items failed, the three commonest reasons", function()
      local done = run({ script([[
        return { map = function(x)
          local n = tonumber(x)
          if n <= 5 then error("boom " .. n, 0) end
          if n <= 8 then return nil, { kind = "mine", message = "so it is" } end
          if n <= 10 then return print end
          if n == 11 then error({ code = 7 }) end
          return n
        end }
      ]]), "--items", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12" }, 1)
      assert.matches("12 items in [^\n]*: 1 ok, 11 failed\n"
        .. '5 failed with raise: boom 1 %(first "1"%)\n3 failed with mine: so it is %(first "6"%)\n'
        .. '2 failed with encode: [^\n]* %(first "9"%)\n1 failed with other errors\n$', done.err)
      assert.is_nil(run({ echo, "--items", "a" }).err:find("failed with", 1, true))
    end)

    it("that results are nil, as those of a map without a return are", function()
      local path = script("return { map = function(x) if x == 'bad' then error('x') end end }")
      assert.matches("all results are nil: does map return its result%?\n$",
        run({ path, "--items", "a", "b" }).err)
      assert.matches("the result is nil: does", run({ path, "--items", "a" }).err, 1, true)
      for _, words in ipairs({ { echo, "--items", "a" }, { path, "--items", "bad" } }) do
        assert.is_nil(run(words, words[1] == path and 1 or 0).err:find("nil:", 1, true))
      end
      path = script("return { map = print, reduce = function(a) return a end }")
      assert.is_nil(run({ path, "--items", "a" }).err:find("nil:", 1, true))
    end)

    it("how a run that is cut short could go on", function()
      local path = script([[
        local fleet = require("fleet")
        return { map = function(x) fleet.sleep(0.2) return x end, options = { concurrency = 1 } }
      ]])
      local items = world:items(e2e.lines(("x\n"):rep(200)))
      local program = world:program({ "run", path, items })
      e2e.wait_until("a result", function() return program:lines() > 0 end)
      program:kill("INT")
      local done = program:wait()
      assert.equal(130, done.code)
      assert.matches("with --journal FILE a run can go on where it was cut short, by --resume\n",
        done.err, 1, true)
    end)

    it("how many items a dry run has listed", function()
      assert.equal("moonfleet: 1 item; nothing was run\n",
        run({ echo, "--dry-run", "--items", "a" }).err)
      assert.equal("moonfleet: 2 items; nothing was run\n",
        run({ echo, "--dry-run", "--items", "a", "b" }).err)
    end)
  end)

  it("says that the script comes first", function()
    local items = world:write("urls.txt", "http://a/\n")
    assert.matches("; the job script comes first: '" .. echo .. "'\n", run({ items, echo }, 2).err,
      1, true)
    assert.is_nil(run({ items, world:path("none.lua") }, 2).err:find("comes first", 1, true))
    local bad = script("error('no')")
    assert.is_nil(run({ bad }, 1).err:find("comes first", 1, true))
  end)

  it("writes into a named pipe, which may wait for its reader", function()
    local pipe = world:path("pipe")
    assert(os.execute("mkfifo " .. pipe))
    local path = script("io.stderr:write('loaded') return { map = function(x) return x end }")
    local program = world:program({ "run", path, "--items", "x", "--output", pipe })
    e2e.wait_until("the job", function() return program:err():find("loaded") end)
    program:kill("INT")
    assert.equal(130, program:wait().code)
    program = world:program({ "run", path, "--items", "x", "--output", pipe })
    e2e.wait_until("the job", function() return program:err():find("loaded") end)
    local reader = world:start({ "cat", pipe })
    assert.equal(0, program:wait().code)
    assert.equal("x", e2e.results(reader:wait().out)[1].value)
  end)

  describe("takes options", function()
    local COUNT = [[
      local fleet = require("fleet")
      local running, most = 0, 0
      return { map = function()
        running = running + 1
        most = math.max(most, running)
        fleet.sleep(0.005)
        running = running - 1
        return most
      end, options = { concurrency = 2 } }
    ]]

    local function most(...)
      local items = world:items(e2e.lines(("x\n"):rep(60)))
      return math.max(table.unpack(values({ script(COUNT), items, ... })))
    end

    it("from the job, unless a flag says otherwise", function()
      assert.equal(2, most())
      assert.equal(5, most("--concurrency", "5"))
      local path = script([[
        local fleet = require("fleet")
        return {
          map = function() fleet.sleep(0.2) return "slept" end,
          options = { timeout = 0.01 },
        }
      ]])
      assert.equal("timeout", values({ path, "--items", "x" }, 1)[1].kind)
      assert.same({ "slept" }, values({ path, "--items", "x", "--timeout", "60" }))
    end)

    it("whether results are written in order", function()
      local source = [[
        local fleet = require("fleet")
        return { map = function(x)
          if x == "a" then fleet.sleep(0.1) end
          return x
        end, options = { batch = 3%s } }
      ]]
      local path = script(source:format(""))
      assert.same({ "a", "b", "c" }, values({ path, "--items", "a", "b", "c" }))
      assert.equal("a", values({ path, "--unordered", "--items", "a", "b", "c" })[3])
      path = script(source:format(", unordered = true"))
      assert.equal("a", values({ path, "--items", "a", "b", "c" })[3])
    end)
  end)

  it("writes results while others run", function()
    local program = world:program({ "run", echo }, { pipe = true })
    for i, line in ipairs({ "first", "second" }) do
      program.stdin:write(line .. "\n")
      e2e.wait_until("a result", function() return #e2e.results(program:out()) == i end)
    end
    program.stdin:close()
    assert.equal(0, program:wait().code)
  end)

  it("writes what the job makes of all results", function()
    local path = script([[
      return {
        map = function(x) return #x end,
        init = 10,
        reduce = function(acc, n) print("reduce runs here") return acc + n end,
      }
    ]])
    local done = run({ path, "--output", world:path("out"), "--items", "a", "bb", "ccc" })
    assert.equal('{"value":16}\n', e2e.read(world:path("out")))
    assert.equal(("reduce runs here\n"):rep(3), done.out)
  end)

  it("stops where reduce raises, and keeps no result", function()
    local path = script([[
      return { map = function(x) return x end, reduce = function() error("cannot add") end }
    ]])
    local done = run({ path, "--output", world:path("out"), "--items", "a" }, 1)
    assert.matches("moonfleet: reduce: [^\n]*cannot add\n", done.err)
    assert.matches("the run was cut short: items that had not been read, if any, were not run\n",
      done.err, 1, true)
    assert.is_nil(e2e.read(world:path("out")))
  end)

  it("writes in the format asked for", function()
    assert.equal("item,value,error_kind,error\r\na,a,,\r\n\"b,c\",\"b,c\",,\r\n",
      run({ echo, "--format", "csv", "--items", "a", "b,c" }).out)
    assert.same({ "item  value", "a     a" },
      e2e.lines(run({ echo, "--format", "table", "--items", "a" }).out))
  end)

  it("ends with 1 when an item failed, and says how many", function()
    local path = script("return { map = function(x) return x == 'b' and error('bad') or x end }")
    local done = run({ path, "--items", "a", "b", "c" }, 1)
    assert.matches("3 items in [^\n]*: 2 ok, 1 failed", done.err)
  end)

  it("fails an item whose result the format cannot show", function()
    local path = script("return { map = function(x) return { [1] = x, ['1'] = x } end }")
    local done = run({ path, "--items", "a" }, 1)
    assert.equal("encode", e2e.results(done.out)[1].error.kind)
    assert.matches("0 ok, 1 failed", done.err, 1, true)
  end)

  describe("--dry-run", function()
    it("lists the items and runs nothing", function()
      local path = script("return { map = function() error('ran') end, items = { 1, { 'x' } } }")
      local done = run({ path, "--dry-run" })
      assert.equal('{"item":1}\n{"item":["x"]}\n', done.out)
      assert.equal("moonfleet: 2 items; nothing was run\n", done.err)
    end)

    it("needs no node", function()
      local nobody = "127.0.0.1:" .. e2e.free_port()
      run({ echo, "--dry-run", "--peers", nobody, "--items", "a" })
    end)

    it("lists what would be read, no more", function()
      local file = world:items({ "a", "b", "c" })
      assert.equal('{"item":"a"}\n{"item":"b"}\n',
        run({ echo, "--dry-run", "--limit", "2", file }).out)
    end)

    it("writes to a file too", function()
      run({ echo, "--dry-run", "--output", world:path("out"), "--items", "a" })
      assert.equal('{"item":"a"}\n', e2e.read(world:path("out")))
      assert.is_nil(e2e.read(world:path("out.partial")))
    end)

    it("shows items that would fail on their way, and goes on", function()
      local path = script("return { map = print, items = { print, 'a', { { 1, print } } } }")
      local rows = e2e.results(run({ path, "--dry-run" }, 1).out)
      assert.equal(3, #rows)
      assert.equal("a", rows[2].item)
      for _, i in ipairs({ 1, 3 }) do
        assert.equal("encode", rows[i].error.kind)
        assert.is_string(rows[i].item)
      end
      local lines = world:write("in", "1\n{\n3\n")
      rows = e2e.results(run({ echo, "--dry-run", "--input", "jsonl", lines }, 1).out)
      assert.same({ 1, "{", 3 }, { rows[1].item, rows[2].item, rows[3].item })
      assert.equal("input", rows[2].error.kind)
    end)

    it("says that the input ended too soon", function()
      local path = script([[
        return { map = print, items = function()
          local n = 0
          return function() n = n + 1 return n < 3 and n or error("torn") end
        end }
      ]])
      local done = run({ path, "--dry-run" }, 1)
      assert.equal('{"item":1}\n{"item":2}\n', done.out)
      assert.matches("moonfleet: items: [^\n]*torn\n", done.err)
    end)
  end)

  it("maps over the very nodes that the script has used before", function()
    local path = script([[
      local fleet = require("fleet")
      if io then assert(fleet.everywhere(function() seen = "before" end)) end
      return { map = function() return seen end }
    ]])
    assert.same({ "before" }, values({ "--items", path, "1" }))
  end)

  it("gives the summary of each node that took part", function()
    local nodes, peers = world:nodes(2, { workers = 1 })
    local items = {}
    for i = 1, 5000 do items[i] = json.encode(i) end
    local done = run({ echo, world:items(items), "--peers", peers })
    local total = 0
    for _, node in ipairs(nodes) do total = total + e2e.share(done, node) end
    assert.equal(5000, total)
  end)
end)
