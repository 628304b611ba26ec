-- SPDX-License-Identifier: MIT

local credentials = require("fleet.aws.credentials")
local codec = require("host.codec")
local errors = require("fleet.errors")
local fake_aws = require("spec.support.fake_aws")
local json = require("fleet.json")
local pretty = require("fleet.base.pretty")
local task = require("host.task")
local time = require("fleet.aws.time")

local FIELDS = {
  key = "AKID", secret = "s3cr3t/+=", token = "t0k3n", expiration = "1970-01-01T00:00:05Z",
  source = "here",
}

describe("credentials", function()
  it("have their secrets as fields", function()
    local c = assert(credentials.new(FIELDS))
    assert.equal("AKID", c.key)
    assert.equal("s3cr3t/+=", c.secret)
    assert.equal("t0k3n", c.token)
    assert.equal(5, c.expires)
    assert.is_nil(c.other)
    c = assert(credentials.new({ key = "a", secret = "b", token = "", source = "x" }))
    assert.is_nil(c.token)
  end)

  it("show them nowhere", function()
    local c = assert(credentials.new(FIELDS))
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
      local c, err = credentials.new(fields)
      assert.is_nil(c)
      assert.equal("credentials", err.kind)
      assert.matches("^here has no valid ", err.message)
      assert.not_matches("s3cr3t", err.message)
      assert.not_matches("t0k3n", err.message)
    end
  end)
end)

describe("kept credentials", function()
  local fake, cache, searches, script

  -- `script(n)`: what the n-th search finds, as fields or an error's message.
  before_each(function()
    fake, searches = fake_aws.new({}), 0
    cache = credentials.cache({ tools = fake:options(), find = function()
      searches = searches + 1
      task.sleep(0.001)
      local found = script(searches)
      if type(found) == "string" then
        return nil, errors.new({ kind = "credentials", message = found })
      end
      return credentials.new({
        key = found.key or "K" .. searches, secret = "S", token = found.token,
        expiration = found.lasts and time.write(fake.clock + found.lasts) or nil,
        lasting = found.lasting, source = "x" })
    end })
  end)

  local function key()
    local c, err = cache:get()
    return c and c.key, err
  end

  -- Lets what was started in the background end.
  local function settle() task.sleep(0.02) end

  local function pass(seconds) fake.clock = fake.clock + seconds end

  it("are looked for once, by a hundred who want them", function()
    script = function() return { lasts = 3600 } end
    local left, done = 100, task.event()
    for _ = 1, 100 do
      task.spawn(function()
        assert.equal("K1", key())
        left = left - 1
        if left == 0 then done:notify() end
      end)
    end
    assert(done:wait(60))
    assert.equal(1, searches)
  end)

  it("without an end are kept for good", function()
    script = function() return {} end
    key()
    pass(1e8)
    assert.equal("K1", key())
    assert.equal(1, searches)
  end)

  it("are renewed five minutes before their end, while the old ones are used", function()
    script = function() return { lasts = 3600 } end
    key()
    pass(3299)
    assert.equal("K1", key())
    assert.equal(1, searches)
    pass(1)
    assert.equal("K1", key())
    assert.equal("K1", key())
    settle()
    assert.equal("K2", key())
    assert.equal(2, searches)
    assert.same({}, fake.warned)
  end)

  it("that are over are waited for", function()
    script = function() return { lasts = 3600 } end
    key()
    pass(4000)
    assert.equal("K2", key())
  end)

  it("go on being used when they cannot be renewed, with one warning", function()
    script = function(n) return n == 1 and { lasts = 3600 } or "trouble" end
    key()
    pass(3310)
    assert.equal("K1", key())
    settle()
    assert.equal("K1", key())
    assert.equal(2, searches)
    pass(44)
    assert.equal("K1", key()) -- not before 45 seconds
    settle()
    assert.equal(2, searches)
    pass(2)
    key()
    settle()
    assert.equal(3, searches)
    assert.same({ "AWS credentials cannot be renewed" }, fake.warned)
    pass(300) -- now they are over
    local c, err = key()
    assert.is_nil(c)
    assert.equal("trouble", err.message)
    script = function() return { lasts = 3600 } end
    assert.equal("K5", key())
    assert.matches("error=trouble", fake.said)
  end)

  it("of the instance are used beyond their end in times of trouble", function()
    script = function(n) return n == 1 and { lasts = 3600, lasting = true } or "trouble" end
    key()
    pass(5000)
    assert.equal("K1", key())
    assert.equal("K1", key())
    assert.equal(2, searches)
    assert.equal(1, #fake.warned)
    -- the instance gives some that are over already
    script = function() return { lasts = -100, lasting = true } end
    pass(61)
    assert.equal("K3", key())
    assert.equal("K3", key())
    assert.equal(3, searches)
    assert.equal(1, #fake.warned)
    script = function() return { lasts = 3600, lasting = true } end
    pass(61)
    assert.equal("K4", key())
    assert.is_false(cache.warned)
  end)

  it("of others that are over when they come are an error", function()
    script = function() return { lasts = -1 } end
    local c, err = key()
    assert.is_nil(c)
    assert.matches("the AWS credentials from x have expired", err.message)
  end)

  it("that were refused are replaced by one search", function()
    script = function() return { lasts = 3600 } end
    local worn = assert(cache:get())
    local left, done = 50, task.event()
    for _ = 1, 50 do
      task.spawn(function()
        assert.equal("K2", assert(cache:refresh(worn)).key)
        left = left - 1
        if left == 0 then done:notify() end
      end)
    end
    assert(done:wait(60))
    assert.equal("K2", assert(cache:refresh(worn)).key)
    assert.equal(2, searches)
    script = function() return { key = "K2" } end
    local c, err = cache:refresh(cache.current)
    assert.is_nil(c)
    assert.matches("has no other credentials", err.message)
    script = function() return "trouble" end
    c, err = cache:refresh(cache.current)
    assert.is_nil(c)
    assert.equal("trouble", err.message)
    assert.equal("K2", key())
  end)
end)
