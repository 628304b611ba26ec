-- SPDX-License-Identifier: MIT
local jobs = require("spec.support.jobs")
local sandbox = require("fleet.worker.sandbox")
local source_cache = require("fleet.ship.source_cache")

describe("sandbox.new", function()
  local strings = debug.getmetatable("")
  local index, env
  before_each(function()
    index = strings.__index
    env = sandbox.new(print)
  end)
  -- it shields the strings of the whole state, which here is the specs' own
  after_each(function() strings.__index, strings.__metatable = index, nil end)

  --- Runs code in the sandbox.
  local function run(code, ...) return assert(env.load(code))(...) end

  it("has what the manual of Lua has, without the machine", function()
    local names = {}
    for name in pairs(env) do names[#names + 1] = name end
    table.sort(names)
    assert.same({
      "_G", "_VERSION", "assert", "collectgarbage", "coroutine", "debug", "error", "getmetatable",
      "io", "ipairs", "load", "math", "next", "os", "package", "pairs", "pcall", "print",
      "rawequal", "rawget", "rawlen", "rawset", "require", "select", "setmetatable", "string",
      "table", "tonumber", "tostring", "type", "utf8", "xpcall",
    }, names)
    for library, fields in pairs({
      os = { "clock", "date", "difftime", "time" }, debug = { "traceback" },
      io = { "flush", "stderr", "stdout", "type", "write" }, package = { "config", "loaded" },
    }) do
      local found = {}
      for name in pairs(env[library]) do found[#found + 1] = name end
      table.sort(found)
      assert.same(fields, found)
    end
    for _, library in ipairs({ "coroutine", "math", "string", "table", "utf8" }) do
      for name in pairs(_G[library]) do
        assert.equal(name ~= "dump" and _G[library][name] or nil, env[library][name], name)
      end
    end
    assert.is_nil(env.string.dump)
    assert.equal(env, env._G)
  end)

  it("has copies of the libraries, so that changes stay in it", function()
    run("math.floor, table.concat, os.time, coroutine.wrap, utf8.char = nil, nil, nil, nil, nil")
    run("string.extra, leak = 1, 1")
    for _, kept in ipairs({
      math.floor, table.concat, os.time, coroutine.wrap, utf8.char, string.dump,
    }) do
      assert.is_function(kept)
    end
    assert.is_nil(rawget(string, "extra"))
    assert.is_nil(rawget(_G, "leak"))
  end)

  it("has its own methods on strings, and hides their metatable", function()
    assert.equal("A", run("return ('a'):upper()"))
    assert.is_nil(run("return ('a').dump"))
    assert.equal("AX", run([[
      function string:shout() return self:upper() .. "X" end
      string.upper, string.gsub, string.format = nil, nil, error
      return ('a'):shout()
    ]]))
    assert.equal("xb", (("ab"):gsub("a", "x"))) -- these are methods of the whole state
    assert.is_false(run("return getmetatable('')"))
    assert.has_error(function() run("setmetatable('', {})") end)
  end)

  describe("'s load", function()
    it("takes text, from a string or a function, into the job's globals", function()
      assert.equal(3, run("x = 3 return load('return x')()"))
      assert.equal(7, run([[
        local parts, at = { "return ", "7" }, 0
        return load(function() at = at + 1 return parts[at] end)()
      ]]))
      assert.equal(5, run("return load('return y', '=chunk', 't', { y = 5 })()"))
      assert.equal(1, run("return load('return 1', '=chunk', 'bt')()"))
    end)

    it("gives an environment of nil when asked to", function()
      assert.is_nil(run("return load('return _ENV', '=chunk', 't', nil)()"))
    end)

    it("refuses bytecode, whatever it is told", function()
      local code = string.dump(function() return 1 end)
      for _, mode in ipairs({ false, "t", "bt", "b", "x" }) do
        for _, chunk in ipairs({ code, function() local c = code code = nil return c end }) do
          local f, why = env.load(chunk, "=chunk", mode or nil)
          assert.is_nil(f)
          assert.is_string(why)
          code = string.dump(function() return 1 end)
        end
      end
      -- made by hand: only the signature counts
      assert.is_nil((env.load("\27Lua" .. ("\0"):rep(100))))
    end)

    it("says what is wrong with the text", function()
      assert.same({ n = 2, nil, "chunk:1: syntax error near <eof>" },
        table.pack(env.load("x", "=chunk")))
    end)
  end)

  describe("'s require", function()
    it("gives the modules for jobs, as tables of their own", function()
      for _, name in ipairs({ "fleet", "fleet.digest", "fleet.errors", "fleet.http", "fleet.json",
        "fleet.log", "fleet.rpc", "fleet.xml" }) do
        local module = env.require(name)
        assert.equal(module, env.require(name))
        assert.not_equal(require(name), module)
        for key, value in pairs(require(name)) do
          if type(value) == "function" then assert.equal(value, module[key]) end
        end
        assert.equal(debug.getmetatable(require(name)), debug.getmetatable(module))
        assert.is_true(not getmetatable(module))
      end
      local kinds = env.require("fleet.errors").kinds
      assert.same(require("fleet.errors").kinds, kinds)
      assert.not_equal(require("fleet.errors").kinds, kinds)
      assert.equal(require("fleet").any, env.require("fleet").any)
    end)

    it("refuses everything else, at the caller's line", function()
      for _, name in ipairs({ "host.task", "host.codec", "fleet.map", "fleet.worker.sandbox",
        "spec.runner", "/etc/passwd", "", 1, false, {} }) do
        local ok, message = pcall(env.load("require(...)", "=job"), name)
        assert.is_false(ok)
        assert.matches("^job:1: module '.*' cannot be required in a job", message)
      end
      assert.has_error(function() env.require() end)
      -- in a tail call, too, there is no line of the library
      local tail = coroutine.create(env.load("return require(...)", "=job"))
      local _, message = coroutine.resume(tail, "lpeg")
      assert.matches("^module 'lpeg' cannot be required in a job", message)
    end)

    it("gives the sandbox's own libraries", function()
      for _, name in ipairs({ "_G", "coroutine", "debug", "io", "math", "os", "package", "string",
        "table", "utf8" }) do
        assert.equal(name == "_G" and env or env[name], env.require(name))
      end
    end)
  end)

  it("'s print and io.write go where they are told, without the last newline", function()
    local said = {}
    env = sandbox.new(function(text) said[#said + 1] = text end)
    run([[
      print("a", nil, 1.5, setmetatable({}, { __tostring = function() return "object" end }))
      print()
      io.write("b", 2, "\n")
      assert(io.stdout:write("c"):write("d\ne\n\n") == io.stdout)
      io.stderr:write("", "") io.stderr:write("f") io.stdout:flush() io.stdout:setvbuf("no")
    ]])
    assert.same({ "a\tnil\t1.5\tobject", "", "b2", "c", "d\ne\n", "f" }, said)
    local ok, message = pcall(env.load("\nio.write('a', {})", "=job"))
    assert.is_false(ok)
    assert.matches("bad argument #2 to 'write' (string expected, got table)", message, 1, true)
    ok, message = pcall(env.load("\nio.stdout:write(nil)", "=job"))
    assert.is_false(ok)
    assert.equal("job:2: bad argument #1 to 'write' (string expected, got nil)", message)
    assert.equal("file", run("return io.type(io.stdout)"))
    assert.is_nil(run("return io.type({})"))
  end)

  it("'s load remembers texts, so that functions in them can be shipped", function()
    run("load('return function() end', '=remembered in a sandbox')")
    assert.equal("return function() end", source_cache.find("=remembered in a sandbox")[1].text)
  end)

  it("'s collectgarbage collects and counts, and nothing else", function()
    assert.equal(0, env.collectgarbage())
    assert.equal(0, env.collectgarbage("collect"))
    assert.is_number(env.collectgarbage("count"))
    for _, what in ipairs({ "stop", "restart", "step", "incremental", "generational", "setpause",
      "isrunning", "", 1 }) do
      local ok, message = pcall(env.load("collectgarbage(...)", "=job"), what)
      assert.is_false(ok)
      assert.matches("^job:1: collectgarbage: only", message)
    end
    assert.is_true(collectgarbage("isrunning"))
  end)
end)

describe("a job that tries", function()
  local fleet
  setup(function() fleet = jobs.open(1) end)
  teardown(function() fleet:close() end)

  --- The value that this body of a map function gives.
  local function try(body, options) return fleet:values(body, { 1 }, options)[1] end

  it("to reach the machine finds nothing there", function()
    assert.same({}, try([[
      local found = {}
      for _, name in ipairs({ "dofile", "loadfile", "warn", "arg", "io.open", "io.popen",
        "io.lines", "io.input", "io.stdin", "debug.getinfo", "debug.getregistry",
        "debug.getmetatable", "debug.sethook", "debug.getupvalue", "package.loadlib",
        "package.searchers", "package.preload", "package.path", "os.execute", "os.exit",
        "os.getenv", "os.remove", "os.rename", "os.tmpname", "os.setlocale", "string.dump" }) do
        local at = _G
        for part in name:gmatch("[^.]+") do at = at and at[part] end
        if at ~= nil then found[#found + 1] = name end
      end
      return found
    ]]))
  end)

  it("to get out by what it may require finds no table of ours", function()
    -- walks all it can reach: no io, debug, real globals or module table
    assert.same({}, try([[
      local found, seen, list = {}, {}, { _G }
      for _, name in ipairs({ "fleet", "fleet.digest", "fleet.errors", "fleet.http",
        "fleet.json", "fleet.log", "fleet.xml" }) do list[#list + 1] = require(name) end
      list[#list + 1] = require("fleet.digest").new()
      list[#list + 1] = require("fleet.xml").parse("<a/>")
      list[#list + 1] = require("fleet.xml").parse("<a/>"):root()
      while #list > 0 do
        local value = table.remove(list)
        if not seen[value] then
          seen[value] = true
          local mt = getmetatable(value)
          if mt then list[#list + 1] = mt end
          if type(value) == "table" then
            for _, name in ipairs({ "popen", "getinfo", "loadlib", "searchers", "exit", "dofile" })
            do
              if rawget(value, name) ~= nil then found[#found + 1] = name end
            end
            for k, v in next, value do
              list[#list + 1], list[#list + 2] = k, v
            end
          end
        end
      end
      return found
    ]]))
  end)

  it("to change strings for others cannot reach their metatable", function()
    local err = fleet:failure("getmetatable('').__index = nil")
    assert.equal("raise", err.kind)
    assert.is_false(try("return pcall(rawset, getmetatable(''), '__index', 1)"))
  end)

  it("to change its globals changes no other job's", function()
    local spoil = [[
      _G.spoilt, tostring, pairs, string.upper = 1, nil, nil, nil
      require("fleet").sleep = nil
      require("fleet.errors").kinds = nil
      setmetatable(_G, { __index = function() return "caught" end })
      return nothing
    ]]
    local look = [[
      require("fleet").sleep(0)
      return { spoilt == nil, tostring(1), ("a"):upper(), pairs ~= nil, nothing == nil,
        require("fleet.errors").kinds ~= nil }
    ]]
    local expected = { true, "1", "A", true, true, true }
    assert.equal("caught", try(spoil))
    assert.same(expected, try(look))
    -- nor that of one at work at the same time
    local other
    local source = jobs.source("if not other then other = true " .. spoil .. " end return item")
    local m = fleet:map(source, { 1, 2 }, {
      on_row = function() other = other or try(look) return true end,
    })
    assert.is_true(m:run())
    assert.same(expected, other)
  end)

  it("to reach the metatable of the host's objects finds none", function()
    assert.same({}, try([[
      local document = require("fleet.xml").parse("<a/>")
      local _, failure = require("fleet.xml").parse("<")
      local objects = { digest = require("fleet.digest").new(), node = document:root(),
        document = document, lines = require("fleet.json").lines(), failure = failure,
        made = require("fleet.errors").new({ kind = "raise", message = "m" }) }
      local found = {}
      for name, object in pairs(objects) do
        if getmetatable(object) ~= false or pcall(setmetatable, object, {}) then
          found[#found + 1] = name
        end
      end
      return found
    ]]))
  end)

  it("to give errors of the host another metatable lives on without it", function()
    for _, value in ipairs({ "0x4141", "'x'", "print", "true", "1.5", "{}",
      "{ __index = error, __newindex = error, __gc = error }" }) do
      assert.same({ "decode", true }, try(([[
        local errors = require("fleet.errors")
        for _, name in ipairs({ "metatable", "new", "is", "wrap", "text", "kinds" }) do
          errors[name] = %s
        end
        local _, err = require("fleet.xml").parse("<")
        local _, other = require("fleet.json").decode("{")
        return { err.kind, tostring(other):find("^decode: ") ~= nil }
      ]]):format(value)))
    end
  end)

  it("to use an object that was closed gets an error", function()
    local err = fleet:failure([[
      local d = require("fleet.digest").new()
      d:close()
      d:close()
      pcall(d.update, {}, "x")
      d:update("x")
    ]])
    assert.matches("the digest is closed", err.message, 1, true)
  end)

  it("to wait where nobody can gets a clear error, and lives on", function()
    local values = fleet:values([[
      local waits = {
        sort = function()
          table.sort({ 3, 2, 1 }, function(a, b) fleet.sleep(0) return a < b end)
        end,
        gsub = function() return (("a"):gsub("a", function() fleet.sleep(0) end)) end,
        tostring = function()
          return tostring(setmetatable({}, { __tostring = function() fleet.sleep(0) end }))
        end,
        inner = function()
          table.sort({ 2, 1 }, function(a, b)
            coroutine.wrap(function() fleet.sleep(0) end)()
            return a < b
          end)
        end,
      }
      local ok, message = pcall(waits[item])
      fleet.sleep(0.001)
      return { ok, message }
    ]], { "sort", "gsub", "tostring", "inner" })
    assert.equal(4, #values)
    for _, value in ipairs(values) do
      assert.is_false(value[1])
      assert.matches("sleep cannot wait here", value[2], 1, true)
    end
  end)

  it("to wait in a finalizer is none the worse for it", function()
    assert.equal(1, try([[
      for _ = 1, 10 do setmetatable({}, { __gc = function() fleet.sleep(1) end }) end
      collectgarbage()
      fleet.sleep(0.001)
      return item
    ]]))
  end)

  it("to wait everywhere else waits", function()
    assert.same({ "in", "key", "protected", { 1, 2 }, "handled", "loaded" }, try([[
      local function nap(value) fleet.sleep(0.001) return value end
      local slow = setmetatable({}, { __index = function(_, key) return nap(key) end })
      local list = {}
      for i in coroutine.wrap(function()
        for i = 1, 2 do coroutine.yield(nap(i)) end
      end) do list[i] = i end
      local _, protected = pcall(nap, "protected")
      local _, handled = xpcall(function() nap() error("handled", 0) end, function(e) return e end)
      local pieces = { "return", "'loaded'" }
      local chunk = load(function() return nap(table.remove(pieces, 1)) end)
      return { coroutine.wrap(nap)("in"), slow.key, protected, list, handled, chunk() }
    ]]))
  end)

  it("to yield to the worker gets an error", function()
    assert.matches("coroutine.yield outside a coroutine",
      fleet:failure("coroutine.yield(1)").message, 1, true)
  end)

  it("to take over a waiting task's coroutine cannot", function()
    local values = fleet:values([[
      if item == 1 then
        held = coroutine.create(function() fleet.sleep(0.03) return "done" end)
        main = coroutine.running()
        local ok, value = coroutine.resume(held)
        return value
      end
      while not held do fleet.sleep(0.001) end
      local got = { coroutine.resume(held), coroutine.resume(main), (pcall(coroutine.close, held)),
        (pcall(coroutine.close, main)) }
      collectgarbage()
      return { got[1], got[2], got[#got - 1], got[#got] }
    ]], { 1, 2 }, { scheduler = { batch = 2 } })
    assert.equal("done", values[1])
    assert.same({ false, false, false, false }, values[2])
  end)

  it("to print does so at the driver, line by line, with the node's name", function()
    local p = fleet:connect()
    finally(function() p:close() end)
    local lines, items = {}, {}
    p.on_print = function(node, text)
      assert.equal("local", node)
      lines[text] = (lines[text] or 0) + 1
    end
    for i = 1, 200 do items[i] = i end
    local long = ("x"):rep(300)
    fleet:values([[
      print("line", item, nil, true, setmetatable({}, { __tostring = function()
        return ("x"):rep(300)
      end }), "end")
    ]], items, { cluster = p })
    for i = 1, 200 do
      assert.equal(1, lines[("line\t%d\tnil\ttrue\t%s\tend"):format(i, long)])
    end
  end)

  it("to stop the collector gets an error", function()
    assert.matches("collectgarbage: only 'collect' and 'count'",
      fleet:failure("collectgarbage('stop')").message, 1, true)
  end)

  describe("to use up", function()
    it("the stack gets an error", function()
      local err = fleet:failure("local function f() return 1 + f() end return f()")
      assert.equal("raise", err.kind)
      assert.matches("stack overflow", err.message, 1, true)
      assert.is_true(#err.traceback < 10000)
    end)

    it("the stack of C gets an error", function()
      for _, body in ipairs({
        "local function f() return coroutine.wrap(f)() end return f()",
        "local function f() return (('a'):gsub('a', f)) end return f()",
        "return (('x'):find(('('):rep(100000)))",
        "local s = ('{'):rep(100000) assert(load('return ' .. s))",
        "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x",
      }) do
        local err = fleet:failure(body)
        assert.equal("raise", err.kind)
        assert.is_true(#err.message < 10000)
      end
    end)

    it("memory gets an error of that kind, each time, and gives it back", function()
      local values = fleet:values([[
        if item == "rep" then return ("x"):rep(1 << 30) end
        if item == "string" then
          local s = "x"
          while true do s = s .. s end
        end
        if item == "table" then
          local t = {}
          for i = 1, math.huge do t[i] = { i } end
        end
        return item
      ]], { "rep", "string", "fine", "table", "rep", "good" })
      for _, i in ipairs({ 1, 2, 4, 5 }) do assert.equal("memory", values[i].kind) end
      assert.same({ "fine", "good" }, { values[3], values[6] })
    end)

    it("a string beyond any memory gets an error", function()
      for _, times in ipairs({ "1 << 31", "math.maxinteger" }) do
        local err = fleet:failure(("return ('x'):rep(%s)"):format(times))
        local is_known = _VERSION == "Lua 5.4" or times == "math.maxinteger" -- without a try
        assert.same(is_known and { "raise", "job.lua:4: resulting string too large" }
          or { "memory", "not enough memory" }, { err.kind, err.message })
      end
    end)
  end)

  describe("to throw", function()
    local function message(body) return fleet:failure(body).message end

    it("what is no string is told what it was", function()
      assert.equal(_VERSION == "Lua 5.4" and "(error object is a nil value)"
        or "<no error object>", message("error()"))
      assert.equal("(error object is a table value: {})", message("error({})"))
      assert.equal("(error object is a table value: {code = 3, why = {\"x\", <function>}})",
        (message("error({ code = 3, why = { 'x', print } })"):gsub("<func[^>]*>", "<function>")))
      local long = message("local t = {} for i = 1, 1e5 do t[i] = ('x'):rep(1e3) end error(t)")
      assert.matches("^%(error object is a table value: {\"x+", long)
      assert.is_true(#long < 1100)
      assert.matches("^%(error object is a table value: {self = ",
        message("local t = {} t.self = t error(t)"))
      assert.equal("(error object is a function value)", message("error(print)"))
      assert.equal("7", message("error(7)"))
      assert.equal("as text", message(
        "error(setmetatable({}, { __tostring = function() return 'as text' end }))"))
    end)

    it("what cannot be described still fails alone", function()
      for _, metamethod in ipairs({
        "error('again')", "error(nil)", "return {}", "fleet.sleep(1)",
        "error(setmetatable({}, getmetatable(self)))",
      }) do
        local body = "local mt = {} mt.__tostring = function(self) " .. metamethod
          .. " end error(setmetatable({}, mt))"
        local err = fleet:failure(body)
        assert.same({ "raise", "the task failed, and so did describing its error", "yes" },
          { err.kind, err.message, err.applied })
      end
    end)

    it("an error of its own kind has it travel whole", function()
      local err = fleet:failure([[
        error(require("fleet.errors").new({
          kind = "url", message = "mine", applied = "no", detail = { 1 },
        }))
      ]])
      assert.same({ "url", "mine", { 1 }, "local" },
        { err.kind, err.message, err.detail, err.node })
      assert.same({ "yes", { applied = "no" } }, { err.applied, err.inner })
    end)

    it("an error that cannot be sent whole has its text sent", function()
      local err = fleet:failure([[
        error(require("fleet.errors").new({ kind = "url", message = "mine", extra = print }))
      ]])
      assert.same({ "raise", "url: mine" }, { err.kind, err.message })
    end)

    it("an error that lies about its fields is taken for any value", function()
      local err = fleet:failure(
        "error(setmetatable({}, { __index = function(_, key) error(key) end }))")
      assert.equal("(error object is a table value: {})", err.message)
      assert.equal("(error object is a table value: {kind = 1, message = 2})",
        message("error({ kind = 1, message = 2 })"))
    end)
  end)
end)
