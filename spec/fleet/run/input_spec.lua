-- SPDX-License-Identifier: MIT
local errors = require("fleet.errors")
local input = require("fleet.run.input")

-- Stands for fleet.json.decode: null is nil, failure is nil and an error.
local JSON = { ['{"a":[1,2]}'] = { a = { 1, 2 } }, ['"x"'] = "x", ["false"] = false, ["0"] = 0,
  ["1"] = 1, ["2"] = 2 }

local function decode(s)
  if s == "null" then return nil end
  if JSON[s] ~= nil then return JSON[s] end
  return nil, errors.new({ kind = "decode", message = "line 1 column 2: string expected" })
end

local function reader(chunks, err)
  local at = 0
  return function()
    at = at + 1
    if chunks[at] then return chunks[at] end
    return nil, err
  end
end

--- Everything a source gives: items, and the errors by position.
local function drain(source)
  local items, faults = {}, {}
  while true do
    local item, err = source()
    if item == nil then return items, faults, err end
    items[#items + 1] = item
    faults[#items] = err
  end
end

local function lines(chunks)
  local items, faults, err = drain(input.lines(reader(chunks), "f"))
  assert.is_nil(err)
  assert.same({}, faults)
  return items
end

describe("input.lines", function()
  it("splits at LF and drops one CR", function()
    assert.same({ "a", "b", "c\r", "d\re" }, lines({ "a\nb\r\nc\r\r\nd\re\n" }))
  end)

  it("takes empty lines for items, and a last line that nothing ends", function()
    assert.same({}, lines({}))
    assert.same({}, lines({ "" }))
    assert.same({ "" }, lines({ "\n" }))
    assert.same({ "", "", "a" }, lines({ "\n\r\na" }))
    assert.same({ "a" }, lines({ "a\r" }))
  end)

  it("keeps any other bytes", function()
    assert.same({ "a\0b", "\xff\t " }, lines({ "a\0b\n\xff\t \n" }))
  end)

  it("drops a byte order mark at the start only", function()
    assert.same({ "a", "\u{FEFF}b" }, lines({ "\u{FEFF}a\n\u{FEFF}b\n" }))
    assert.same({ "a" }, lines({ "\xEF", "\xBB", "\xBFa\n" }))
  end)

  it("does not mind where chunks end", function()
    math.randomseed(42)
    local alphabet = { "\n", "\r", "\r\n", "a", "bc", "\0", "", "\u{FEFF}", "\n\n", ("x"):rep(50) }
    for _ = 1, 500 do
      local pieces = {}
      for i = 1, math.random(0, 30) do pieces[i] = alphabet[math.random(#alphabet)] end
      local whole = table.concat(pieces)
      local chunks, at = {}, 1
      while at <= #whole do
        local size = math.random(0, 7)
        chunks[#chunks + 1] = whole:sub(at, at + size - 1)
        at = at + size
      end
      -- The plain definition: end every line, then match whole lines.
      local expected = {}
      for line in (whole:gsub("^\u{FEFF}", ""):gsub("([^\n])$", "%1\n")):gmatch("([^\n]*)\n") do
        expected[#expected + 1] = line:gsub("\r$", "")
      end
      if whole ~= "\u{FEFF}" then assert.same(expected, lines(chunks)) end
    end
  end)

  local LIMIT = 16 * 1024 * 1024

  it("takes lines of up to 16 MiB", function()
    local longest = ("x"):rep(LIMIT)
    assert.same({ longest, "y" }, lines({ longest .. "\ny" }))
    assert.same({ longest, "y" }, lines({ longest:sub(1, -8), longest:sub(-7) .. "\n", "y\n" }))
  end)

  it("fails a longer line and goes on", function()
    local megabyte = ("ü"):rep(512 * 1024)
    local pieces = { "first\n" }
    for _ = 1, 17 do pieces[#pieces + 1] = megabyte end
    pieces[#pieces + 1] = "\nlast\n"
    for _, chunks in ipairs({ pieces, { table.concat(pieces) } }) do
      local items, faults, err = drain(input.lines(reader(chunks), "big.txt"))
      assert.is_nil(err)
      assert.equal(3, #items)
      assert.equal("last", items[3])
      assert.same({ 2 }, { (next(faults)) })
      assert.equal("input", faults[2].kind)
      assert.equal("big.txt:2: the line has 17825792 bytes, more than the limit of 16777216",
        faults[2].message)
      assert.is_true(#items[2] <= 200)
      assert.is_truthy(utf8.len(items[2]))
    end
  end)

  it("ends with an error when reading fails, without the line that was cut", function()
    for _, err in ipairs({ "Input/output error", errors.new({ kind = "x",
        message = "Input/output error" }) }) do
      local source = input.lines(reader({ "a\nb\nhal" }, err), "disk.txt")
      local items, _, fault = drain(source)
      assert.same({ "a", "b" }, items)
      assert.equal("input", fault.kind)
      assert.equal("disk.txt: cannot read on after line 2: Input/output error", fault.message)
      assert.same({}, { source() })
    end
  end)

  it("stays at its end and asks for no more", function()
    local asked = 0
    local source = input.lines(function() asked = asked + 1 end, "f")
    for _ = 1, 3 do assert.is_nil(source()) end
    assert.equal(1, asked)
  end)

  it("reads only what it needs", function()
    local asked = 0
    local source = input.lines(function()
      asked = asked + 1
      return "a\nb\n"
    end, "f")
    source()
    source()
    assert.equal(1, asked)
  end)
end)

describe("input.jsonl", function()
  local function jsonl(chunks, err)
    return drain(input.jsonl(reader(chunks, err), "in.jsonl", decode))
  end

  it("gives the values, also false, and skips blank lines", function()
    local items, faults, err = jsonl({ '{"a":[1,2]}\r\n\n  \n"x"\nfalse\n0', "" })
    assert.same({ { a = { 1, 2 } }, "x", false, 0 }, items)
    assert.same({}, faults)
    assert.is_nil(err)
  end)

  it("fails bad lines by number, with the line as the item, and goes on", function()
    local items, faults, err = jsonl({ "1\n\n{bad\nnull\n2\n" })
    assert.is_nil(err)
    assert.same({ 1, "{bad", "null", 2 }, items)
    assert.matches("^in%.jsonl:3: column 2: string expected$", faults[2].message)
    assert.equal("in.jsonl:4: null cannot be an item", faults[3].message)
    assert.equal("input", faults[2].kind)
    assert.equal("input", faults[3].kind)
    assert.is_nil(faults[4])
  end)

  it("passes on the errors of reading", function()
    local items, _, err = jsonl({ "1\n2" }, "gone")
    assert.same({ 1 }, items)
    assert.equal("in.jsonl: cannot read on after line 1: gone", err.message)
  end)

  it("does not decode a line that is too long", function()
    local items, faults = drain(input.jsonl(reader({ '"' .. ("x"):rep(17 << 20) .. '"\n1\n' }),
      "f", decode))
    assert.equal(1, items[2])
    assert.matches("more than the limit", faults[1].message)
  end)
end)

describe("input.words", function()
  it("gives the words in order, then nil for good", function()
    local source = input.words({ "a", "", "b" })
    assert.same({ "a", "", "b" }, (drain(source)))
    assert.is_nil(source())
  end)
end)

describe("input.from_job", function()
  local function items_of(items)
    local got, _, err = drain(input.from_job(items))
    return got, err
  end

  it("takes lists, and functions that return one", function()
    assert.same({ 1, { 2 }, false }, (items_of({ 1, { 2 }, false })))
    assert.same({ "x", "y" }, (items_of(function() return { "x", "y" } end)))
    assert.same({}, (items_of({})))
  end)

  it("takes what a generic for takes", function()
    assert.same({ "a", "b" }, (items_of(function() return ("a b"):gmatch("%a") end)))
    assert.same({ 1, 2 }, (items_of(function() return ipairs({ "x", "y" }) end)))
    local callable = setmetatable({}, { __call = function(_, _, last)
      return (last or 0) < 3 and (last or 0) + 1 or nil
    end })
    assert.same({ 1, 2, 3 }, (items_of(function() return callable end)))
  end)

  it("does not run items() before it must", function()
    local ran = false
    local source = input.from_job(function() ran = true return {} end)
    assert.is_false(ran)
    source()
    assert.is_true(ran)
  end)

  it("takes a list whose field n is its length", function()
    assert.same({ "a", "b" }, (items_of(table.pack("a", "b"))))
    assert.same({ "a", "b" }, (items_of({ "a", "b", "c", n = 2 })))
    assert.same({}, (items_of({ n = 0 })))
    assert.equal("items: the list has a key that is no position: 'n'",
      select(2, items_of({ "a", n = "many" })).message)
    assert.equal("items: the list has a hole at 2", select(2, items_of({ "a", n = 2 })).message)
  end)

  it("drops nothing behind a hole and nothing under a name", function()
    local got, err = items_of({ 1, x = 2 })
    assert.same({}, got)
    assert.equal("usage", err.kind)
    assert.equal("items: the list has a key that is no position: 'x'", err.message)
    for _, holed in ipairs({ { 1, nil, 3 }, { [2] = 2 }, { [1] = 1, [2] = 2, [4] = 4 } }) do
      got, err = items_of(holed)
      assert.same({}, got)
      assert.equal("usage", err.kind)
    end
  end)

  it("refuses what is no source", function()
    local got, err = items_of(function() return 3 end)
    assert.same({}, got)
    assert.equal("usage", err.kind)
    assert.equal("items() must return a list or an iterator, got number", err.message)
    got, err = items_of(function() end)
    assert.same({}, got)
    assert.equal("items() must return a list or an iterator, got nil", err.message)
  end)

  it("ends with what items() or its iterator raises", function()
    local got, err = items_of(function() error("no\nway") end)
    assert.same({}, got)
    assert.equal("raise", err.kind)
    assert.matches("^items: .*input_spec.lua:%d+: no$", err.message)
    local source = input.from_job(function()
      local n = 0
      return function()
        n = n + 1
        if n > 2 then error({ kind = "lost", message = "the far end went" }) end
        return n
      end
    end)
    local items, _, fault = drain(source)
    assert.same({ 1, 2 }, items)
    assert.equal("items: the far end went", fault.message)
    assert.same({}, { source() })
  end)
end)

describe("input.chain", function()
  it("joins sources and asks each once for its end", function()
    local ends = 0
    local function ending() ends = ends + 1 end
    local source = input.chain({ input.words({ 1, 2 }), ending, input.words({ false }) })
    assert.same({ 1, 2, false }, (drain(source)))
    assert.is_nil(source())
    assert.equal(1, ends)
    assert.same({}, (drain(input.chain({}))))
  end)

  it("passes bad items on and ends at an error", function()
    local source = input.chain({
      input.jsonl(reader({ "x\n1\n" }), "a", decode),
      input.lines(reader({ "b\n" }, "gone"), "b"),
      input.words({ "never" }),
    })
    local items, faults, err = drain(source)
    assert.same({ "x", 1, "b" }, items)
    assert.matches("^a:1: ", faults[1].message)
    assert.equal("b: cannot read on after line 1: gone", err.message)
    assert.same({}, { source() })
  end)
end)

describe("input.limit", function()
  it("ends after n items and asks for no more", function()
    local asked = 0
    local source = input.limit(function() asked = asked + 1 return asked end, 3)
    assert.same({ 1, 2, 3 }, (drain(source)))
    assert.is_nil(source())
    assert.equal(3, asked)
  end)

  it("ends with a source that is shorter, and keeps errors", function()
    assert.same({ 1 }, (drain(input.limit(input.words({ 1 }), 9))))
    local _, _, err = drain(input.limit(input.lines(reader({}, "gone"), "f"), 9))
    assert.equal("f: cannot read: gone", err.message)
  end)
end)

describe("input.sample", function()
  it("gives each item with the probability", function()
    local numbers, at = { 0.05, 0.5, 0.0999, 0.1 }, 0
    local function random() at = at + 1 return numbers[at] end
    assert.same({ 1, 3 }, (drain(input.sample(input.words({ 1, 2, 3, 4 }), 0.1, random))))
  end)

  it("gives those that the items themselves decide on", function()
    local function random(item) return item / 10 end
    assert.same({ 1, 2 }, (drain(input.sample(input.words({ 1, 5, 2 }), 0.3, random))))
  end)

  it("gives all at 1, and never drops the error at the end", function()
    local source = input.sample(input.lines(reader({ "a\nb\n" }, "gone"), "f"), 1,
      function() return 0.9999 end)
    local items, _, err = drain(source)
    assert.same({ "a", "b" }, items)
    assert.matches("gone", err.message)
    items, _, err = drain(input.sample(input.lines(reader({ "a\n" }, "gone"), "f"), 0.5,
      function() return 0.9 end))
    assert.same({}, items)
    assert.matches("gone", err.message)
  end)
end)
