-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local json = require("fleet.json")

describe("moonfleet eval", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function eval(...)
    return world:run({ "eval", ... })
  end

  it("writes the value of code, strings as they are", function()
    for code, out in pairs({
      ["1 + 1"] = "2\n", ["return 1, 'a', nil"] = '1, "a", nil\n', ["'raw\\ttext'"] = "raw\ttext\n",
      ["'line\\n'"] = "line\n", ["{b = 1, a = {2.0}}"] = "{a = {2.0}, b = 1}\n", ["nil"] = "nil\n",
      ["local x = 1"] = "", ["json.encode({1})"] = "[1]\n",
    }) do
      local run = eval(code)
      assert.same({ 0, out, "" }, { run.code, run.out, run.err })
    end
    assert.matches("^<function: ", eval("print").out)
  end)

  it("passes arguments as strings", function()
    assert.equal('"1", "b c", 2\n', eval("(...), arg[2], #arg", "1", "b c").out)
    assert.equal("-x\n", eval("--", "(...)", "-x").out)
  end)

  it("reads code from stdin", function()
    local script = world:write("code.lua", "#!/usr/bin/env lua\nlocal a = 20\nreturn a + 1\n")
    local run = world:run({ "eval", "-" }, { stdin = script })
    assert.same({ 0, "21\n" }, { run.code, run.out })
  end)

  it("writes JSON", function()
    assert.equal('{"a":[1,2.5]}\n', eval("--json", "{a = {1, 2.5}}").out)
    assert.equal('"s"\n', eval("--json", "'s'").out)
    assert.equal("[1,null,2]\n", eval("--json", "1, nil, 2").out)
    assert.equal("null\n", eval("--json", "local x").out)
    local run = eval("--json", "{f = print}")
    assert.same({ 1, "" }, { run.code, run.out })
    assert.matches("^moonfleet: .*JSON.*<function", run.err)
  end)

  it("writes errors with the traceback of the worker", function()
    local run = eval("local function f() error('boom') end f()")
    assert.same({ 1, "" }, { run.code, run.out })
    local lines = e2e.lines(run.err)
    assert.matches("^moonfleet: raise: eval:1: boom %(node local", lines[1])
    assert.equal("stack traceback:", lines[2])
    assert.matches("eval:1: in .*'f'", run.err)
    assert.is_nil(run.err:find("fleet/", 1, true))
  end)

  it("tells what is wrong with the code or the command line before anything starts", function()
    for message, words in pairs({
      ["^moonfleet: eval:1: .* near <eof>\n$"] = { "f(" },
      ["^moonfleet: eval needs code"] = {},
      ["exclude each other"] = { "--all", "--node", "n", "1" },
    }) do
      local run = eval(table.unpack(words))
      assert.same({ 2, "" }, { run.code, run.out })
      assert.matches(message, run.err)
    end
  end)

  it("shows what is printed there, with the node's name", function()
    local run = eval("print('a', 1) print('b\\nc') return 'value'")
    assert.equal("value\n", run.out)
    assert.equal("local: a\t1\nlocal: b\nlocal: c\n", run.err)
  end)

  it("runs on the node that is named, or on all", function()
    local nodes, peers = world:nodes(2, { workers = 1 })
    local one, two = nodes[1].name, nodes[2].name
    local function on(...)
      return eval("--peers", peers, ...)
    end
    local name = "print('here') return {2, 'x\\ny'}"
    local run = on("--node", two, name)
    assert.same({ 0, '{2, "x\\ny"}\n', two .. ": here\n" }, { run.code, run.out, run.err })
    run = on("--all", name)
    local lines = e2e.lines(run.out)
    table.sort(lines)
    local expected = { one .. ': {2, "x\\ny"}', two .. ': {2, "x\\ny"}' }
    table.sort(expected)
    assert.same(expected, lines)
    assert.same({ [one] = { 1 }, [two] = { 1 } }, json.decode(on("--all", "--json", "{1}").out))
    run = on("--node", "nobody", "1")
    assert.same({ 3, "" }, { run.code, run.out })
    assert.matches("there is no usable node 'nobody'", run.err)
  end)

  it("has the values of the nodes that have one, and fails for the others", function()
    local nodes, peers = world:nodes(2, { workers = 1 })
    e2e.with_limit(2, function(seconds)
      local run = eval("--peers", peers, "--all", "--json", "--timeout", seconds,
        ("if fleet.self().node == %q then while true do end end return 1"):format(nodes[1].name))
      assert.equal(1, run.code)
      assert.same({ [nodes[2].name] = 1 }, json.decode(run.out))
      assert.matches("^moonfleet: timeout: ", run.err)
      assert.is_truthy(run.err:find("node " .. nodes[1].name, 1, true))
    end)
  end)

  it("fails for the nodes that cannot be asked", function()
    local node = world:node({ workers = 1 })
    local gone = "127.0.0.1:" .. e2e.free_port()
    local run = eval("--peers", node.address .. "," .. gone, "--all", "1")
    assert.same({ 1, node.name .. ": 1\n" }, { run.code, run.out })
    assert.matches("^moonfleet: connect: ", run.err)
    assert.is_truthy(run.err:find("node " .. gone, 1, true))
  end)

  it("ends at a signal, what runs there too", function()
    for signal, code in pairs({ INT = 130, TERM = 143 }) do
      local p = world:program({ "eval", "print('begun') while true do end" })
      e2e.wait_until("the code to run", function() return p:err():find("begun", 1, true) end)
      p:kill(signal)
      local run = p:wait()
      assert.same({ code, "local: begun\n" }, { run.code, run.err })
    end
  end)

  it("has no workers when no node can be used", function()
    local run = eval("--peers", "127.0.0.1:" .. e2e.free_port(), "1")
    assert.same({ 3, "" }, { run.code, run.out })
    assert.matches("^moonfleet: no node can be used", run.err)
  end)
end)
