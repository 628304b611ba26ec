-- SPDX-License-Identifier: MIT
-- Input and output of runs: formats, files, subsets, slow input.

local e2e = require("spec.support.e2e")
local task = require("host.task")

local ECHO = "return { map = function(item) return item end }\n"
local ROW = [[
return {
  map = function(item)
    if item == "bad" then return nil, { kind = "mine", message = 'so, "bad"' } end
    return { length = #item, list = { 1, 2 } }
  end,
}
]]

local function numbers(count)
  local list = {}
  for i = 1, count do list[i] = i end
  return list
end

describe("a run", function()
  local world, echo
  before_each(function()
    world = e2e.new()
    echo = world:write("echo.lua", ECHO)
  end)
  after_each(function() world:close() end)

  local function items_of(text)
    local list = e2e.results(text)
    for i, result in ipairs(list) do list[i] = result.item end
    return list
  end

  describe("writes", function()
    local function format(name)
      local row, items = world:write("row.lua", ROW), world:items({ "a", "bad", 'c,"d"', "", "ü" })
      local run = world:run({ "run", row, items, "--format", name })
      assert.equal(1, run.code)
      return run.out
    end

    it("JSON Lines", function()
      assert.same({
        [[{"item":"a","value":{"length":1,"list":[1,2]}}]],
        [[{"item":"bad","error":{"kind":"mine","message":"so, \"bad\"",]]
          .. [["applied":"yes","attempt":1,"node":"local"}}]],
        [[{"item":"c,\"d\"","value":{"length":5,"list":[1,2]}}]],
        [[{"item":"","value":{"length":0,"list":[1,2]}}]],
        [[{"item":"ü","value":{"length":2,"list":[1,2]}}]],
      }, e2e.lines(format("jsonl")))
    end)

    it("CSV", function()
      assert.equal([[
item,length,list,error_kind,error
a,1,"[1,2]",,
bad,,,mine,"so, ""bad"""
"c,""d""",5,"[1,2]",,
,0,"[1,2]",,
ü,2,"[1,2]",,
]], (format("csv"):gsub("\r", "")))
    end)

    it("a table", function()
      assert.equal([[
item   length  list
a           1  [1,2]
bad    mine: so, "bad"
c,"d"       5  [1,2]
            0  [1,2]
ü           2  [1,2]
]], format("table"))
    end)

    it("the columns that are named, as results come", function()
      local job = world:write("late.lua", [[
return { map = function(x) return { n = #x, late = x == "last" and 1 or nil } end }
]])
      local out = world:path("out")
      local program = world:program({
        "run", job, "--format", "csv", "--columns", "n,late", "--output", out,
      }, { pipe = true })
      program.stdin:write("a\n")
      e2e.wait_until("the first row", function()
        return (e2e.read(out .. ".partial") or ""):find("a,1,,,", 1, true)
      end)
      program.stdin:write("last\n")
      program.stdin:close()
      assert.equal(0, program:wait().code)
      assert.equal("item,n,late,error_kind,error\na,1,,,\nlast,4,1,,\n",
        (e2e.read(out):gsub("\r", "")))
    end)

    it("no file that looks whole when a column came late", function()
      local job = world:write("late.lua", [[
return { map = function(n) return { n = n, z = n == 900 and 1 or nil } end, items = function()
  local n = 0
  return function() n = n + 1 return n <= 1000 and n or nil end
end }
]])
      local out = world:path("out")
      local run = world:run({ "run", job, "--format", "csv", "--output", out })
      assert.equal(1, run.code)
      assert.matches("'z' came after the columns were fixed: 1 value not written\n", run.err, 1,
        true)
      assert.matches("write all with --columns n,z or --format jsonl\n", run.err, 1, true)
      assert.matches("the results so far are in " .. out .. ".partial\n", run.err, 1, true)
      assert.is_false(e2e.exists(out))
      run = world:run({ "run", job, "--format", "csv", "--columns", "n,z", "--output", out })
      assert.equal(0, run.code, run.err)
      assert.matches("\n900,900,1,,", e2e.read(out), 1, true)
    end)

    it("no columns where there are none, or odd ones", function()
      local reduce = world:write("r.lua", "return { map = print, reduce = print }")
      for words, message in pairs({
        [{ echo, "--columns", "a" }] = "--columns is for --format csv or table",
        [{ reduce, "--columns", "a", "--format", "csv" }] = "this job has a reduce",
        [{ echo, "--columns", "a,a", "--format", "csv" }] = "'a' is named twice",
        [{ echo, "--columns", "error", "--format", "table" }] = "results is value.error",
        [{ echo, "--columns", ",", "--format", "csv" }] = "entries separated by single commas",
      }) do
        local run = world:run({ "run", "--items", table.unpack(words) })
        assert.equal(2, run.code)
        assert.matches(message, run.err, 1, true)
        assert.matches("^moonfleet: [^\n]+\n$", run.err)
      end
    end)

    it("one value, when the job reduces", function()
      local run = world:run({ "run", "scripts/wordcount.lua", world:items({ "a b", "b" }) })
      assert.equal('{"value":{"a":1,"b":2}}\n', run.out)
    end)

    it("nothing for no items, and is content", function()
      for _, name in ipairs({ "jsonl", "table" }) do
        local run = world:run({ "run", echo, "/dev/null", "--format", name })
        assert.equal(0, run.code, run.err)
        assert.equal("", run.out)
        assert.matches("^0 items in", run.err)
      end
      local run = world:run({ "run", echo, "/dev/null", "--format", "csv" })
      assert.equal("item,value,error_kind,error\n", (run.out:gsub("\r", "")))
    end)

    it("results as they complete, when the order does not matter", function()
      local faults = world:fault_server()
      local job = world:write("job.lua", ([[
local http = require("fleet.http")
return { map = function(ms) http.get(%q .. "/slow/" .. ms) return ms end }
]]):format(faults.url))
      local program = world:program({ "run", job, "--items", "600000", "0", "--unordered" })
      e2e.wait_until("the second item", function() return #program:out() > 0 end)
      assert.same({ "0" }, items_of(program:out()))
    end)
  end)

  describe("with --output", function()
    it("gives the file its name when it is complete", function()
      local out = world:path("out")
      local program = world:program({ "run", echo, "--output", out }, { pipe = true })
      program.stdin:write("a\n")
      e2e.wait_until("the first result", function()
        return #(e2e.read(out .. ".partial") or "") > 0
      end)
      assert.is_false(e2e.exists(out))
      program.stdin:write("b\n")
      program.stdin:close()
      local run = program:wait()
      assert.equal(0, run.code, run.err)
      assert.equal("", run.out)
      assert.same({ "a", "b" }, items_of(e2e.read(out)))
      assert.is_false(e2e.exists(out .. ".partial"))
    end)

    it("keeps what is done as .partial when interrupted, and an older file as it is", function()
      local out = world:write("out", "older\n")
      local program = world:program({ "run", echo, "--output", out }, { pipe = true })
      program.stdin:write("a\n")
      e2e.wait_until("the first result", function()
        return #(e2e.read(out .. ".partial") or "") > 0
      end)
      program:kill("INT")
      local run = program:wait()
      assert.equal(130, run.code, run.err)
      assert.matches("the results so far are in " .. out .. ".partial", run.err, 1, true)
      assert.equal("older\n", e2e.read(out))
      assert.same({ "a" }, items_of(e2e.read(out .. ".partial")))
    end)

    it("does so when the items could not be read to their end", function()
      local out = world:write("out", "older\n")
      local job = world:write("job.lua", [[
local function items()
  return coroutine.wrap(function()
    coroutine.yield("a")
    error("lost", 0)
  end)
end
return { map = function(item) return item end, items = items }
]])
      for _, words in ipairs({ {}, { "--dry-run" } }) do
        local run = world:run({ "run", job, "--output", out, table.unpack(words) })
        assert.equal(1, run.code, run.err)
        assert.matches("lost\n", run.err, 1, true)
        assert.matches(" are in " .. out .. ".partial", run.err, 1, true)
        assert.equal("older\n", e2e.read(out))
        assert.same({ "a" }, items_of(e2e.read(out .. ".partial")))
      end
    end)

    it("replaces an older file, also when items failed", function()
      local out = world:write("out", ("older\n"):rep(1000))
      local row = world:write("row.lua", ROW)
      local run = world:run({ "run", row, "--items", "a", "bad", "--output", out })
      assert.equal(1, run.code)
      assert.same({ "a", "bad" }, items_of(e2e.read(out)))
    end)
  end)

  describe("takes", function()
    it("words as items", function()
      local run = world:run({ "run", echo, "--items", "a", "b c", "", "--", "--x", echo })
      assert.same({ "a", "b c", "", "--x", echo }, items_of(run.out))
    end)

    it("several files, and stdin among them", function()
      local first, last = world:items({ "a", "b" }), world:items({ "d" })
      local run = world:run({ "run", echo, first, "-", last }, { stdin = world:items({ "c" }) })
      assert.same({ "a", "b", "c", "d" }, items_of(run.out))
    end)

    it("more files than may be open at once, and a pipe, which opens once", function()
      local words, expected = { e2e.program, "run", echo }, {}
      for i = 1, 200 do
        words[#words + 1], expected[i] = world:items({ i }), tostring(i)
      end
      local shell = 'ulimit -n 100; exec "$0" "$@" <(echo piped)'
      local run = world:start({ "bash", "-c", shell, table.unpack(words) }):wait()
      expected[#expected + 1] = "piped"
      assert.same(expected, items_of(run.out), run.err)
    end)

    it("lines as they are: empty, long, with CRLF, without an end, not UTF-8", function()
      local long = ("x"):rep(3000000)
      local path = world:write("lines", "\n" .. long .. "\na\r\n\xff\n\n last")
      local run = world:run({ "run", echo, path })
      assert.equal(0, run.code, run.err)
      assert.same({ "", long, "a", { base64 = "/w==" }, "", " last" }, items_of(run.out))
    end)

    it("JSON Lines, and fails the bad ones alone", function()
      local path = world:write("in", '1\n{"a":[1.5]}\nnope\n\n[1,\nnull\n"x"')
      local run = world:run({ "run", echo, path, "--input", "jsonl" })
      assert.equal(1, run.code)
      local lines = e2e.lines(run.out)
      assert.equal('{"item":1,"value":1}', lines[1])
      assert.equal('{"item":{"a":[1.5]},"value":{"a":[1.5]}}', lines[2])
      assert.equal('{"item":"x","value":"x"}', lines[6])
      local results = e2e.results(run.out)
      assert.equal(6, #results)
      for i, expected in ipairs({ { "nope", 3 }, { "[1,", 5 }, { "null", 6 } }) do
        local result = results[i + 2]
        assert.equal(expected[1], result.item)
        assert.equal("input", result.error.kind)
        assert.matches("in:" .. expected[2] .. ": ", result.error.message)
      end
    end)

    it("the job's own items", function()
      local job = world:write("job.lua", [[
return {
  items = function() return { "a", { b = 2 }, 3 } end,
  map = function(item) return type(item) end,
}
]])
      local run = world:run({ "run", job })
      assert.equal('{"item":"a","value":"string"}\n{"item":{"b":2},"value":"table"}\n'
        .. '{"item":3,"value":"number"}\n', run.out)
    end)

    it("the first of them only", function()
      local run = world:run({ "run", echo, world:items(numbers(1000)), "--limit", 3 })
      assert.same({ "1", "2", "3" }, items_of(run.out))
    end)

    it("some of them only, in order", function()
      local run = world:run({ "run", echo, world:items(numbers(10000)), "--sample", "10%" })
      local items = items_of(run.out)
      assert.is_true(#items > 500 and #items < 2000)
      for i = 2, #items do assert.is_true(tonumber(items[i]) > tonumber(items[i - 1])) end
    end)

    it("each item as it comes, and answers it before the next", function()
      local program = world:program({ "run", echo, "-" }, { pipe = true })
      for i = 1, 5 do
        program.stdin:write(i .. "\n")
        e2e.wait_until("result " .. i, function() return program:lines() == i end)
      end
      -- a line that arrives in pieces is one item
      program.stdin:write("a")
      task.sleep(0.05)
      program.stdin:write("b\nc")
      program.stdin:close()
      local run = program:wait()
      assert.equal(0, run.code, run.err)
      assert.same({ "1", "2", "3", "4", "5", "ab", "c" }, items_of(run.out))
    end)
  end)

  it("with --dry-run only lists the items", function()
    local faults = world:fault_server()
    local job = world:write("job.lua", ([[
return { map = function(item) require("fleet.http").get(%q .. "/count/" .. item) end }
]]):format(faults.url))
    local run = world:run({ "run", job, world:items(numbers(1000)), "--limit", 2, "--dry-run" })
    assert.equal(0, run.code, run.err)
    assert.equal('{"item":"1"}\n{"item":"2"}\n', run.out)
    assert.matches("2 items; nothing was run", run.err)
    assert.same({}, faults.counts())
    local bad = world:write("in", "1\nnope\n")
    run = world:run({ "run", echo, bad, "--input", "jsonl", "--dry-run" })
    assert.equal(1, run.code)
    assert.equal("input", e2e.results(run.out)[2].error.kind)
  end)

  it("closes with what was done, and by whom", function()
    local nodes, peers = world:nodes(2, { workers = 1 })
    local run = world:run({ "run", echo, world:items(numbers(20000)), "--peers", peers })
    assert.matches("20000 items in [^\n]+: 20000 ok, 0 failed\n", run.err)
    local one, two = e2e.share(run, nodes[1]), e2e.share(run, nodes[2])
    assert.equal(20000, one + two)
    assert.is_true(one > 0 and two > 0)
  end)
end)
