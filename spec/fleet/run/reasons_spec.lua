-- SPDX-License-Identifier: MIT
local errors = require("fleet.errors")
local reasons = require("fleet.run.reasons")

describe("reasons", function()
  local list
  before_each(function() list = reasons.new() end)

  local function fail(item, kind, message)
    list:add(item, errors.new({ kind = kind, message = message }))
  end

  it("are nothing when nothing failed", function()
    assert.equal("", list:text(3))
  end)

  it("count what has one kind and one message, the commonest first", function()
    for i = 1, 3 do fail("a" .. i, "raise", "x.lua:1: boom") end
    for i = 1, 5 do fail("b" .. i, "connect", "refused") end
    fail("c", "timeout", "refused")
    fail("d", "dns", "no such host")
    assert.equal('5 failed with connect: refused (first "b1")\n'
      .. '3 failed with raise: x.lua:1: boom (first "a1")\n'
      .. '1 failed with timeout: refused ("c")\n'
      .. "1 failed with other errors\n", list:text(3))
  end)

  it("look past numbers and the item itself", function()
    for i = 1, 4 do
      local url = "http://h/" .. string.char(96 + i)
      fail(url, "connect", ("%s: port %d refused"):format(url, i))
    end
    assert.equal('4 failed with connect: http://h/a: port 1 refused (first "http://h/a")\n',
      list:text(3))
  end)

  it("are one where the item occurs in the message by chance", function()
    for _, item in ipairs({ "a", "bb", "call", "e" }) do
      fail(item, "raise", "job.lua:1: attempt to call a nil value")
    end
    assert.equal('4 failed with raise: job.lua:1: attempt to call a nil value (first "a")\n',
      list:text(3))
  end)

  it("take no item for a part of the place in the script", function()
    for _, item in ipairs({ "1", "22", "job", "lua", "b" }) do
      fail(item, "raise", "job.lua:1: no setup")
    end
    assert.equal('5 failed with raise: job.lua:1: no setup (first "1")\n', list:text(3))
    list = reasons.new()
    for _, item in ipairs({ "job.lua", "7", "x" }) do
      fail(item, "raise", "job.lua:1: no page " .. item)
    end
    assert.equal('2 failed with raise: job.lua:1: no page job.lua (first "job.lua")\n'
      .. '1 failed with raise: job.lua:1: no page 7 ("7")\n', list:text(3))
  end)

  it("take whatever failed an item, and show it on one line", function()
    list:add({ id = 1 }, "plain\n\27[31m")
    list:add({ id = 2 }, { code = 42 })
    list:add(3, nil)
    assert.equal("1 failed with raise: plain ({id = 1})\n"
      .. "1 failed with raise: (error object is a table value: {code = 42}) ({id = 2})\n"
      .. "1 failed with raise: (error object is a nil value) (3)\n", list:text(3))
    list = reasons.new()
    list:add(("long"):rep(100), errors.new({ kind = "x", message = ("word "):rep(200) }))
    assert.is_true(#list:text(3) < 350)
  end)

  it("are bounded", function()
    for i = 1, 3000 do
      fail(1, "raise", ("x"):rep(i % 1500))
    end
    local first, others = list:text(1):match("^(%d+) failed with raise: [^\n]*\n(%d+) failed with "
      .. "other errors\n$")
    assert.equal(3000, first + others)
    assert.is_true(#list.list <= 1000)
  end)
end)
