-- SPDX-License-Identifier: MIT
-- The session over real nodes; terminals are in spec/e2e/terminal_repl_spec.lua.

local e2e = require("spec.support.e2e")

describe("moonfleet repl over nodes", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function repl(lines, ...)
    local input = world:write("input", table.concat(lines, "\n") .. "\n")
    return world:run({ "repl", ... }, { stdin = input })
  end

  it("evaluates where it is told", function()
    local nodes, peers = world:nodes(2, { workers = 1 })
    local name = nodes[2].name
    local run = repl({
      ":on " .. name, "x = 5", "print('there') return {x}", "print", "error('bad')",
      "json.encode({1})", ":on all", "x", ":on local", "x", "_",
    }, "--peers", peers)
    assert.equal(0, run.code)
    local lines = e2e.lines(run.out)
    assert.same({ name .. ": there", "{5}" }, { lines[1], lines[2] })
    assert.matches("^<function: ", lines[3])
    assert.equal('"[1]"', lines[4])
    table.sort(lines)
    assert.is_truthy(run.out:find(name .. ": 5\n", 1, true))
    assert.is_truthy(run.out:find(nodes[1].name .. ": nil\n", 1, true))
    assert.matches("^raise: repl:%d+:1: bad %(node " .. name:gsub("%p", "%%%0"), run.err)
    assert.is_nil(run.err:find("fleet/", 1, true))
  end)

  it("lists the nodes and says when there is none of a name", function()
    local node = world:node({ workers = 3 })
    local run = repl({ ":nodes", ":on nobody" }, "--peers", node.address)
    assert.matches("name +address .*\n" .. node.name:gsub("%p", "%%%0") .. " +.* ready +3 ",
      run.out)
    assert.equal(("there is no node 'nobody'; there are %s, all and local\n"):format(node.name),
      run.err)
  end)

  it("ships functions that were typed, with what they captured", function()
    local run = repl({
      "function double(n) return n * 2 end",
      "fleet.call(fleet.any, double, 21)",
      "local by = 3 triple = function(n) return json.encode({ n * by }) end",
      "fleet.call(fleet.any, triple, 5)",
      "fleet.pmap(double, {1, 2, 3})[3]",
    })
    assert.same({ 0, '42\n"[15]"\n6\n', "" }, { run.code, run.out, run.err })
  end)

  it("ships the functions that stand in for Lua's own here", function()
    local run = repl({
      "fleet.call(fleet.any, print, 'there')",
      "local say, compile = print, load "
        .. "return fleet.call(fleet.any, function() say('and') return compile('return 7')() end)",
      "function print() end",
      "fleet.pmap(print, {1}).n",
    })
    assert.same({ 0, "" }, { run.code, run.err })
    assert.equal("local: there\nlocal: and\n7\n1\n", run.out)
  end)

  it("needs no node for what is evaluated here", function()
    local run = repl({ "1 + 1" }, "--peers", "127.0.0.1:" .. e2e.free_port())
    assert.same({ 0, "2\n", "" }, { run.code, run.out, run.err })
    run = repl({ ":on all" , "1" }, "--peers", "127.0.0.1:" .. e2e.free_port())
    assert.same({ 0, "" }, { run.code, run.out })
    assert.matches("^connect: no node can be used", run.err)
  end)
end)
