-- SPDX-License-Identifier: MIT
local codec = require("host.codec")
local digest = require("fleet.digest")
local errors = require("fleet.errors")
local fleet = require("fleet")
local http = require("fleet.http")
local ship = require("fleet.ship")
local shipping = require("spec.support.shipping")
local source_cache = require("fleet.ship.source_cache")

local send = shipping.send
local HERE = debug.getinfo(1, "S").short_src

--- The message with which packing a function is refused; its lines are counted from that of
--- the function.
local function refusal(f)
  local packed, err = ship.pack(f)
  assert.is_nil(packed)
  assert.is_true(errors.is(err))
  assert.equal("encode", err.kind)
  local line = debug.getinfo(f, "S").linedefined
  return (err.message:gsub(HERE:gsub("%p", "%%%0") .. ":(%d+)", function(n)
    return "HERE+" .. n - line
  end))
end

describe("a shipped function", function()
  it("computes", function()
    assert.equal(7, send(function(a, b) return a + b end)(3, 4))
    assert.same({ n = 3, 1, nil, 3 }, table.pack(send(function(...) return ... end)(1, nil, 3)))
  end)

  it("is a plain table on the way, without a byte of code", function()
    local packed = assert(ship.pack(function(a) return a end))
    assert.is_nil(getmetatable(packed))
    local bytes = assert(codec.encode(packed))
    assert.is_nil(bytes:find("\27Lua", 1, true))
    assert.is_true(#bytes < 300)
  end)

  it("has the globals of the place where it arrives", function()
    local place = shipping.place()
    local f = place:send(function() return _G, print, string.upper, io.open, ("x"):upper() end)
    local globals, p, upper, open, x = f()
    assert.equal(place.env, globals)
    assert.equal(place.env.print, p)
    assert.equal(place.env.string.upper, upper)
    assert.is_nil(open)
    assert.equal("X", x)
    place:send(function() print("here", 1) mark = true end)() -- luacheck: ignore 111
    assert.same({ "here\t1" }, place.printed)
    assert.is_true(place.env.mark)
    assert.is_nil(rawget(_G, "mark"))
  end)

  it("raises with its own file and line", function()
    local line = debug.getinfo(1, "l").currentline + 3
    local f = send(function(x)

      return x.field
    end)
    local ok, trace = xpcall(f, debug.traceback)
    assert.is_false(ok)
    assert.matches(("%s:%d: attempt to index a nil value (local 'x')"):format(HERE, line), trace, 1,
      true)
    assert.matches(("in function <%s:%d>"):format(HERE, line - 2), trace, 1, true)
    local inner = send(function()
      return function()
        error("inner")
      end
    end)
    assert.same({ false, ("%s:%d: inner"):format(HERE, line + 9) }, { pcall(inner()) })
    local named = load("local x <const> = 1\n\n\nreturn function() error('m' .. x) end",
      "@job.lua")()
    assert.same({ false, "job.lua:4: m1" }, { pcall(send(named)) })
    local text = "\nreturn function() error('m') end"
    assert.same({ pcall(load(text)()) }, { pcall(send(load(text)())) })
  end)

  it("can be a chunk, and come from load or from a prompt", function()
    assert.equal(5, send(load("return ... + 1"))(4))
    assert.equal(5, send(load("return ... + 1", "=stdin"))(4))
    assert.equal(6, send(load("local a = 1 return function(b) return a + b end", "=stdin")())(5))
    assert.equal(7, send(load(string.dump(load("return 7", "=dumped"), false)))())
  end)

  it("can be one of Lua's or of the library, by name", function()
    local place = shipping.place()
    assert.equal(place.env.print, place:send(print))
    assert.equal(table.concat, place:send(table.concat))
    assert.equal(place.env.load, place:send(load))
    assert.equal(http.get, place:send(http.get))
    assert.equal(fleet.sleep, place:send(fleet.sleep))
  end)

  it("can be shipped on from where it arrived", function()
    local k = 10
    local first = shipping.place():send(function(x) return function(y) return x + y + k end end)
    local second = shipping.place():send(first)
    local third = shipping.place():send(second(1))
    assert.equal(16, third(5))
    assert.same({ HERE, debug.getinfo(1, "l").currentline - 4 },
      { debug.getinfo(third, "S").short_src, debug.getinfo(third, "S").linedefined })
    local place = shipping.place()
    local printer = shipping.place():send(function() return function() print("there") end end)()
    place:send(printer)()
    assert.same({ "there" }, place.printed)
  end)
end)

describe("captured variables", function()
  it("may be constants, declared beside variables and by and/or", function()
    local web, LIMIT <const> = require("fleet.http"), 30
    local a, b <const>, KIND <const> = LIMIT, LIMIT + 1, false or "kind"
    local DEBUG <const> = true
    local LEVEL <const> = DEBUG and LIMIT * 2
    local f = send(function(--[[ nothing ]] ...)
      if ... then return web.get ~= nil, LEVEL end
      return a, b, KIND, LIMIT, DEBUG
    end)
    assert.same({ 30, 31, "kind", 30, true }, { f() })
    assert.same({ true, 60 }, { f(1) })
  end)

  it("travel as plain values", function()
    local values = { 1, -1.5, 2^53, math.maxinteger, math.mininteger, math.huge, true, false, "",
      "a\0b\xff", 1.0 }
    local f = send(function() return values end)
    for i, value in ipairs(f()) do
      assert.equal(values[i], value)
      assert.equal(math.type(values[i]), math.type(value))
    end
    local nothing, nan = nil, 0 / 0
    local a, b = send(function() return nothing, nan end)()
    assert.is_nil(a)
    assert.is_true(b ~= b)
  end)

  it("are copies, as they were when it left", function()
    local count, list = 1, { 1 }
    local f = send(function() count = count + 1 list[#list + 1] = count return count, list end)
    count = 10
    assert.equal(2, f())
    assert.equal(3, f())
    assert.same({ 10, { 1 } }, { count, list })
  end)

  it("of several functions stay shared by them, and by no others", function()
    local n = 0
    local function add() n = n + 1 end
    local function get() return n end
    local both = function() add() add() return get(), n end
    assert.same({ 2, 2 }, { send(both)() })
    assert.same({ 2, 2 }, { send(both)() })
    assert.equal(0, n)
    local makers = {}
    for i = 1, 3 do
      local own = i
      makers[i] = function() own = own * 10 return own end
    end
    local f = send(function() makers[1]() return makers[1](), makers[2](), makers[3]() end)
    assert.same({ 100, 20, 30 }, { f() })
  end)

  it("may be functions that call each other, or themselves", function()
    local function factorial(n) return n <= 1 and 1 or n * factorial(n - 1) end
    assert.equal(120, send(factorial)(5))
    local even, odd
    function even(n) return n == 0 or odd(n - 1) end
    function odd(n) return n ~= 0 and even(n - 1) end
    assert.is_true(send(even)(10))
    assert.is_true(send(odd)(7))
    local function deep(f, n)
      if n == 0 then return f end
      return deep(function(x) return f(x) + 1 end, n - 1)
    end
    assert.equal(1001, send(deep(function(x) return x end, 1000))(1))
  end)

  it("may be tables with cycles, shared parts and any keys", function()
    local shared, key = { 1 }, { "key" }
    local t = { shared, shared, a = shared, [key] = "by table", [1.5] = 1, [true] = 2, [-1] = 3,
      [100] = "far", f = function() return 5 end, e = {} }
    t.self = t
    t[t.f] = "by function"
    local copy, copied_key = send(function() return t, key end)()
    assert.equal(copy, copy.self)
    assert.equal(copy[1], copy[2])
    assert.equal(copy[1], copy.a)
    assert.equal("by table", copy[copied_key])
    assert.same({ 1, 2, 3, "far", 5, {} },
      { copy[1.5], copy[true], copy[-1], copy[100], copy.f(), copy.e })
    assert.equal("by function", copy[copy.f])
    assert.not_equal(shared, copy[1])
  end)

  it("may be a class, whose objects are made there", function()
    local Account = {}
    Account.__index = Account
    function Account.new(balance) return setmetatable({ balance = balance }, Account) end
    function Account:add(n)
      self.balance = self.balance + n
      return self
    end
    assert.equal(6, send(function() return Account.new(1):add(5).balance end)())
  end)

  it("may be nested without end, and long", function()
    local list, chain = {}, {}
    for i = 1, 10000 do
      list[i] = i % 7 == 0 and "s" .. i or i
      chain = { chain }
    end
    local f = send(function()
      local depth, at = 0, chain
      while at do depth, at = depth + 1, at[1] end
      return #list, list[9999], list[9996], depth
    end)
    assert.same({ 10000, 9999, "s9996", 10001 }, { f() })
    local holes = { 1, 2, nil, 4, [7] = 7 }
    assert.same({ 1, 2, nil, 4, [7] = 7 }, send(function() return holes end)())
  end)

  it("may be Lua's own functions and libraries, and the library's", function()
    local place = shipping.place()
    local insert, str, p, env, out = table.insert, string, print, _G, io.stdout
    local sleep, kinds = fleet.sleep, errors.kinds
    local same = assert(place:send(function()
      return insert, str, p, env, out, http, sleep, kinds
    end))
    local e = place.env
    local expected = { table.insert, e.string, e.print, e, e.io.stdout,
      e.require("fleet.http"), fleet.sleep, e.require("fleet.errors").kinds }
    for i, value in ipairs({ same() }) do assert.equal(expected[i], value) end
  end)

  it("may be the library's own tables, of which each place has copies", function()
    local place = shipping.place()
    local kinds = errors.kinds
    local theirs = place:send(function()
      http.get, kinds.raise = 1, 2 -- luacheck: ignore 122
      return http, kinds
    end)
    local web, others = theirs()
    assert.same({ 1, 2 }, { web.get, others.raise })
    assert.is_function(http.get)
    assert.is_string(errors.kinds.raise)
  end)

  it("may be _ENV: the globals of the place, or a table of its own", function()
    local place = shipping.place()
    assert.equal(place.env, place:send(function() return _ENV end)())
    local f = load("local _ENV <const> = { x = 1 } return function() x = x + 1 return x end")()
    assert.equal(2, place:send(f)())
    assert.is_nil(place.env.x)
    f = load("local _ENV <const> = setmetatable({ y = 5 }, { __index = _G }) "
      .. "return function() return y, print end")()
    assert.same({ 5, place.env.print }, { place:send(f)() })
    f = load("x = (x or 0) + y return x", "=own", "t", { y = 2 })
    assert.same({ 2, 2 }, { place:send(f)(), place:send(f)() })
  end)

  it("count up to 255", function()
    local text, ends, sum = "", "", {}
    for i = 1, 254 do
      text = text .. ("local v%d = %d "):format(i, i)
      sum[i] = "v" .. i
      if i % 100 == 0 then text, ends = text .. "return (function() ", " end)()" .. ends end
    end
    text = text .. "return function() return " .. table.concat(sum, "+") .. " end" .. ends
    local f = load(text)()
    assert.equal(254 * 255 // 2, send(f)())
  end)
end)

describe("globals", function()
  local function with_globals(globals, f)
    local env = setmetatable(globals, { __index = _G })
    return assert(load("return " .. f, "=prompt", "t", env))()
  end

  it("that the user defined travel, with what they use", function()
    local globals = { base = 2, list = { 1 } }
    globals.double = load("return function(x) return x * base end", "=prompt", "t",
      setmetatable(globals, { __index = _G }))()
    local place = shipping.place()
    local f = place:send(with_globals(globals, "function(x) return double(x), #list, missing end"))
    assert.same({ n = 3, 42, 1, nil }, table.pack(f(21)))
    assert.equal(2, place.env.base)
  end)

  it("of Lua itself are left alone, also when they were changed", function()
    local place = shipping.place()
    local f = place:send(with_globals({ tostring = 1, string = {}, dofile = 2 },
      "function() return tostring(1), string.upper('x'), dofile, math.pi end"))
    assert.same({ n = 4, "1", "X", nil, math.pi }, table.pack(f()))
  end)

  it("that are only written are not sent", function()
    local place = shipping.place()
    local f = place:send(with_globals({ result = io.stdout, g = coroutine.create(print) },
      "function() result = 5 function g() end return result_of end"))
    assert.is_nil(place.env.result)
    f()
    assert.equal(5, place.env.result)
  end)

  it("are named when they cannot be shipped", function()
    local f = with_globals({ socket = io.tmpfile() }, "function() return socket end")
    assert.equal("global 'socket' (file) cannot be shipped: function (prompt:1) reads it; "
      .. "jobs have no files; read it here and pass what is in it", select(2, ship.pack(f)).message)
  end)

  it("that may not be meant are left out when they cannot be shipped", function()
    local f = with_globals({ file = io.tmpfile(), value = 6 },
      "function() return _ENV ~= nil and _ENV['va' .. 'lue'], 'file', 'value' end")
    assert.same({ 6, "file", "value" }, { shipping.place():send(f)() })
  end)
end)

describe("what cannot travel is refused:", function()
  it("userdata, coroutines, tables with a metatable, by the variable's name", function()
    local sock, co, object = digest.new(), coroutine.create(print), setmetatable({}, {})
    local function named() return sock:read() end
    assert.equal("upvalue 'sock' (userdata) cannot be shipped: function 'named' (HERE+0) captures "
      .. "it; make it inside the function", refusal(named))
    assert.equal("upvalue 'co' (coroutine) cannot be shipped: function (HERE+0) captures it; make "
      .. "it inside the function", refusal(function() return co end))
    assert.equal("upvalue 'object' (table with a metatable) cannot be shipped: function (HERE+0) "
      .. "captures it; make it inside the function, or pass its plain data",
      refusal(function() return object end))
  end)

  it("by the whole path to it", function()
    local sock = digest.new()
    local conf = { handlers = { 1, 2, { sock = sock } } }
    assert.matches("upvalue 'conf.handlers[3].sock' (userdata) cannot be shipped: function "
      .. "(HERE+0) captures it;", refusal(function() return conf end), 1, true)
    local odd = { ["a key"] = { [true] = { [{}] = sock } } }
    assert.matches("upvalue 'odd[\"a key\"][true][table]' (userdata)",
      refusal(function() return odd end), 1, true)
    local keys = { inner = { [sock] = 1 } }
    assert.matches("upvalue 'keys.inner[userdata]' (userdata)", refusal(function() return keys end),
      1, true)
    local deep = sock
    for _ = 1, 200 do deep = { x = deep } end
    assert.matches("^upvalue 'deep%.x[.x]+%.%.%.[.x]+' %(userdata%)",
      refusal(function() return deep end))
  end)

  it("by the function that has it, when it is another", function()
    local sock = digest.new()
    local function helper() return sock end
    local handlers = { function() return sock end }
    assert.matches("upvalue 'sock' (userdata) cannot be shipped: function 'helper' (HERE+-3) "
      .. "captures it", refusal(function() return helper() end), 1, true)
    assert.matches("function 'handlers[1]' (HERE+-4) captures it",
      refusal(function() return handlers end), 1, true)
  end)

  it("functions of C, and what only the machine has", function()
    local getenv, open = os.getenv, io.open
    assert.equal("upvalue 'getenv' (C function os.getenv) cannot be shipped: function (HERE+0) "
      .. "captures it; jobs do not have it; call it here and pass what it returns",
      refusal(function() return getenv("x") end))
    assert.matches("upvalue 'open' (C function io.open) cannot be shipped",
      refusal(function() return open end), 1, true)
    local gets = coroutine.wrap(print)
    assert.matches("upvalue 'gets' (C function) cannot be shipped",
      refusal(function() return gets end), 1, true)
    assert.equal("C function os.execute cannot be shipped: jobs do not have it; call it here and "
      .. "pass what it returns", select(2, ship.pack(os.execute)).message)
  end)

  it("modules that are not written in Lua, or not for jobs", function()
    local lfs, scheduler = require("lfs"), require("fleet.scheduler")
    local touch = lfs.touch
    assert.equal("upvalue 'lfs' (module 'lfs', which is written in C) cannot be shipped: function "
      .. "(HERE+0) captures it; jobs may require it only on nodes that allow it: moonfleet serve "
      .. "--modules lfs, or run, eval or repl --modules lfs for a private node or --ssh",
      refusal(function() return lfs end))
    assert.matches("upvalue 'touch' (C function lfs.touch) cannot be shipped: function (HERE+0) "
      .. "captures it; it is of module 'lfs', which is written in C: jobs may require it only on "
      .. "nodes that allow it", refusal(function() return touch end), 1, true)
    assert.matches("upvalue 'scheduler' (module 'fleet.scheduler') cannot be shipped: function "
      .. "(HERE+0) captures it; jobs cannot require it", refusal(function() return scheduler end),
      1, true)
  end)

  it("functions whose text is not known", function()
    local coded = load(string.dump(load("local u return function() return u end"), true))()
    assert.matches("^function %?:%d+ cannot be shipped: it was loaded from bytecode$",
      select(2, ship.pack(coded)).message)
    assert.matches("^upvalue 'coded' %(function %?:%d+%) cannot be shipped: function %(HERE%+0%) "
      .. "captures it; it was loaded from bytecode$", refusal(function() return coded end))
  end)

  it("too much of it", function()
    local big = ("x"):rep(40 * 1024 * 1024)
    local t = { a = { big, "y", big .. "z" } }
    local packed, err = ship.pack(function() return t end)
    assert.is_nil(packed)
    assert.equal("too_large", err.kind)
    assert.matches("^upvalue 't.a' cannot be shipped: with what it captures, function %(.*%) takes "
      .. "more than 64 MiB; pass large values as items", err.message)
  end)

  it("what is no function is a mistake", function()
    assert.has_error(function() ship.pack(1) end, "ship.pack: a function expected, got number")
    assert.has_error(function() ship.pack({}) end, "ship.pack: a function expected, got table")
  end)

  it("is refused alone: nothing is remembered of it", function()
    local file, kept = io.tmpfile(), { 1 }
    local function bad() return file, kept end
    assert.is_nil((ship.pack(bad)))
    file = "plain"
    assert.same({ "plain", { 1 } }, { send(bad)() })
  end)
end)

describe("ship.unpack", function()
  it("compiles a text once", function()
    local place = shipping.place()
    local packed = assert(ship.pack(function(x) local y = x return function() y = y + 1 return y end
    end))
    local loads, real = 0, source_cache.compile
    source_cache.compile = function(...) loads = loads + 1 return real(...) end
    local first
    for i = 1, 100 do
      local f = ship.unpack(packed, place.env, place.loader)
      local counter = f(i)
      assert.same({ i + 1, i + 2 }, { counter(), counter() })
      assert.not_equal(first, f)
      first = first or f
    end
    source_cache.compile = real
    assert.equal(1, loads)
  end)

  it("makes functions that share nothing with those made before", function()
    local n = 0
    local packed = assert(ship.pack(function() n = n + 1 return n end))
    local place, other = shipping.place(), shipping.place()
    local a = ship.unpack(packed, place.env, place.loader)
    local b = ship.unpack(packed, place.env, place.loader)
    assert.same({ 1, 2, 1 }, { a(), a(), b() })
    local get = assert(ship.pack(function() return _G end))
    assert.equal(place.env, ship.unpack(get, place.env, place.loader)())
    assert.equal(other.env, ship.unpack(get, other.env, other.loader)())
  end)

  it("raises an error of kind decode for what does not compile", function()
    local place = shipping.place()
    local packed = assert(ship.pack(function() return 1 end))
    packed.prototypes[1][1] = "() return return end"
    local ok, err = pcall(ship.unpack, packed, place.env, place.loader)
    assert.is_false(ok)
    assert.equal("decode", err.kind)
    packed.prototypes[1][1] = string.dump(function() end)
    packed.prototypes[1][3] = 0
    ok, err = pcall(ship.unpack, packed, place.env, place.loader)
    assert.is_false(ok)
    assert.matches("attempt to load a binary chunk", err.message, 1, true)
  end)
end)

describe("any function", function()
  -- Random functions: expressions over a parameter, captured variables, globals and constants,
  -- with functions inside; several on a line.
  local function generate(random)
    local function pick(list) return list[random(#list)] end
    local expression
    local function operand(depth)
      local kind = random(depth > 0 and 8 or 5)
      if kind == 1 then return "x" end
      if kind == 2 then return pick({ "u1", "u2", "u3" }) end
      if kind == 3 then return tostring(random(100)) end
      if kind == 4 then return pick({ "C1", "C2" }) end
      if kind == 5 then return pick({ "#'text'", "(#[[a\nb]])", "math.abs(-3)", "0x1p4" }) end
      if kind == 6 then return "(" .. expression(depth - 1) .. ")" end
      if kind == 7 then
        return ("(function(y) local z%s = y %s return z + %s end)(%s)"):format(
          pick({ "", " <const>" }), pick({ "", "\n", "; -- end\n", "do end" }),
          expression(depth - 1), expression(depth - 1))
      end
      return ("(function() for i = 1, 2 do if i > 1 then return i + %s end end end)()"):format(
        expression(depth - 1))
    end
    function expression(depth)
      return operand(depth) .. pick({ " + ", " - ", " * ", "+\n" }) .. operand(depth)
    end
    local list = {}
    for i = 1, random(6) do
      local body = ("return %s"):format(expression(3))
      if random(3) == 1 then body = "u1 = u1 + 1 " .. body end
      list[i] = "function(x) " .. body .. " end"
    end
    return "local u1, u2, u3 = 1, 2.5, 3 local C1 <const> = 7 local C2 <const> = C1 * 2\n"
      .. ("\n"):rep(random(5)) .. "return {" .. table.concat(list, pick({ ", ", ",\n" })) .. "}"
  end

  it("does there what it does here", function()
    local state = 20261123
    local function random(n)
      state = state * 6364136223846793005 + 1442695040888963407
      return (state >> 33) % n + 1
    end
    local place = shipping.place()
    local count = 0
    for _ = 1, 150 do
      local text = generate(random)
      for _, f in ipairs(assert(load(text, "=random"))()) do
        local sent, err = place:send(f)
        if not sent then error(("%s in:\n%s"):format(err.message, text)) end
        for _, x in ipairs({ 0, 1, -2.5 }) do
          assert.same(table.pack(pcall(f, x)), table.pack(pcall(sent, x)), text)
        end
        count = count + 1
      end
    end
    assert.is_true(count > 300)
  end)
end)
