-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local lfs = require("lfs")
local cache = require("fleet.discovery.cache")

describe("fleet.discovery.cache", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local members = {
    { id = "i-1", address = "10.0.0.1:5440", zone = "eu-west-1a" },
    { id = "i-2", address = "[fd00::2]:5440" },
  }

  it("gives back what was kept, of the same question only", function()
    local folder = world:path("a/b")
    local s = cache.new(folder, "ec2 eu-west-1 r1")
    assert.is_nil(s:load())
    assert.is_true(s:save(members, "i-1", 1700000000))
    assert.same({ members = members, own = "i-1", time = 1700000000 },
      cache.new(folder, "ec2 eu-west-1 r1"):load())
    assert.is_nil(cache.new(folder, "ec2 eu-west-1 r2"):load())
    assert.is_true(s:save({}, nil, 1700000001))
    assert.same({ members = {}, time = 1700000001 }, s:load())
  end)

  it("leaves one file, which only its owner may read", function()
    local folder = world:path("cache")
    local s = cache.new(folder, "q")
    for i = 1, 3 do s:save(members, nil, i) end
    local names = {}
    for name in lfs.dir(folder) do
      if not name:find("^%.") then names[#names + 1] = name end
    end
    assert.equal(1, #names)
    assert.equal("rw-------", lfs.attributes(s.path, "permissions"))
  end)

  it("takes a file that is damaged for none", function()
    local s = cache.new(world.dir, "q")
    s:save(members, nil, 5)
    local whole = e2e.read(s.path)
    for _, text in ipairs({ "", "x", whole:sub(1, -10), "[]", "{}", "null",
      (whole:gsub('"time":5', '"time":"5"')), (whole:gsub('"id":"i%-1"', '"id":7')),
      (whole:gsub('"format":1', '"format":2')), (whole:gsub('"eu%-west%-1a"', "{}")) }) do
      world:write(s.path:match("[^/]+$"), text)
      assert.is_nil(s:load(), text)
    end
  end)

  it("says why it cannot keep anything", function()
    local s = cache.new(world:write("file", "") .. "/below", "q")
    local ok, err = s:save(members, nil, 1)
    assert.is_nil(ok)
    assert.equal("output", err.kind)
    assert.is_nil(s:load())
  end)

  it("has its folder where the environment says", function()
    local function folder(env) return cache.folder(function(name) return env[name] end) end
    assert.equal("/c", folder({ MOONFLEET_CACHE = "/c", HOME = "/h" }))
    assert.is_nil(folder({ MOONFLEET_CACHE = "", HOME = "/h" }))
    assert.equal("/var/cache/m", folder({ CACHE_DIRECTORY = "/var/cache/m:/x", HOME = "/h" }))
    assert.equal("/x/moonfleet", folder({ XDG_CACHE_HOME = "/x", HOME = "/h" }))
    assert.equal("/h/.cache/moonfleet", folder({ XDG_CACHE_HOME = "relative", HOME = "/h" }))
    assert.is_nil(folder({}))
    assert.is_nil(cache.new(nil, "q"))
  end)
end)
