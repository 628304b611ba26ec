-- SPDX-License-Identifier: MIT
local membership = require("fleet.discovery.membership")

local function member(id, address) return { id = id, address = address or id .. ":5440" } end

-- An answer with these members.
local function answer(ids, own)
  local members = {}
  for id in ids:gmatch("%S+") do members[#members + 1] = member(id) end
  return { members = members, own = own, wait = 10 }
end

local function ids_of(list)
  local ids = {}
  for i, m in ipairs(list) do ids[i] = m.id end
  table.sort(ids)
  return table.concat(ids, " ")
end

describe("fleet.discovery.membership", function()
  local m, live
  local function observe(...)
    local added, removed = m:observe(answer(...), function(id) return live[id] == true end)
    return { ids_of(added), ids_of(removed) }
  end
  before_each(function()
    m, live = membership.new(membership.CAUTIOUS), {}
  end)

  it("takes members in at first sight, and lists them by address", function()
    assert.same({ "a b", "" }, observe("b a"))
    assert.same({ "c", "" }, observe("c b a"))
    assert.equal("a b c", ids_of(m:list()))
    assert.equal("a:5440", m:list()[1].address)
  end)

  it("lets one go after three good answers without it", function()
    observe("a b c")
    assert.same({ "", "" }, observe("a b"))
    assert.same({ "", "" }, observe("a b"))
    assert.same({ "", "c" }, observe("a b"))
    assert.same({ "", "" }, observe("a b"))
    assert.same({ "c", "" }, observe("a b c"))
  end)

  it("counts anew after an answer that has it", function()
    observe("a b c")
    observe("a b")
    observe("a b")
    observe("a b c")
    assert.same({ "", "" }, observe("a b"))
    assert.same({ "", "" }, observe("a b"))
    assert.same({ "", "c" }, observe("a b"))
  end)

  it("keeps one that lives, until it does not", function()
    observe("a b c")
    live.c = true
    for _ = 1, 10 do assert.same({ "", "" }, observe("a b")) end
    live.c = nil
    assert.same({ "", "c" }, observe("a b"))
  end)

  it("believes no answer for removals that lacks our own machine", function()
    observe("a b c d", "a")
    for _ = 1, 10 do
      assert.same({ "", "" }, observe("b c", "a"))
      assert.matches("this machine (a)", m.rejection, 1, true)
    end
    assert.same({ "e", "" }, observe("b c e", "a"))
    observe("a b c e", "a")
    observe("a b c e", "a")
    assert.is_nil(m.rejection)
    assert.same({ "", "d" }, observe("a b c e", "a"))
  end)

  it("lets nobody go for an answer in part", function()
    observe("a b c")
    for _ = 1, 5 do
      local added, removed = m:observe({ members = { member("a"), member("d") }, partial = true },
        function() return false end)
      assert.same({ 0 }, { #removed })
      assert.is_true(#added <= 1)
    end
    assert.equal("a b c d", ids_of(m:list()))
  end)

  it("has an answer confirmed that lacks more than half", function()
    observe("a b c d")
    observe("a")
    assert.matches("3 of 4 members", m.rejection, 1, true)
    observe("a b c d")
    assert.same({ "", "" }, observe("a")) -- not confirmed: it begins anew
    assert.is_truthy(m.rejection)
    assert.same({ "", "" }, observe("a"))
    assert.is_nil(m.rejection)
    assert.same({ "", "b c d" }, observe("a")) -- the third answer all the same
  end)

  it("confirms only what both answers lack", function()
    observe("a b c d")
    observe("a")
    observe("b")
    assert.is_nil(m.rejection)
    assert.same({ "", "c d" }, observe("b"))
    assert.same({ "", "a" }, observe("b"))
  end)

  it("lets the only member go after three answers, too", function()
    observe("a")
    assert.same({ "", "" }, observe(""))
    assert.same({ "", "" }, observe(""))
    assert.same({ "", "a" }, observe(""))
    assert.same({}, m:list())
  end)

  it("lets those of an earlier time go at the first answer that is believed", function()
    m:restore({ member("a"), member("b"), member("c") })
    assert.same({ "d", "c" }, observe("a b d"))
    m:restore({ member("e"), member("f"), member("g"), member("h") })
    assert.same({ "", "" }, observe("a b d")) -- lacks more than half
    live.e = true
    assert.same({ "", "f g h" }, observe("a b d"))
    assert.equal("a b d e", ids_of(m:list()))
  end)

  it("replaces a member whose address changed", function()
    observe("a b")
    local added, removed = m:observe({ members = { member("a", "x:1"), member("b") } },
      function() return true end)
    assert.same({ { member("a", "x:1") }, { member("a") } }, { added, removed })
  end)

  it("follows an authority at once when the rules say so", function()
    m = membership.new({ misses = 1, keep_live = false, confirm = false })
    live.b, live.c = true, true
    observe("a b c")
    assert.same({ "", "b c" }, observe("a"))
  end)

  it("keeps its promises on a long random walk", function()
    local seed = os.time()
    math.randomseed(seed)
    local all = { "a", "b", "c", "d", "e", "f" }
    local since, mirror = {}, {} -- answers in a row without it; what added and removed make
    for step = 1, 20000 do
      local list, present = {}, {}
      for _, id in ipairs(all) do
        if math.random() < 0.7 then
          list[#list + 1], present[id] = id, true
        end
        live[id] = math.random() < 0.3 or nil
      end
      local own = math.random() < 0.2 and all[math.random(#all)] or nil
      for _, id in ipairs(all) do since[id] = present[id] and 0 or (since[id] or 0) + 1 end
      local added, removed = m:observe(answer(table.concat(list, " "), own),
        function(id) return live[id] == true end)
      local where = ("seed %d, step %d"):format(seed, step)
      for _, gone in ipairs(removed) do
        assert(mirror[gone.id] and not present[gone.id] and not live[gone.id], where)
        assert(since[gone.id] >= 3 and not (own and not present[own]), where)
        mirror[gone.id] = nil
      end
      for _, new in ipairs(added) do
        assert(not mirror[new.id] and present[new.id], where)
        mirror[new.id] = true
      end
      for id in pairs(present) do assert(mirror[id], where) end
      for _, known in ipairs(m:list()) do assert(mirror[known.id], where) end
    end
  end)
end)
