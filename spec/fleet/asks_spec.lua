-- SPDX-License-Identifier: MIT
local asks = require("fleet.asks")
local codec = require("host.codec")
local errors = require("fleet.errors")
local future = require("fleet.future")
local task = require("host.task")

describe("fleet.asks", function()
  local driver, link, worker, told

  before_each(function()
    told, worker = {}, {}
    link = { tell = function(_, to, number, bytes)
      assert.equal(worker, to)
      told[number] = codec.decode(bytes)
    end }
    driver = {}
  end)

  local function ask(number, request)
    local bytes = type(request) == "string" and request or assert(codec.encode(request))
    asks.answer(driver, link, worker, number, bytes)
    for _ = 1, 5 do task.yield() end
  end

  it("answers with the nodes", function()
    function driver.nodes() return { { name = "n" } } end
    ask(3, { op = "nodes" })
    assert.same({ list = { { name = "n" } } }, told[3])
  end)

  it("answers a call with all its values, or its error", function()
    local f
    function driver.send(_, target, packed, args, options)
      assert.same({ { node = "n" }, "packed", { n = 1, 7 }, 5 },
        { target, packed, args, options.timeout })
      f = future.new()
      return f
    end
    local request = {
      op = "call", id = 1, target = { node = "n" }, packed = "packed", args = { n = 1, 7 },
      timeout = 5,
    }
    ask(1, request)
    assert.is_nil(told[1])
    f:resolve(table.pack(1, nil, "x"))
    for _ = 1, 5 do task.yield() end
    assert.same({ values = { n = 3, 1, nil, "x" } }, told[1])
    ask(2, request)
    f:fail(errors.new({ kind = "lost", message = "gone" }))
    for _ = 1, 5 do task.yield() end
    assert.same({ error = { kind = "lost", message = "gone" } }, told[2])
  end)

  it("answers a map with its rows, in order", function()
    function driver.map(_, packed, source, options, on_row)
      assert.same({ "packed", 2 }, { packed, options.concurrency })
      local id = 0
      for item in source do
        id = id + 1
        on_row(item, item ~= "b", item .. item, id)
      end
      return true
    end
    ask(1, { op = "map", packed = "packed", items = { "a", "b" },
      options = { concurrency = 2, began = 7 } })
    assert.same({ began = 7, rows = { { true, "aa", 1 }, { false, "bb", 2 } } }, told[1])
  end)

  it("cancels a call of the same worker", function()
    local cancelled
    function driver.send()
      return future.new(function(f)
        cancelled = true
        f:fail(errors.new({ kind = "cancelled", message = "c" }))
      end)
    end
    ask(1, { op = "call", id = 9, target = {}, packed = "p", args = { n = 0 }, timeout = 5 })
    ask(2, { op = "cancel", id = 8 })
    assert.is_nil(cancelled)
    ask(3, { op = "cancel", id = 9 })
    assert.same({ {}, {} }, { told[2], told[3] })
    assert.equal("cancelled", told[1].error.kind)
  end)

  it("says what is wrong with a request, or with its answer", function()
    function driver.nodes() error("bug", 0) end
    function driver.map(_, _, _, _, on_row)
      on_row(1, true, print)
      return true
    end
    for number, case in ipairs({
      { "\xC1", "decode" }, { 7, "protocol" }, { { op = "fly" }, "protocol" },
      { { op = "nodes" }, "raise" },
      { { op = "map", items = {}, options = {} }, "encode" },
    }) do
      ask(number, case[1])
      assert.equal(case[2], told[number].error.kind)
    end
  end)

  it("answers a map that was cut short with its rows, and why", function()
    function driver.map(_, _, _, _, on_row)
      on_row("a", true, "aa", 1)
      return nil, errors.new({ kind = "deadline", message = "over" })
    end
    ask(1, { op = "map", packed = "packed", items = { "a", "b" }, options = {} })
    assert.is_number(told[1].began)
    assert.same({ { { true, "aa", 1 } }, { kind = "deadline", message = "over" } },
      { told[1].rows, told[1].err })
  end)

  describe("whose task is gone", function()
    local cancelled
    before_each(function()
      cancelled = 0
      function driver.send() return future.new(function() cancelled = cancelled + 1 end) end
      ask(1, { op = "call", id = 1, target = {}, packed = "p", args = { n = 0 }, timeout = 5 })
    end)

    it("cancels what it withdraws, and nothing else", function()
      ask(2, "")
      assert.equal(0, cancelled)
      ask(1, "")
      assert.equal(1, cancelled)
    end)

    it("cancels what had not begun when it was withdrawn", function()
      asks.answer(driver, link, worker, 2, assert(codec.encode(
        { op = "call", id = 2, target = {}, packed = "p", args = { n = 0 }, timeout = 5 })))
      ask(2, "")
      assert.equal(1, cancelled)
    end)

    it("ends with its worker, also what had an answer", function()
      local f = future.new()
      function driver.send() return f end
      ask(2, { op = "call", id = 2, target = {}, packed = "p", args = { n = 0 }, timeout = 5 })
      worker.gone = true
      asks.drop(worker)
      f:resolve(table.pack(1))
      for _ = 1, 5 do task.yield() end
      assert.same({ true, nil }, { worker.asks[1] ~= nil, worker.asks[2] })
    end)

    it("cancels all with its worker", function()
      ask(2, { op = "call", id = 2, target = {}, packed = "p", args = { n = 0 }, timeout = 5 })
      asks.drop(worker)
      assert.equal(2, cancelled)
      asks.drop(worker)
      assert.equal(2, cancelled)
    end)
  end)

  it("says nothing to a worker that is gone, or over a link that is", function()
    local f = future.new()
    function driver.send() return f end
    ask(1, { op = "call", id = 1, target = {}, packed = "p", args = { n = 0 }, timeout = 5 })
    worker.gone = true
    f:resolve(table.pack(1))
    for _ = 1, 5 do task.yield() end
    assert.is_nil(told[1])
  end)
end)
