-- SPDX-License-Identifier: MIT
local upcalls = require("fleet.driver.upcalls")
local codec = require("host.codec")
local errors = require("fleet.errors")
local future = require("fleet.base.future")
local task = require("host.task")

describe("fleet.driver.upcalls", function()
  local driver, session, worker, told

  before_each(function()
    told, worker = {}, {}
    session = { reply = function(_, to, number, bytes)
      assert.equal(worker, to)
      told[number] = codec.decode(bytes)
    end }
    driver = {}
  end)

  local function ask(number, request)
    local bytes = type(request) == "string" and request or assert(codec.encode(request))
    upcalls.answer(driver, session, worker, number, bytes)
    for i = 1, 500 do -- large replies take several turns; some requests have none
      if i > 5 and told[number] then break end
      task.yield()
    end
  end

  -- Items or rows one after another, as maps are asked and answered.
  local function together(...)
    local list = table.pack(...)
    return codec.encode_list(list, 1, list.n)
  end

  local function rows_of(reply)
    local rows, n = codec.decode_all(reply.rows)
    return table.move(rows, 1, n, 1, {})
  end

  it("replies with the nodes", function()
    function driver.nodes() return { { name = "n" } } end
    ask(3, { op = "nodes" })
    assert.same({ list = { { name = "n" } } }, told[3])
  end)

  it("replies to a call with all its values, or its error", function()
    local f
    function driver.send(_, target, packed, options, _, ...)
      assert.same({ { node = "n" }, "packed", { n = 1, 7 }, 5 },
        { target, packed, table.pack(...), options.timeout })
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

  it("replies to a map with its rows, in order", function()
    function driver.map(_, packed, source, options, on_row)
      assert.same({ "packed", 2 }, { packed, options.concurrency })
      local id = 0
      for item in source do
        id = id + 1
        on_row(item, item ~= "b", item .. item, id)
      end
      return true
    end
    ask(1, { op = "map", id = 4, packed = "packed", items = together("a", "b"),
      options = { concurrency = 2, began = 7 } })
    assert.same({ { true, "aa", 1 }, { false, "bb", 2 } }, rows_of(told[1]))
    assert.same({ 7, false }, { told[1].began, told[1].more })
  end)

  describe("asked for a map whose rows are large", function()
    local MIB = 1024 * 1024

    before_each(function()
      function driver.map(_, _, source, _, on_row)
        local id = 0
        for size in source do
          id = id + 1
          on_row(size, true, ("x"):rep(size), id)
        end
        return true
      end
      ask(1, { op = "map", id = 4, items = together(1, 20 * MIB, 1, 1, 64 * MIB), options = {} })
    end)

    it("replies with some, and with the rest on request", function()
      local ids, errs = { { 1 } }, {}
      for number = 1, 4 do
        if number > 1 then ask(number, { op = "more", id = 4 }) end
        ids[number] = {}
        for i, row in ipairs(rows_of(told[number])) do
          ids[number][i] = row[3]
          if not row[1] then errs[#errs + 1] = row[2].kind end
        end
        if not told[number].more then break end
      end
      assert.same({ { 1 }, { 2 }, { 3, 4, 5 } }, ids)
      assert.same({ "too_large" }, errs)
      assert.is_nil(next(worker.replies))
    end)

    it("drops the rest when the task has ended", function()
      assert.is_true(told[1].more)
      ask(2, { op = "cancel", id = 4 })
      ask(3, { op = "more", id = 4 })
      assert.equal("protocol", told[3].error.kind)
    end)
  end)

  it("fails an item alone whose result cannot be sent", function()
    function driver.map(_, _, _, _, on_row)
      on_row(1, true, print, 1)
      return true
    end
    ask(1, { op = "map", id = 4, items = together(1), options = {} })
    local row = rows_of(told[1])[1]
    assert.same({ false, "encode", 1 }, { row[1], row[2].kind, row[3] })
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

  it("tells what is wrong with a request, or with its reply", function()
    function driver.nodes() error("bug", 0) end
    function driver.send()
      local f = future.new()
      f:resolve(table.pack(print))
      return f
    end
    for number, case in ipairs({
      { "\xC1", "decode" }, { 7, "protocol" }, { { op = "fly" }, "protocol" },
      { { op = "nodes" }, "raise" },
      { { op = "call", id = 1, target = {}, packed = "p", args = { n = 0 } }, "encode" },
      { { op = "map", id = 2, items = "\xC1", options = {} }, "decode" },
    }) do
      ask(number, case[1])
      assert.equal(case[2], told[number].error.kind)
    end
  end)

  it("replies to a map that was cut short with its rows and the reason", function()
    function driver.map(_, _, _, _, on_row)
      on_row("a", true, "aa", 1)
      return nil, errors.new({ kind = "deadline", message = "over" })
    end
    ask(1, { op = "map", id = 4, packed = "packed", items = together("a", "b"), options = {} })
    assert.is_number(told[1].began)
    assert.same({ { { true, "aa", 1 } }, { kind = "deadline", message = "over" } },
      { rows_of(told[1]), told[1].err })
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
      upcalls.answer(driver, session, worker, 2, assert(codec.encode(
        { op = "call", id = 2, target = {}, packed = "p", args = { n = 0 }, timeout = 5 })))
      ask(2, "")
      assert.equal(1, cancelled)
    end)

    it("ends with its worker, also a request with a reply", function()
      local f = future.new()
      function driver.send() return f end
      ask(2, { op = "call", id = 2, target = {}, packed = "p", args = { n = 0 }, timeout = 5 })
      worker.removed = true
      upcalls.drop(worker)
      f:resolve(table.pack(1))
      for _ = 1, 5 do task.yield() end
      assert.same({ true, nil }, { worker.upcalls[1] ~= nil, worker.upcalls[2] })
    end)

    it("cancels all with its worker", function()
      ask(2, { op = "call", id = 2, target = {}, packed = "p", args = { n = 0 }, timeout = 5 })
      upcalls.drop(worker)
      assert.equal(2, cancelled)
      upcalls.drop(worker)
      assert.equal(2, cancelled)
    end)
  end)

  it("sends no reply to a removed worker, nor in a closed session", function()
    local f = future.new()
    function driver.send() return f end
    ask(1, { op = "call", id = 1, target = {}, packed = "p", args = { n = 0 }, timeout = 5 })
    worker.removed = true
    f:resolve(table.pack(1))
    for _ = 1, 5 do task.yield() end
    assert.is_nil(told[1])
  end)
end)
