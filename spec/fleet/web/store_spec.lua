-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local input = require("fleet.run.input")
local store = require("fleet.web.store")

describe("web.store", function()
  local world, kept
  before_each(function()
    world = e2e.new()
    kept = assert(store.open(world:path("runs")))
  end)
  after_each(function()
    kept:close()
    world:close()
  end)

  local function add(title, items)
    return kept:add({ kind = "checksums", title = title }, input.words(items))
  end

  it("finds runs again, the newest first", function()
    local first = assert(add("one", { "a", "b" }))
    local second = assert(add("two", { "c" }))
    second.created = first.created + 1
    assert.equal(first, kept:find(first.id))
    kept:close()
    kept = assert(store.open(world:path("runs")))
    assert.equal(2, #kept.runs)
    assert.same({ "one", 2, "interrupted" },
      { kept:find(first.id).title, kept:find(first.id).total, kept:find(first.id).state })
  end)

  it("lets one program at a time have the folder", function()
    local other, err = store.open(world:path("runs"))
    assert.is_nil(other)
    assert.equal("usage", err.kind)
  end)

  it("removes runs, and the oldest when there are too many", function()
    local first = assert(add("first", { "a" }))
    for i = 2, 51 do assert(add("run " .. i, { "a" })) end
    assert.equal(50, #kept.runs)
    assert.is_nil(kept:find(first.id))
    assert.is_false(e2e.exists(first.folder))
    local last = kept.runs[1]
    assert.is_true(kept:remove(last))
    assert.is_nil(kept:find(last.id))
    assert.is_false(e2e.exists(last.folder))
  end)

  it("keeps runs that are under way", function()
    for i = 1, 50 do
      assert(add("run " .. i, { "a" })).state = "running"
    end
    assert.is_false(kept:remove(kept.runs[1]))
    local more, err = add("one more", { "a" })
    assert.is_nil(more)
    assert.matches("50 runs under way", err.message)
  end)
end)
