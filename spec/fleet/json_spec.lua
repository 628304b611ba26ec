-- SPDX-License-Identifier: MIT

local json = require("fleet.json")

describe("json.decode", function()
  local function fails(text, pattern)
    local value, err = json.decode(text)
    assert.is_nil(value)
    assert.equal("decode", err.kind)
    assert.matches(pattern, err.message)
  end

  it("keeps integers and floats apart", function()
    assert.equal("integer", math.type(json.decode("2")))
    assert.equal("float", math.type(json.decode("2.0")))
    assert.equal("float", math.type(json.decode("2e0")))
    assert.equal(math.maxinteger, json.decode("9223372036854775807"))
    assert.equal(math.mininteger, json.decode("-9223372036854775808"))
    assert.equal(-math.huge, 1 / json.decode("-0.0"))
  end)

  it("reads any value at the top", function()
    assert.is_true(json.decode(" true "))
    assert.is_false(json.decode("false"))
    assert.equal("x", json.decode('"x"'))
    assert.same({ a = { 1, { b = "c" } } }, json.decode('{"a":[1,{"b":"c"}]}'))
    assert.same({}, json.decode("[]"))
    assert.same({}, json.decode("{}"))
  end)

  it("makes null nil, without an error", function()
    local value, err = json.decode("null")
    assert.is_nil(value)
    assert.is_nil(err)
    assert.same({ [1] = 1, [3] = 3 }, json.decode("[1,null,3,null]"))
    assert.same({ b = 1 }, json.decode('{"a":null,"b":1}'))
  end)

  it("reads escapes, NUL too", function()
    assert.equal("a\0b\n\u{e9}\u{1F600}/", json.decode('"a\\u0000b\\n\\u00e9\\ud83d\\ude00\\/"'))
  end)

  it("lets the last of equal names win", function()
    assert.same({ a = 2 }, json.decode('{"a":1,"a":2}'))
  end)

  it("says line and column of what is wrong", function()
    fails("", "line 1 column 0")
    fails("[1,\n  x]", "line 2 column 3")
    fails("{", "line 1")
    fails("1 2", "line 1 column 3")
    fails("[1,]", "line 1")
    fails("'a'", "line 1")
    fails("nul", "line 1")
    fails("NaN", "line 1")
    fails('"\xff"', "0xff")
    fails("[1]\0", "line 1")
  end)

  it("makes floats of whole numbers that 64 bits do not hold", function()
    for text, value in pairs({
      ["9223372036854775808"] = 0x1p63, ["-9223372036854775809"] = -0x1p63,
      ["18446744073709551615"] = 0x1p64, [" 18446744073709551616 "] = 0x1p64,
      ["123456789012345678901234567890"] = 123456789012345678901234567890,
      ["1" .. ("0"):rep(300)] = 1e300,
    }) do
      assert.same({ "float", value }, { math.type(json.decode(text)), json.decode(text) }, text)
    end
    assert.same({ id = 0x1p64, n = 1 }, json.decode('{"id":18446744073709551615,"n":1}'))
    math.randomseed(5)
    for _ = 1, 2000 do
      local digits = { math.random(1, 9) }
      for i = 2, math.random(17, 30) do digits[i] = math.random(0, 9) end
      local text = (math.random(2) == 1 and "-" or "") .. table.concat(digits)
      assert.equal(tonumber(text), json.decode("[" .. text .. "]")[1], text)
      assert.equal(math.type(tonumber(text)), math.type(json.decode(text)), text)
    end
  end)

  it("makes the largest float of what is beyond all floats", function()
    local largest = 1.7976931348623157e308
    for _, text in ipairs({ "1e999", "2E+400", "1.8e308", ("9"):rep(400), "0.1e310" }) do
      assert.equal(largest, json.decode(text), text)
      assert.equal(-largest, json.decode("-" .. text), text)
    end
    assert.equal(largest, json.decode("1.7976931348623157e308"))
    assert.equal(0.0, json.decode("1e-999"))
    assert.same({ largest, "1e999", 1e308 }, json.decode('[1e999,"1e999",1e308]'))
  end)

  it("makes U+FFFD of half a surrogate pair", function()
    for text, value in pairs({
      ["\\ud83d"] = "\u{FFFD}", ["\\uDE00"] = "\u{FFFD}", ["a\\ud83db"] = "a\u{FFFD}b",
      ["\\ud83d\\ud83d\\ude00"] = "\u{FFFD}\u{1F600}", ["\\ud83d\\n"] = "\u{FFFD}\n",
      ["\\ude00\\ud83d"] = "\u{FFFD}\u{FFFD}", ["\\ud83d\\u0041"] = "\u{FFFD}A",
      ["\\\\ud83d"] = "\\ud83d", ["\\\\\\ud83d"] = "\\\u{FFFD}",
    }) do
      assert.equal(value, json.decode('"' .. text .. '"'), text)
      assert.equal(1, json.decode('{"' .. text .. '":1}')[value], text)
    end
  end)

  it("says where an error is in the text as it was", function()
    fails("[1e999, 18446744073709551615, x]", "line 1 column 31: invalid token near 'x'")
    fails("[1e999,\n2e999,  x]", "line 2 column 9: invalid token near 'x'")
    fails('["\\ud83d", x]', "line 1 column 12: invalid token near 'x'")
    fails('["é", 1e999, x]', "line 1 column 14: invalid token near 'x'")
    fails("0123456789012345678901234567890", "line 1 column 1")
    fails("[-018446744073709551615]", "line 1 column")
    fails("[18446744073709551615 18446744073709551615]", "line 1 column 42")
    fails('"\\ud83d', "line 1")
    fails('"\\ud83', "line 1")
  end)

  it("skips a byte order mark at the beginning", function()
    assert.same({ 1 }, json.decode("\u{FEFF}[1]"))
    fails("\u{FEFF}[x]", "line 1 column 2")
    fails("[\u{FEFF}1]", "line 1")
    assert.equal("\u{FEFF}", json.decode('"\u{FEFF}"'))
  end)

  it("limits the depth", function()
    local deep = ("["):rep(100) .. ("]"):rep(100)
    assert.is_table(json.decode(deep))
    fails("[" .. deep .. "]", "deep")
    fails(('{"a":'):rep(100) .. "[]" .. ("}"):rep(100), "deep")
    fails(("["):rep(1000000), "depth")
  end)

  it("wants a string", function()
    assert.error(function() json.decode({}) end)
    assert.error(function() json.decode() end)
  end)
end)

describe("json.encode", function()
  local function fails(value, message)
    local text, err = json.encode(value)
    assert.is_nil(text)
    assert.equal("encode", err.kind)
    assert.equal(message, err.message)
  end

  it("writes scalars", function()
    assert.equal("null", json.encode(nil))
    assert.equal("true", json.encode(true))
    assert.equal("false", json.encode(false))
    assert.equal("0", json.encode(0))
    assert.equal("-9223372036854775808", json.encode(math.mininteger))
    assert.equal("9223372036854775807", json.encode(math.maxinteger))
  end)

  it("writes floats short, and as floats", function()
    for text, value in pairs({
      ["1.0"] = 1.0, ["0.0"] = 0.0, ["-0.0"] = -0.0, ["-3.0"] = -3.0, ["0.1"] = 0.1,
      ["0.3"] = 0.3, ["0.30000000000000004"] = 0.1 + 0.2, ["123456.789"] = 123456.789,
      ["0.6666666666666666"] = 2 / 3, ["999999999999999.0"] = 999999999999999.0,
      ["1e+15"] = 1e15, ["1e+300"] = 1e300, ["1e-07"] = 1e-7,
    }) do
      assert.equal(text, json.encode(value))
    end
  end)

  it("writes floats that read back as the same float", function()
    local seed = 42
    for _ = 1, 2000 do
      seed = (seed * 6364136223846793005 + 1442695040888963407)
      local value = string.unpack("d", string.pack("j", seed ~ seed >> 29))
      if value == value and math.abs(value) ~= math.huge then
        local back = json.decode(json.encode(value))
        assert.equal("float", math.type(back))
        assert.equal(value, back)
      end
    end
  end)

  it("writes NaN and infinities as strings", function()
    assert.equal('["NaN","Infinity","-Infinity"]', json.encode({ 0 / 0, 1 / 0, -1 / 0 }))
  end)

  it("escapes what must be and nothing more", function()
    assert.equal([["\"\\/\b\f\n\r\t\u0000\u001f\u007f"]],
      json.encode("\"\\/\b\f\n\r\t\0\31\127"))
    assert.equal([["é😀\u2028\u2029‪"]], json.encode("é😀\u{2028}\u{2029}\u{202a}"))
  end)

  it("escapes what a terminal would obey", function()
    assert.equal([["\u001b[31m\u007f\u0080\u009b2J"]], json.encode("\27[31m\127\u{80}\u{9b}2J"))
    assert.equal("\u{85}", json.decode(json.encode("\u{85}")))
    assert.equal([[{"\u009f":1}]], json.encode({ ["\u{9f}"] = 1 }))
  end)

  it("loses no byte of a string that is not UTF-8", function()
    assert.equal('{"base64":"/w=="}', json.encode("\xff"))
    assert.equal('{"base64":"//4="}', json.encode("\xff\xfe"))
    assert.equal('{"base64":"YWL/"}', json.encode("ab\xff"))
    for _, bad in ipairs({
      "\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82",
      "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "a\xe2\x28\xa1", "\xf0\x9f\x98",
    }) do
      assert.matches('^{"base64":"[%w+/]+=*"}$', json.encode(bad))
    end
    for _, good in ipairs({
      "\xc2\xa0", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
      "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf",
    }) do
      assert.equal('"' .. good .. '"', json.encode(good))
    end
  end)

  it("tells arrays, arrays with holes and objects apart", function()
    assert.equal("[]", json.encode({}))
    assert.equal("[1,[2],3]", json.encode({ 1, { 2 }, 3 }))
    assert.equal("[1,null,3]", json.encode({ 1, nil, 3 }))
    assert.equal("[null,null,null,null,null,null,null,null,null,1]", json.encode({ [10] = 1 }))
    assert.equal('{"11":1}', json.encode({ [11] = 1 }))
    assert.equal('{"0":0,"1":1}', json.encode({ [0] = 0, 1 }))
    assert.equal('{"-1":1}', json.encode({ [-1] = 1 }))
    assert.equal('{"9223372036854775807":1}', json.encode({ [math.maxinteger] = 1 }))
    assert.equal('{"1":1,"x":2}', json.encode({ 1, x = 2 }))
    assert.equal('{"1.5":1,"Infinity":2,"false":3}',
      json.encode({ [1.5] = 1, [1 / 0] = 2, [false] = 3 }))
  end)

  it("takes a field n beside a list for its length", function()
    assert.equal("[1,2]", json.encode({ 1, 2, n = 2 }))
    assert.equal("[1,2]", json.encode(table.pack(1, 2)))
    assert.equal("[1,null,3,null]", json.encode(table.pack(1, nil, 3, nil)))
    assert.equal('[["a"],[]]', json.encode({ { "a", n = 1 }, {}, n = 2 }))
    assert.equal('{"1":1,"2":2,"n":1}', json.encode({ 1, 2, n = 1 })) -- it is not the length
    assert.equal('{"1":1,"n":"1"}', json.encode({ 1, n = "1" }))
    assert.equal('{"1":1,"n":1.0}', json.encode({ 1, n = 1.0 }))
    assert.equal('{"1":1,"n":100}', json.encode({ 1, n = 100 })) -- as with too many holes
    assert.equal('{"1":1,"m":1,"n":1}', json.encode({ 1, n = 1, m = 1 }))
    assert.equal('{"n":2}', json.encode({ n = 2 })) -- an object as good as any
    assert.equal('{"n":0}', json.encode({ n = 0 }))
  end)

  it("sorts names by their bytes, at every level", function()
    assert.equal('{"":0,"A":1,"a":2,"a b":3,"aa":4,"b":5,"é":6}',
      json.encode({ ["é"] = 6, b = 5, aa = 4, ["a b"] = 3, a = 2, A = 1, [""] = 0 }))
    local nested, want = {}, {}
    for i = 1, 200 do
      nested[("k%03d"):format(i)] = { y = i, x = { d = 1, c = 2 } }
      want[i] = ('"k%03d":{"x":{"c":2,"d":1},"y":%d}'):format(i, i)
    end
    assert.equal("{" .. table.concat(want, ",") .. "}", json.encode(nested))
  end)

  it("refuses two keys of one text", function()
    fails({ a = { [1] = 1, ["1"] = 2 } }, 'value.a: two keys are both "1" in JSON')
    fails({ [true] = 1, ["true"] = 2 }, 'value: two keys are both "true" in JSON')
  end)

  it("writes names that are not UTF-8", function()
    assert.equal('{"base64:/w==":1}', json.encode({ ["\xff"] = 1 }))
    assert.equal('{"base64:YQr/":1}', json.encode({ ["a\n\xff"] = 1 }))
    assert.equal([[{"\n\"":1}]], json.encode({ ['\n"'] = 1 }))
  end)

  it("writes a shared table twice and refuses a cycle", function()
    local shared = { 1 }
    assert.equal('{"a":[1],"b":[1]}', json.encode({ a = shared, b = shared }))
    local cycle = { rows = {} }
    cycle.rows[1] = { self = cycle }
    fails(cycle, "value.rows[1].self: the table contains itself")
  end)

  it("names what cannot be written", function()
    fails(print, "value: function cannot be written as JSON")
    fails({ rows = { 1, { cb = print } } }, "value.rows[2].cb: function cannot be written as JSON")
    fails({ x = coroutine.create(print) }, "value.x: thread cannot be written as JSON")
    fails({ x = { [{}] = 1 } }, "value.x: a key that is a table cannot be written as JSON")
  end)

  it("limits the depth", function()
    local deep = {}
    for _ = 1, 99 do deep = { deep } end
    assert.equal(("["):rep(100) .. ("]"):rep(100), json.encode(deep))
    local text, err = json.encode({ deep })
    assert.is_nil(text)
    assert.equal("encode", err.kind)
    assert.matches("deep", err.message)
  end)

  it("ignores metatables", function()
    local trap = setmetatable({ a = 1 }, {
      __index = error, __pairs = error, __len = error, __tostring = error, __name = "x",
    })
    assert.equal('{"a":1}', json.encode(trap))
  end)

  it("is not disturbed by a failure or a large text before", function()
    json.encode({ a = { b = { c = print, d = 1 } } })
    assert.equal(2 + 4 * 1024 * 1024, #json.encode(("x"):rep(4 * 1024 * 1024)))
    assert.equal('{"a":1,"b":{"c":2}}', json.encode({ b = { c = 2 }, a = 1 }))
  end)
end)

describe("json.encode_record", function()
  it("keeps the order of the members", function()
    assert.equal('{"item":"u","value":{"a":1,"b":2}}',
      json.encode_record("item", "u", "value", { b = 2, a = 1 }))
    assert.equal('{"b":null,"a":true}', json.encode_record("b", nil, "a", true))
    assert.equal("{}", json.encode_record())
  end)

  it("escapes names", function()
    assert.equal([[{"a\"b":1}]], json.encode_record('a"b', 1))
  end)

  it("starts the path of an error with the member", function()
    local text, err = json.encode_record("item", 1, "value", { a = { print } })
    assert.is_nil(text)
    assert.equal("encode", err.kind)
    assert.equal("value.a[1]: function cannot be written as JSON", err.message)
    assert.equal('{"item":1}', json.encode_record("item", 1))
  end)

  it("raises for misuse", function()
    assert.error(function() json.encode_record("a") end)
    assert.error(function() json.encode_record("a", 1, 2, 3) end)
    assert.error(function() json.encode_record(nil, 1) end)
  end)
end)
