-- SPDX-License-Identifier: MIT

local secret = require("host.secret")

describe("host.secret", function()
  it("has bytes that nothing shows", function()
    local s = secret.new("k3y\0")
    assert.equal(4, s:size())
    assert.matches("^host%.secret: 0x", tostring(s))
    assert.is_false(pcall(function() return s .. "" end))
    assert.is_false(getmetatable(s))
    s:close()
    s:close()
    assert.equal(0, s:size())
  end)

  it("takes an object of JSON apart and keeps one member", function()
    local s = secret.new('{"P": {"Value": "a\\nb", "Version": 3, "x": 1.5, "t": true, "n": null, '
      .. '"o": {"Value": "z"}, "s": "text"}}')
    local found = s:member("P", "Value")
    assert.equal(3, found.Value:size())
    found.Value = nil
    assert.same({ Version = 3, x = 1.5, t = true, s = "text" }, found)
    assert.is_nil(s:member("Q", "Value"))
    for _, text in ipairs({ "", "{", "[]", "3", '"P"', '{"P": 3}', '{"P": []}', "{}" }) do
      assert.is_nil(secret.new(text):member("P", "Value"))
    end
    assert.equal(1, secret.new('{"P":{"Value":7}}'):member("P", "Value").Value / 7)
    assert.is_nil(s:close())
    assert.is_nil(s:member("P", "Value"))
  end)

  it("is taken from nothing else", function()
    for _, wrong in ipairs({ 3, "text", {}, print }) do
      assert.is_false(pcall(secret.new("x").size, wrong))
    end
    assert.is_false(pcall(secret.new))
    assert.is_false(pcall(secret.new, {}))
  end)
end)
