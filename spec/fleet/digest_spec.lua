-- SPDX-License-Identifier: MIT

local digest = require("fleet.digest")

-- NIST FIPS 180-4 examples and RFC 4231
local SHA256 = {
  [""] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  ["abc"] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  ["abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"] =
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
  [("a"):rep(1000000)] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
}

local function from_hex(text)
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

describe("digest", function()
  it("agrees with the published vectors", function()
    for text, expected in pairs(SHA256) do
      assert.equal(expected, digest.sha256(text))
      assert.equal(expected, digest.new():update(text):hex())
    end
  end)

  it("agrees with sha256sum on bytes of every value and length around a block", function()
    local path = os.tmpname()
    for _, size in ipairs({ 1, 55, 56, 63, 64, 65, 119, 120, 10007 }) do
      local bytes = {}
      for i = 1, size do bytes[i] = string.char((i * 7 + i // 256) % 256) end
      local text = table.concat(bytes)
      local file = assert(io.open(path, "wb"))
      file:write(text)
      file:close()
      local pipe = assert(io.popen("sha256sum " .. path))
      assert.equal(pipe:read("a"):match("^%x+"), digest.sha256(text))
      pipe:close()
    end
    os.remove(path)
  end)

  it("gives the same for any cut into pieces", function()
    local text = ("0123456789abcdef"):rep(40) .. "\0"
    for step = 1, 130, 7 do
      local d <close> = digest.new()
      for at = 1, #text, step do d:update(text:sub(at, at + step - 1)) end
      assert.equal(digest.sha256(text), d:hex())
    end
  end)

  it("tells the digest so far and goes on", function()
    local d = digest.new():update("a")
    assert.equal(digest.sha256("a"), d:hex())
    assert.equal(digest.sha256("a"), d:hex())
    assert.equal(digest.sha256("abc"), d:update("bc"):hex())
  end)

  it("raises after close, which may be called twice", function()
    local d = digest.new()
    d:close()
    d:close()
    assert.error_matches(function() d:update("x") end, "closed")
    assert.error_matches(function() d:hex() end, "closed")
  end)

  it("raises on what is no string", function()
    for _, f in ipairs({ digest.sha256, digest.hmac_sha256, digest.new().update }) do
      assert.error(function() f({}) end)
      assert.error(function() f() end)
    end
    assert.error_matches(function() digest.hmac_sha256("key") end, "#2")
    assert.error(function() digest.new().update("not a digest", "x") end)
  end)
end)

describe("digest.hmac_sha256", function()
  it("agrees with RFC 4231", function()
    local vectors = {
      { ("\x0b"):rep(20), "Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
      { "Jefe", "what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
      { from_hex("0102030405060708090a0b0c0d0e0f10111213141516171819"), ("\xcd"):rep(50),
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b" },
      { ("\xaa"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
    }
    for _, v in ipairs(vectors) do assert.equal(v[3], digest.hmac_sha256(v[1], v[2])) end
  end)

  it("agrees with the definition for keys around a block, and empty ones", function()
    local function by_definition(key, text)
      if #key > 64 then key = from_hex(digest.sha256(key)) end
      key = key .. ("\0"):rep(64 - #key)
      local function pad(byte)
        return (key:gsub(".", function(c) return string.char(c:byte() ~ byte) end))
      end
      return digest.sha256(pad(0x5c) .. from_hex(digest.sha256(pad(0x36) .. text)))
    end
    for _, size in ipairs({ 0, 1, 63, 64, 65, 1000 }) do
      assert.equal(by_definition(("k"):rep(size), ""), digest.hmac_sha256(("k"):rep(size), ""))
    end
  end)
end)
