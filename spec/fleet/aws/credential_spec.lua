-- SPDX-License-Identifier: MIT

local codec = require("host.codec")
local json = require("fleet.json")
local pretty = require("fleet.base.pretty")
local credential = require("fleet.aws.credential")

local FIELDS = {
  key = "AKID", secret = "s3cr3t/+=", token = "t0k3n", expiration = "1970-01-01T00:00:05Z",
  source = "here",
}

describe("credentials", function()
  it("have their secrets as fields", function()
    local c = assert(credential.new(FIELDS))
    assert.equal("AKID", c.key)
    assert.equal("s3cr3t/+=", c.secret)
    assert.equal("t0k3n", c.token)
    assert.equal(5, c.expires)
    assert.is_nil(c.other)
    c = assert(credential.new({ key = "a", secret = "b", token = "", source = "x" }))
    assert.is_nil(c.token)
  end)

  it("show them nowhere", function()
    local c = assert(credential.new(FIELDS))
    local shown = { tostring(c), assert(json.encode(c)), codec.encode(c) or "", pretty.format(c),
      ("%s"):format(c), tostring(getmetatable(c)) }
    for name, value in pairs(c) do shown[#shown + 1] = tostring(name) .. tostring(value) end
    local all = table.concat(shown, "\n")
    assert.matches("AKID", all)
    assert.not_matches("s3cr3t", all)
    assert.not_matches("t0k3n", all)
    assert.equal("AWS credentials AKID from here", tostring(c))
  end)

  it("are refused when they cannot be right, without being shown", function()
    for _, change in ipairs({ { key = "" }, { key = "a b" }, { key = false }, { secret = "" },
      { secret = 12 }, { secret = "s3cr3t\n" }, { token = "t0k3n\r\nX: y" }, { token = {} },
      { token = ("t0k3n"):rep(10000) } }) do
      local fields = { key = "AKID", secret = "s3cr3t", source = "here" }
      for name, value in pairs(change) do fields[name] = value end
      local c, err = credential.new(fields)
      assert.is_nil(c)
      assert.equal("credentials", err.kind)
      assert.matches("^here has no valid ", err.message)
      assert.not_matches("s3cr3t", err.message)
      assert.not_matches("t0k3n", err.message)
    end
  end)

  it("are the same when the service cannot tell them apart", function()
    local a, b = assert(credential.new(FIELDS)), assert(credential.new(FIELDS))
    assert.is_true(credential.same(a, b))
    assert.is_true(credential.same(nil, nil))
    assert.is_false(credential.same(a, nil))
    local other = assert(credential.new({ key = "AKID", secret = "x", source = "y" }))
    assert.is_false(credential.same(a, other))
  end)
end)
