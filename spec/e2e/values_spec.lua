-- SPDX-License-Identifier: MIT
-- A mistake in a job affects one item only; results arrive unchanged.

local e2e = require("spec.support.e2e")
local json = require("fleet.json")

-- {name, body of the function, kind of the error, pattern of its message, further fields}
local WRONG = {
  { "raises a string", [[error("plain words")]], "raise", "wrong.lua:%d+: plain words$" },
  { "raises a table", [[error({ 1, 2 })]], "raise", "error object is a table" },
  { "raises nothing", [[error()]], "raise", -- Lua 5.5 has words of its own for it
    _VERSION == "Lua 5.4" and "error object is a nil" or "<no error object>" },
  { "raises an error of its own", [[error({ kind = "mine", message = "own", extra = { 1 } })]],
    "mine", "^own$", { extra = { 1 } } },
  { "raises what cannot be printed",
    [[error(setmetatable({}, { __tostring = function() error("no") end }))]], "raise", "." },
  { "indexes nil", [[local t = nil; return t.x]], "raise", "attempt to index a nil value" },
  { "recurses for ever", [[local function f() return 1 + f() end return f()]], "raise",
    "stack overflow" },
  { "calls os.exit", [[os.exit(0)]], "raise", "exit" },
  { "reads a file", [[return io.open("/etc/passwd")]], "raise",
    "wrong.lua:%d+: jobs have no files %(io%.open%)$" },
  { "loads bytecode", [[return assert(load("\27Lua", "x", "b"))]], "raise", "only text chunks" },
  { "requires what is not there", [[return require("socket")]], "raise",
    "module 'socket.core' cannot be required in a job" },
  { "yields outside a coroutine", [[coroutine.yield(1)]], "raise",
    "coroutine.yield outside a coroutine" },
  { "fails in a to-be-closed variable",
    [[local x <close> = setmetatable({}, { __close = function() error("in close") end })]],
    "raise", "in close" },
  { "returns nil and a string", [[return nil, "went wrong"]], "raise", "^went wrong$" },
  { "returns nil and an error", [[return nil, { kind = "status", message = "404", code = 404 }]],
    "status", "^404$", { code = 404 } },
  { "returns a function", [[return function() end]], "encode",
    "^result: function cannot be sent" },
  { "returns a function inside", [[return { rows = { 1, 2, { cb = print } } }]], "encode",
    "^result%.rows%[3%]%.cb: function" },
  { "returns a coroutine", [[return { coroutine.create(print) }]], "encode",
    "^result%[1%]: thread" },
  { "returns a cyclic table", [[local t = { a = {} }; t.a.b = t; return t]], "encode",
    "^result%.a%.b: the same table as result" },
  { "returns a table twice", [[local t = {}; return { t, t }]], "encode",
    "^result%[2%]: the same table as result%[1%]" },
  { "returns deep nesting", [[local t = {}; for _ = 1, 100000 do t = { t } end return t]],
    "encode", "nested too deep" },
  { "returns 100 MB", [[return ("x"):rep(100 * 1000 * 1000)]], "too_large", "67108864 bytes" },
  { "runs out of memory",
    [[local t = {}; while true do t[#t + 1] = ("x"):rep(1 << 20) .. #t end]], "memory", "memory" },
}

-- The same for functions that never end by themselves.
local ENDLESS = {
  { "computes for ever", [[while true do end]], "timeout", "longer than 2 s" },
  { "catches what would stop it",
    [[while true do pcall(function() while true do end end) end]], "timeout", "longer than 2 s" },
}

-- {what the job returns, as source; its JSON}
local RIGHT = {
  { [[nil]], "null" }, { [[true]], "true" }, { [[false]], "false" },
  { [[0]], "0" }, { [[-1]], "-1" }, { [[math.maxinteger]], "9223372036854775807" },
  { [[math.mininteger]], "-9223372036854775808" },
  { [[1.0]], "1.0" }, { [[-0.0]], "-0.0" }, { [[0.1]], "0.1" }, { [[2^53]], "9007199254740992.0" },
  { [[1e308]], "1e+308" }, { [[5e-324]], "4.94065645841247e-324" },
  { [[1/3]], "0.3333333333333333" },
  { [[{ 1/0, -1/0, 0/0 }]], [=[["Infinity","-Infinity","NaN"]]=] },
  { [[""]], [[""]] }, { [["Größe \u{1F600}"]], [["Größe 😀"]] },
  { [["\"\\\n\0\1"]], [["\"\\\n\u0000\u0001"]] }, { [["\0\1\xff"]], [[{"base64":"AAH/"}]] },
  { [[{}]], "[]" }, { [[{ 1, "b", { c = true } }]], [=[[1,"b",{"c":true}]]=] },
  { [[{ 1, nil, 3 }]], "[1,null,3]" }, { [[{ 1, x = 2 }]], [[{"1":1,"x":2}]] },
  { [[setmetatable({ 1 }, { __index = print })]], "[1]" },
  { [[("x"):rep(1000000)]], '"' .. ("x"):rep(1000000) .. '"' },
}

-- A job that runs the function with the name of the item.
local function job_of(functions)
  local parts = { "local cases = {}\n" }
  for name, body in pairs(functions) do
    parts[#parts + 1] = ("cases[%q] = function() %s end\n"):format(name, body)
  end
  parts[#parts + 1] = "return { map = function(name) return cases[name]() end }\n"
  return table.concat(parts)
end

describe("a job that", function()
  local world
  local results = {} -- by item

  -- Runs the cases, with a good item after each; the good ones must succeed.
  local function run_all(cases, ...)
    local functions, items = {}, {}
    for i, case in ipairs(cases) do
      local good = "good after it " .. case[1]
      functions[case[1]], functions[good] = case[2], "return " .. i
      items[2 * i - 1], items[2 * i] = case[1], good
    end
    local run = world:run({
      "run", world:write("wrong.lua", job_of(functions)), world:items(items), ...,
    })
    assert.equal(1, run.code, run.err)
    local list = e2e.results(run.out)
    assert.equal(#items, #list)
    for i, result in ipairs(list) do
      assert.equal(items[i], result.item)
      results[result.item] = result
    end
  end

  setup(function()
    world = e2e.new()
    run_all(WRONG)
    run_all(ENDLESS, "--timeout", 2)
  end)
  teardown(function() world:close() end)

  local function check(i, case)
    local name, _, kind, pattern, fields = table.unpack(case)
    it(name .. " fails for that item alone", function()
      local result = results[name]
      assert.is_nil(result.value)
      assert.equal(kind, result.error.kind)
      assert.matches(pattern, result.error.message)
      assert.equal("yes", result.error.applied)
      assert.equal(1, result.error.attempt)
      for key, value in pairs(fields or {}) do assert.same(value, result.error[key]) end
      assert.equal(i, results["good after it " .. name].value)
    end)
  end
  for i, case in ipairs(WRONG) do check(i, case) end
  for i, case in ipairs(ENDLESS) do check(i, case) end

  it("raises gets a traceback that begins where it raised", function()
    local traceback = results["indexes nil"].error.traceback
    assert.matches("^stack traceback:\n\t[^\n]*wrong%.lua:%d+: in function", traceback)
    assert.is_nil(results["returns nil and a string"].error.traceback)
  end)
end)

describe("a value", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("of any kind comes back from a job as it was", function()
    local functions, items = {}, {}
    for i, case in ipairs(RIGHT) do
      items[i] = "case " .. i
      functions[items[i]] = "return " .. case[1]
    end
    local job = world:write("right.lua", job_of(functions))
    local run = world:run({ "run", job, world:items(items) })
    assert.equal(0, run.code, run.err)
    local lines = e2e.lines(run.out)
    assert.equal(#RIGHT, #lines)
    for i, case in ipairs(RIGHT) do
      assert.equal(('{"item":"case %d","value":%s}'):format(i, case[2]), lines[i], case[1])
    end
  end)

  it("of any kind goes to a job as it is", function()
    local lines = {}
    for _, case in ipairs(RIGHT) do
      local value = json.decode(case[2])
      if value ~= nil then lines[#lines + 1] = case[2] end
    end
    local run = world:run({
      "run", world:write("echo.lua", "return { map = function(item) return item end }"),
      world:items(lines), "--input", "jsonl",
    })
    assert.equal(0, run.code, run.err)
    for i, line in ipairs(e2e.lines(run.out)) do
      assert.equal(('{"item":%s,"value":%s}'):format(lines[i], lines[i]), line)
    end
  end)
end)
