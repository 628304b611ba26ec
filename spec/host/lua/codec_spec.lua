-- SPDX-License-Identifier: MIT
-- The Lua side of the codec; formats and limits of the C side are in codec_test.c.

local codec = require("host.codec")

--- The one error that `...` (nil, err, more) is made of
local function failure(kind, value, err)
  assert.is_nil(value)
  assert.equal(kind, err.kind)
  return err.message
end

describe("codec.encode and codec.decode", function()
  it("carry every kind of value", function()
    for _, value in ipairs({
      true, false, 0, -1, 127, 128, 1 << 40, math.mininteger, math.maxinteger, 0.5, 0.1, 1.0,
      1 / 0, -1 / 0, "", "text", "\0\xff\xfe", ("x"):rep(70000), {}, { 1, "a", { {} } },
      { a = 1, b = { c = 2 } }, { [0] = "zero", [-5] = "minus", [2.5] = "float", [true] = "yes" },
      { 1, nil, 3 }, { [3] = 3 }, { 1, x = 2 },
    }) do
      local bytes = assert(codec.encode(value))
      local back, after = codec.decode(bytes)
      assert.same(value, back)
      assert.equal(math.type(value), math.type(back))
      assert.equal(#bytes + 1, after)
    end
  end)

  it("carry nil and NaN", function()
    local value, after = codec.decode(codec.encode(nil))
    assert.is_nil(value)
    assert.equal(2, after)
    local nan = codec.decode(codec.encode(0 / 0))
    assert.is_true(nan ~= nan)
  end)

  it("do not carry metatables, nor ask them", function()
    local trap = setmetatable({ a = 1 }, { __index = error, __pairs = error, __len = error })
    local back = codec.decode(codec.encode(trap))
    assert.same({ a = 1 }, back)
    assert.is_nil(getmetatable(back))
  end)

  it("name the place of what cannot be sent", function()
    assert.equal("result.rows[3].cb: function cannot be sent",
      failure("encode", codec.encode({ rows = { 1, 2, { cb = print } } }, "result")))
    assert.equal("value: thread cannot be sent",
      failure("encode", codec.encode(coroutine.create(print))))
    assert.equal("value: userdata cannot be sent", failure("encode", codec.encode(io.stdout)))
  end)

  it("keep to max_bytes", function()
    assert.equal(12, #codec.encode(("x"):rep(11), "value", 12))
    assert.matches("limit of 11 bytes", failure("too_large", codec.encode(("x"):rep(11), "v", 11)))
    assert.matches("limit of 3 bytes", failure("too_large", codec.encode({ 1, 2, 3 }, "v", 3)))
    assert.error(function() codec.encode(1, "v", 0) end)
    assert.equal("\1", codec.encode(1)) -- and are not spoilt by it
  end)

  it("read from a position on", function()
    local bytes = codec.encode("ab") .. codec.encode(7)
    local value, after = codec.decode(bytes, 4)
    assert.same({ 7, 5 }, { value, after })
    assert.matches("ends", failure("decode", codec.decode(bytes, 5)))
    assert.error(function() codec.decode(bytes, 6) end)
    assert.error(function() codec.decode(bytes, 0) end)
  end)

  it("refuse what is malformed", function()
    for _, bytes in ipairs({
      "", "\xc1", "\x92\1", "\xa2a", "\x81\1", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff\1\1",
      "\xdb\xff\xff\xff\xff", "\xc7\1\1\1", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
      "\x81\xc0\1", "\x81\xcb\x7f\xf8\0\0\0\0\0\0\1", "\x81\x90\1", ("\x91"):rep(200) .. "\1",
    }) do
      failure("decode", codec.decode(bytes))
    end
  end)

  it("survive large values and give their memory back", function()
    local bytes = codec.encode(("x"):rep(8 * 1024 * 1024))
    assert.equal(8 * 1024 * 1024 + 5, #bytes)
    assert.equal("\1", codec.encode(1))
  end)
end)

describe("codec.encode_list and codec.decode_all", function()
  it("carry a range of a list, nil included", function()
    local list = { "a", nil, { 1 }, 4.5 }
    local bytes = codec.encode_list(list, 1, 4)
    assert.equal(codec.encode("a") .. codec.encode(nil) .. codec.encode({ 1 }) ..
      codec.encode(4.5), bytes)
    local back, n = codec.decode_all(bytes)
    assert.equal(4, n)
    assert.same({ "a", nil, { 1 }, 4.5 }, back)
    assert.equal(codec.encode({ 1 }), codec.encode_list(list, 3, 3))
    assert.equal("", codec.encode_list(list, 3, 2))
    assert.equal("\xc0", codec.encode_list(list, math.maxinteger, math.maxinteger))
  end)

  it("say which element failed", function()
    local bytes, err, index = codec.encode_list({ 1, 2, { cb = print } }, 2, 3)
    assert.equal("value.cb: function cannot be sent", failure("encode", bytes, err))
    assert.equal(3, index)
    bytes, err, index = codec.encode_list({ "aaaa", "bbbb" }, 1, 2, 8, "item")
    assert.matches("^item: over the limit of 8 bytes", failure("too_large", bytes, err))
    assert.equal(2, index)
  end)

  it("let a table stand in two elements", function()
    local shared = { 1 }
    assert.same({ { 1 }, { 1 } }, (codec.decode_all(codec.encode_list({ shared, shared }, 1, 2))))
  end)

  it("take nothing for nothing, and no part for all", function()
    assert.same({ {}, 0 }, { codec.decode_all("") })
    failure("decode", codec.decode_all("\1\2\x92\1"))
  end)
end)
