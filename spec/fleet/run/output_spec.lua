-- SPDX-License-Identifier: MIT
local errors = require("fleet.errors")
local json = require("fleet.json")
local output = require("fleet.run.output")

--- An output and the list of chunks that it wrote.
local function new(opts)
  local chunks = {}
  opts.format = opts.format or "jsonl"
  opts.json = json
  opts.write = opts.write or function(bytes)
    chunks[#chunks + 1] = bytes
    return true
  end
  return output.new(opts), chunks
end

--- All that an output makes of rows {item, ok, value}, and its notes.
local function written(opts, rows)
  local out, chunks = new(opts)
  for _, row in ipairs(rows) do assert.is_true(out:row(row[1], row[2], row[3])) end
  local notes = assert(out:finish())
  return table.concat(chunks), notes
end

local REFUSED = errors.new({ kind = "connect", message = "refused" })

describe("output as jsonl", function()
  it("writes results and errors in order", function()
    assert.equal('{"item":"a","value":{"n":1}}\n'
      .. '{"item":{"u":"b"},"error":{"kind":"connect","message":"refused"}}\n'
      .. '{"item":3,"value":null}\n'
      .. '{"item":false,"value":"x\\n"}\n',
      (written({}, { { "a", true, { n = 1 } }, { { u = "b" }, false, REFUSED }, { 3, true },
        { false, true, "x\n" } })))
  end)

  it("puts kind and message first, the other fields of an error sorted", function()
    local err = errors.new({ message = "gone", kind = "lost", node = "n1", applied = "unknown",
      attempt = 2 })
    assert.equal('{"item":1,"error":{"kind":"lost","message":"gone","applied":"unknown",'
      .. '"attempt":2,"node":"n1"}}\n', (written({}, { { 1, false, err } })))
  end)

  it("makes an error of whatever a job gave for one", function()
    assert.equal('{"item":1,"error":{"kind":"raise","message":"oops"}}\n'
      .. '{"item":2,"error":{"kind":"raise","message":"nil"}}\n'
      .. '{"item":3,"error":{"kind":"raise","message":"an error without a message"}}\n',
      (written({}, { { 1, false, "oops" }, { 2, false }, { 3, false, {} } })))
  end)

  it("keeps the message of an error readable when it is not UTF-8", function()
    assert.equal('{"item":1,"error":{"kind":"raise","message":"a\\\\xff"}}\n',
      (written({}, { { 1, false, { kind = "raise", message = "a\xff" } } })))
  end)

  it("keeps kind and message when a field of the error has no JSON", function()
    assert.equal('{"item":1,"error":{"kind":"raise","message":"m"}}\n',
      (written({}, { { 1, false, { kind = "raise", message = "m", extra = print } } })))
  end)

  it("fails the item whose result has no JSON", function()
    local out, chunks = new({})
    assert.is_false(out:row("a", true, print))
    assert.is_true(out:row("b", true, 1))
    assert.same({}, out:finish())
    assert.equal('{"item":"a","error":{"kind":"encode",'
      .. '"message":"value: function cannot be written as JSON"}}\n'
      .. '{"item":"b","value":1}\n', table.concat(chunks))
  end)

  it("writes chunks, and the rest when flushed", function()
    local out, chunks = new({})
    out:row("a", true, 1)
    assert.same({}, chunks)
    assert.is_true(out:flush())
    assert.same({ '{"item":"a","value":1}\n' }, chunks)
    assert.is_true(out:flush())
    assert.equal(1, #chunks)
    for i = 1, 10000 do out:row(i, true, i) end
    assert.is_true(#chunks > 5 and #chunks < 20)
    out:finish()
    local _, lines = table.concat(chunks):gsub("\n", "")
    assert.equal(10001, lines)
  end)

  it("stops when writing fails, and says why ever after", function()
    local calls = 0
    local out = new({ write = function()
      calls = calls + 1
      return nil, "No space left on device"
    end })
    local ok, err = out:row("a", true, ("x"):rep(40000))
    assert.is_nil(ok)
    assert.equal("output", err.kind)
    assert.equal("No space left on device", err.message)
    for _, method in ipairs({ "flush", "finish" }) do
      ok, err = out[method](out)
      assert.is_nil(ok)
      assert.equal("No space left on device", err.message)
    end
    assert.is_nil((out:row("b", true, 1)))
    assert.equal(1, calls)
  end)

  it("sees a failure of the last write", function()
    local out = new({ write = function() return nil, REFUSED end })
    assert.is_true(out:row("a", true, 1))
    local notes, err = out:finish()
    assert.is_nil(notes)
    assert.equal("output", err.kind)
    assert.equal("refused", err.message)
  end)
end)

describe("output with reduce", function()
  local function sum(acc, n) return acc + n end

  it("writes the reduced value last, errors as they come", function()
    assert.equal('{"item":2,"error":{"kind":"connect","message":"refused"}}\n{"value":4}\n',
      (written({ reduce = sum, init = 0 }, { { 1, true, 1 }, { 2, false, REFUSED },
        { 3, true, 3 } })))
  end)

  it("gives init for no items, and nil to a reduce without init", function()
    assert.equal('{"value":0}\n', (written({ reduce = sum, init = 0 }, {})))
    assert.equal('{"value":null}\n', (written({ reduce = sum }, {})))
    assert.equal('{"value":5}\n', (written({ reduce = function(acc, n) return (acc or 0) + n end },
      { { 1, true, 5 } })))
  end)

  it("stops when reduce raises, and writes no value that looks whole", function()
    local out, pieces = new({ reduce = sum, init = 0 })
    assert.is_true(out:row(0, true, 1))
    local ok, err = out:row(1, true, {})
    assert.same({}, out:finish())
    assert.equal("", table.concat(pieces))
    assert.is_nil(ok)
    assert.equal("raise", err.kind)
    assert.matches("^reduce: .*attempt to perform arithmetic", err.message)
  end)

  it("says so when the reduced value has no JSON", function()
    local out = new({ reduce = function() return print end })
    assert.is_true(out:row(1, true, 1))
    local notes, err = out:finish()
    assert.is_nil(notes)
    assert.equal("encode", err.kind)
    assert.equal("the result of reduce: value: function cannot be written as JSON", err.message)
  end)

  it("is rows of names in CSV and tables", function()
    local function merge(acc, value)
      acc[value] = (acc[value] or 0) + 1
      return acc
    end
    local rows = { { 1, true, "b" }, { 2, true, "a" }, { 3, false, REFUSED }, { 4, true, "b" } }
    assert.equal("item,value,error_kind,error\r\n3,,connect,refused\r\na,1,,\r\nb,2,,\r\n",
      (written({ format = "csv", reduce = merge, init = {} }, rows)))
    assert.equal("item  value\n3     connect: refused\na         1\nb         2\n",
      (written({ format = "table", reduce = merge, init = {} }, rows)))
    assert.equal("item,value,error_kind,error\r\nresult,4,,\r\n",
      (written({ format = "csv", reduce = sum, init = 0 }, { { 1, true, 4 } })))
  end)
end)
