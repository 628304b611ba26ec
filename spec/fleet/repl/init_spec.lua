-- SPDX-License-Identifier: MIT
-- A session, here for real and over nodes of this spec.

local errors = require("fleet.errors")
local evaluate = require("fleet.repl.evaluate")
local fleet_repl = require("fleet.repl")
local source_cache = require("fleet.ship.source_cache")
local task = require("host.task")

describe("repl", function()
  local out, err, session, nodes, clock

  --- Nodes that evaluate here, in a task of theirs.
  local function fake_targets()
    local t = {
      cancelled = {}, others = {},
      list = {
        { name = "n1", state = "ready", workers = 2, rtt = 0.0012 },
        { name = "n2", state = "ready" },
      },
    }
    function t.nodes() return t.list end
    function t.names() return { "n1", "n2" }, t.others end
    function t.send(_, node, _, text, chunkname, prologue)
      if t.refuses then return nil, t.refuses end
      local c = task.start(evaluate.run, function(code, name)
        return load(code, name, "t", setmetatable({ node = node }, { __index = _G }))
      end, text, chunkname, prologue)
      return {
        wait = function()
          local ok, reply = c:join()
          if ok then return reply end
          if not errors.is(reply) then
            reply = {
              kind = "raise", message = tostring(reply), node = node, traceback = "far away",
            }
          end
          return nil, errors.wrap(reply)
        end,
        cancel = function()
          t.cancelled[#t.cancelled + 1] = node
          c:cancel()
        end,
      }
    end
    return t
  end

  before_each(function()
    out, err, clock = {}, {}, 0
    nodes = fake_targets()
    local env, load_text = fleet_repl.environment(function(s) out[#out + 1] = s end)
    session = fleet_repl.new({
      targets = nodes, start = task.start, env = env, load = load_text, interactive = true,
      out = function(s) out[#out + 1] = s end, err = function(s) err[#err + 1] = s end,
      now = function()
        clock = clock + 0.5
        return clock
      end,
      width = function() return 80 end,
    })
  end)

  local function said(list)
    local s = table.concat(list)
    for i = #list, 1, -1 do list[i] = nil end
    return s
  end

  --- What is written for some lines, values and errors.
  local function type_in(...)
    for _, line in ipairs({ ... }) do session:feed(line) end
    return said(out), said(err)
  end

  describe("here", function()
    it("writes the values of expressions, and nothing for statements", function()
      assert.same({ "2\n", "" }, { type_in("1 + 1") })
      assert.same({ '1, nil, "a"\n', "" }, { type_in("1, nil, 'a'") })
      assert.same({ "nil\n", "" }, { type_in("nil") })
      assert.same({ "", "" }, { type_in("x = 5", "local y = 6", "", "   ", "(function() end)()") })
      assert.same({ "5, nil\n", "" }, { type_in("x, y") })
      assert.same({ "a\tnil\n", "" }, { type_in("print('a', nil)") })
    end)

    it("keeps the last values", function()
      assert.equal("7, 8\n7\n", (type_in("7, 8", "_")))
      assert.equal("7, 8\n8\n", (type_in("7, 8", "x = 1", "_2")))
      type_in("1, 2, 3", "'only'")
      assert.equal('{"only", "only"}\n', (type_in("{_, _1, _2, _3}")))
    end)

    it("goes on in the next line until the code is complete", function()
      assert.equal("local> ", session:prompt())
      assert.is_nil(session:feed("function f(n)"))
      assert.equal("    >> ", session:prompt())
      assert.is_nil(session:feed("  return n * 2"))
      assert.equal("function f(n)\n  return n * 2\nend", session:feed("end"))
      assert.equal("10\n", (type_in("f(5)")))
      assert.equal("3\n", (type_in("1 +", "2")))
    end)

    it("takes several lines at once", function()
      assert.equal("6\n", (type_in("local t = 0\n\nfor i = 1, 3 do t = t + i end\nreturn t")))
    end)

    it("gives up at an empty line or on demand, and goes on", function()
      local _, message = type_in("if x then", "")
      assert.matches("^repl:1:2: 'end' expected", message)
      assert.same({ "", "" }, { type_in("if x then") })
      session:abandon()
      assert.same({ "2\n", "" }, { type_in("2") })
    end)

    it("takes empty lines for code where nobody types, and says at its end what is missing",
      function()
        session.interactive = false
        assert.same({ "1\n", "" }, { type_in("do", "", "return 1", "end") })
        type_in("if x then", "")
        session:abandon(true)
        assert.matches("'end' expected", said(err))
      end)

    it("writes errors with the traceback and goes on", function()
      local values, message = type_in("error('boom')")
      assert.equal("", values)
      assert.matches("^repl:1:1: boom\nstack traceback:\n.*repl:1:1: in main chunk\n$", message)
      assert.equal("repl:2:1: unexpected symbol near '='\n", (select(2, type_in("x = = 1"))))
      assert.matches("^usage: what\n", (select(2,
        type_in("error({ kind = 'usage', message = 'what' })"))))
      assert.equal("1\n", (type_in("1")))
    end)

    it("has globals of its own, and modules at hand", function()
      type_in("table = {}", "load('loaded = 1')()", "string = nil")
      assert.is_function(table.concat)
      assert.is_nil(rawget(_G, "loaded"))
      assert.equal("1, true\n", (type_in("loaded, _G.loaded == loaded")))
      assert.equal("true, true, true, true\n", (type_in("http == require('fleet.http'), "
        .. "fleet == require('fleet'), json ~= nil, digest ~= nil")))
    end)

    it("records what it loads, so that functions can be shipped", function()
      type_in("f = function(s) return json.encode(s) end", "f")
      assert.equal("f = function(s) return json.encode(s) end",
        source_cache.find("=repl:1")[1].text)
      assert.equal("return f", source_cache.find("=repl:2")[1].text)
      -- what fleet.ship takes for the globals of wherever a function runs
      assert.is_table(getmetatable(session.env))
    end)

    it("stops what runs", function()
      for _, code in ipairs({ "fleet.sleep(100)", "while true do end" }) do
        task.preempt()
        task.spawn(function()
          task.sleep(0.02)
          assert.is_true(session:cancel())
        end)
        assert.same({ "", "interrupted\n" }, { type_in(code) })
      end
      assert.is_false(session:cancel())
      assert.same({ "3\n", "" }, { type_in("3") })
    end)
  end)

  describe("on nodes", function()
    it("evaluates where it is told, and shows it in the prompt", function()
      type_in(":on n2")
      assert.equal("n2> ", session:prompt())
      assert.same({ '"n2"\n', "" }, { type_in("node") })
      assert.equal("{<function: built in>}\n", (type_in("{print}")))
      type_in(":on local")
      assert.equal("local> ", session:prompt())
      assert.equal("nil\n", (type_in("node")))
    end)

    it("evaluates on all, the names before the values", function()
      type_in(":on all")
      assert.equal('n1: "n1"\nn2: "n2"\n', (type_in("node")))
      assert.equal("n1: 1, 2\nn2: 1, 2\n", (type_in("1, 2")))
      assert.equal("", (type_in("x = 1")))
      local values, message = type_in("if node == 'n2' then error('bad') end return 1")
      assert.equal("n1: 1\n", values)
      assert.matches("^n2: raise: repl:%d+:1: bad %(node n2%)\nn2: far away\n$", message)
      type_in("node", ":on local")
      assert.equal('{n1 = "n1", n2 = "n2"}\n', (type_in("_")))
    end)

    it("names nodes that it does not ask, once", function()
      local down = errors.new({ kind = "connect", message = "is down", node = "n3" })
      nodes.others = { down }
      type_in(":on all")
      assert.same({ "n1: 1\nn2: 1\n", "not ready, and left out: n3; :nodes shows them\n" },
        { type_in("1") })
      assert.same({ "n1: 1\nn2: 1\n", "" }, { type_in("1") })
      nodes.others = {}
      type_in("1")
      nodes.others = { down }
      assert.matches("n3", (select(2, type_in("1"))))
    end)

    it("writes what is raised there, and why nothing was sent", function()
      type_in(":on n1")
      assert.equal("raise: repl:1:1: bad (node n1)\nfar away\n",
        (select(2, type_in("error('bad')"))))
      nodes.refuses = errors.new({ kind = "connect", message = "nobody there" })
      assert.equal("connect: nobody there\n", (select(2, type_in("1"))))
      type_in(":on all")
      assert.equal("connect: nobody there\n", (select(2, type_in("1"))))
    end)

    it("cancels what runs there, and stays in step", function()
      for where, cancelled in pairs({ n1 = { "n1" }, all = { "n1", "n2" } }) do
        nodes.cancelled = {}
        type_in(":on " .. where)
        task.spawn(function()
          task.sleep(0.02)
          session:cancel()
        end)
        assert.same({ "", "interrupted\n" }, { type_in("fleet.sleep(100) return 'late'") })
        table.sort(nodes.cancelled)
        assert.same(cancelled, nodes.cancelled)
        assert.matches("7\n$", (type_in("7")))
      end
    end)

    it("does not wait for a node that ignores a cancel", function()
      function nodes.send()
        return { wait = function() task.sleep(100) return "late" end, cancel = function() end }
      end
      type_in(":on n1")
      task.spawn(function()
        task.sleep(0.02)
        session:cancel()
      end)
      assert.same({ "", "interrupted\n" }, { type_in("1") })
    end)

    it("labels what is printed there", function()
      assert.equal("n1: a\\x1b[31m\nn1: b\tc\n", session:printed("n1", "a\27[31m\nb\tc"))
    end)
  end)

  describe("commands", function()
    it(":nodes lists them", function()
      assert.equal("name  address  state  workers  running  queued  release  rtt_ms\n"
        .. "n1    -        ready        2        -       -  -           1.2\n"
        .. "n2    -        ready        -        -       -  -             -\n", (type_in(":nodes")))
    end)

    it(":on knows its nodes", function()
      assert.equal("code runs on: local\n", (select(2, type_in(":on"))))
      assert.equal("there is no node 'n3'; there are n1, n2, all and local\n",
        (select(2, type_in(":on n3"))))
      assert.equal("local> ", session:prompt())
    end)

    it(":time says how long it took", function()
      assert.same({ "2\n", "0.500000 s\n" }, { type_in(":time 1 + 1") })
      assert.same({ "", ":time needs code\n" }, { type_in(":time") })
      assert.matches("unexpected symbol", (select(2, type_in(":time )"))))
    end)

    it(":load evaluates a file", function()
      local path = os.tmpname()
      local file = io.open(path, "w")
      file:write("#!/usr/bin/lua\nlocal a = 1\nloaded = a\nreturn loaded\n")
      file:close()
      assert.same({ "1\n", "" }, { type_in(":load " .. path) })
      assert.equal("1\n", (type_in("loaded")))
      assert.equal(1, #source_cache.find("@" .. path))
      os.remove(path)
      assert.matches("No such file", (select(2, type_in(":load " .. path))))
      assert.equal(":load needs a file\n", (select(2, type_in(":load"))))
    end)

    it(":help tells of all, :quit ends; shorter words do when they are clear", function()
      local help = type_in(":help")
      for _, word in ipairs({ ":nodes", ":on", ":time", ":load", ":help", ":quit" }) do
        assert.is_truthy(help:find(word, 1, true))
      end
      assert.is_false(session.finished)
      type_in(":q")
      assert.is_true(session.finished)
    end)

    it("are told to who types the word alone, unless it is his", function()
      assert.same({ "", "the command is :quit\n" }, { type_in("exit") })
      assert.same({ "", "the command is :help\n" }, { type_in(" help ") })
      for _, other in ipairs({ "exit()", "quit()", "q()", "q", "quit ( )" }) do
        assert.same({ "", "the command is :quit\n" }, { type_in(other) })
      end
      assert.same({ "5\n", "" }, { type_in("exit = 5", "exit") })
    end)

    it("says what is none", function()
      assert.equal("there is no command ':zzz'; :help lists them\n", (select(2, type_in(":zzz"))))
      assert.matches("there is no command ':n", (select(2, type_in(":nope"))))
      assert.equal(":help takes no argument; the functions are described in docs/reference.md\n",
        (select(2, type_in(":h fleet.pmap"))))
      assert.equal(":nodes takes no argument\n", (select(2, type_in(":nodes two"))))
    end)

    it("are completed, nodes too", function()
      local function words(line)
        return table.concat(session:complete(line, #line), " ")
      end
      assert.equal("help load nodes on quit time", words(":"))
      assert.equal("all local n1 n2", words(":on "))
      assert.equal("fleet", words(":time fle"))
      session.env.my_value = 1
      assert.equal("my_value", words("my_"))
    end)
  end)

  it("colours when it is told to", function()
    session.color = true
    assert.equal("\1\27[1m\1local\1\27[0m\1> ", session:prompt())
    assert.equal("\27[33m1\27[0m\n", (type_in("1")))
    assert.matches("^\27%[31mrepl:2:1: x\27%[0m\n", (select(2, type_in("error('x')"))))
  end)
end)
