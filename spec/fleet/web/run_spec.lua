-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local input = require("fleet.run.input")
local run = require("fleet.web.run")

describe("web.run", function()
  local world, folder
  before_each(function()
    world = e2e.new()
    folder = world:path("0123")
  end)
  after_each(function() world:close() end)

  local function create(title, items)
    return run.create(folder, "0123", { kind = "checksums", title = title }, input.words(items))
  end

  local function results(lines)
    local file = assert(io.open(folder .. "/results.jsonl", "ab"))
    file:write(lines)
    file:close()
  end

  it("is found again with its counts, however the program ended", function()
    assert(create("a title", { "a", "b", "c" }))
    results('{"n":2,"item":"b","value":{"bytes":1},"node":"one"}\n'
      .. '{"n":1,"item":"a","error":{"kind":"dns","message":"no"},"node":"two"}\n{"n":3,"it')
    local r = assert(run.open(folder, "0123"))
    assert.same({ "a title", 3, 2, 1, 1, "interrupted" },
      { r.title, r.total, r.rows, r.ok, r.failed, r.state })
    assert.same({ one = 1, two = 1 }, r.nodes)
    assert.equal("b", r.recent[1].item)
    assert.equal("}\n", e2e.read(folder .. "/results.jsonl"):sub(-2)) -- half a line is gone
    assert.matches("1 failed with dns: no", r:failures()[1])
  end)

  it("has the last rows in memory only", function()
    assert(create("many", { "a" }))
    local lines = {}
    for i = 1, 500 do lines[i] = ('{"n":%d,"item":"a","value":{}}\n'):format(i) end
    results(table.concat(lines))
    local r = assert(run.open(folder, "0123"))
    assert.equal(500, r.rows)
    assert.is_nil(r.recent[300])
    assert.equal(301, r.recent[301].n)
  end)

  it("is none without its description", function()
    assert.is_nil(run.open(world:path("missing"), "0123"))
    assert(create("a", { "a" }))
    world:write("0123/run.json", "{")
    assert.is_nil(run.open(folder, "0123"))
  end)

  it("fails in words when there is no driver, and can be tried again", function()
    local r = assert(create("a", { "a" }))
    assert(r:start(function() return nil, { kind = "connect", message = "no node" } end))
    e2e.wait_until("the end", function() return r.state == "failed" end)
    assert.equal("no node", r.message)
    assert.equal("failed", run.open(folder, "0123").state)
  end)

  it("leaves nothing when its items cannot be read or written", function()
    local function failing(...)
      local given, n = table.pack(...), 0
      return run.create(folder, "0123", { kind = "job", title = "a" }, function()
        n = n + 1
        if n == 1 then return "fine" end
        return given[1], given[2]
      end)
    end
    local nothing, err = failing(nil, { kind = "input", message = "cut" })
    assert.same({ nil, "cut", false }, { nothing, err.message, e2e.exists(folder) })
    nothing, err = failing(print)
    assert.same({ nil, "encode", false }, { nothing, err.kind, e2e.exists(folder) })
  end)

  it("removes its folder", function()
    local r = assert(create("a", { "a" }))
    r:remove()
    assert.is_false(e2e.exists(folder))
  end)
end)

