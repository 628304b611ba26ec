-- SPDX-License-Identifier: MIT
-- Patient: waits between looks.
local discovery = require("fleet.discovery")
local e2e = require("spec.support.e2e")
local log = require("fleet.log")
local membership = require("fleet.discovery.membership")
local cache = require("fleet.discovery.cache")
local sys = require("host.sys")
local task = require("host.task")

-- A source that says what `source.next` is: ids, or an error's message after "!".
local function scripted(question)
  local source = {
    name = "script", rules = membership.CAUTIOUS, interval = 0.01, question = question,
    polls = 0, allowed = 1, next = "", -- one look, until polls() below allows more
  }
  function source:poll()
    self.polls = self.polls + 1
    while self.polls > self.allowed do task.sleep(0.001) end
    if self.delay then task.sleep(self.delay) end
    local failure = self.next:match("^!(.*)")
    if failure then
      return nil, { kind = self.kind or "connect", class = self.class, message = failure }
    end
    local members = {}
    for id in self.next:gmatch("%S+") do
      members[#members + 1] = { id = id, address = id .. ":1" }
    end
    return { members = members, wait = self.wait or 0.01, own = self.own, note = self.note }
  end
  function source.why_empty() return "there is nobody" end
  return source
end

describe("fleet.discovery", function()
  local world, found, said
  local warn, info = log.warn, log.info
  before_each(function()
    world, said = e2e.new(), {}
    log.warn = function(message, fields) said[#said + 1] = { message, fields } end
    log.info = log.warn
  end)
  after_each(function()
    if found then found:close() end
    log.warn, log.info = warn, info
    world:close()
  end)

  local function ids(list)
    local names = {}
    for i, m in ipairs(list) do names[i] = m.id end
    return table.concat(names, " ")
  end

  local function count(message)
    local n = 0
    for _, words in ipairs(said) do
      if words[1] == message then n = n + 1 end
    end
    return n
  end

  -- Lets the source be asked `n` more times; what it said is taken in then, for it is asked again.
  local function polls(source, n)
    source.allowed = source.allowed + n
    e2e.wait_until("polls", function() return source.polls > source.allowed end)
  end

  it("begins with the first answer, then tells who comes and goes", function()
    local source = scripted()
    source.next = "b a"
    found = discovery.new(source)
    assert.equal("a b", ids(found:open()))
    local events = {}
    found:follow(function(m) events[#events + 1] = "+" .. m.id end,
      function(m) events[#events + 1] = "-" .. m.id end, function() return false end)
    source.next = "a b c"
    polls(source, 1)
    source.next = "a b"
    polls(source, 3)
    assert.same({ "+c", "-c" }, events)
    assert.matches("^script: 2 nodes, as of %d+ s ago$", found:describe())
  end)

  it("does not start when there is no answer, and says why", function()
    local source = scripted()
    source.next = "!no credentials"
    found = discovery.new(source)
    local members, err = found:open()
    assert.is_nil(members)
    assert.equal("no credentials", err.message)
    assert.is_nil(found:age())
    assert.equal("no credentials", found:why_empty())
  end)

  it("takes an error for no answer: everybody stays, and it is said once", function()
    local source = scripted()
    source.next = "a b"
    found = discovery.new(source)
    found:open()
    source.next = "!throttled"
    polls(source, 4)
    assert.equal("a b", ids(found.membership:list()))
    assert.equal(1, count("discovery failed; the known nodes stay"))
    assert.matches("; the last poll failed: throttled$", found:describe())
    source.next = "!something else"
    polls(source, 2)
    assert.equal(2, count("discovery failed; the known nodes stay"))
    source.next = "a b"
    polls(source, 2)
    assert.equal(1, count("discovery works again"))
    assert.is_nil(found.error)
    source.next = "!throttled"
    polls(source, 1)
    assert.equal(3, count("discovery failed; the known nodes stay"))
  end)

  it("asks less and less often while it fails", function()
    local source = scripted()
    source.next, source.interval, source.allowed = "!down", 0.02, math.huge
    found = discovery.new(source)
    local began = sys.now()
    found:open()
    e2e.wait_until("polls", function() return source.polls >= 6 end)
    -- after 0.02 + 0.04 + ... + 0.32 s, each a quarter less at least
    assert.is_true(sys.now() - began >= 0.75 * 0.62)
  end)

  it("asks no more often while it fails than while all is well", function()
    local source = scripted()
    source.next, source.wait = "a", 0.2 -- twenty times the interval
    found = discovery.new(source)
    found:open()
    source.next = "!throttled"
    polls(source, 1)
    local failed_at = sys.now()
    polls(source, 1)
    assert.is_true(sys.now() - failed_at >= 0.1)
  end)

  it("begins with the list from before when the source fails", function()
    local kept = cache.new(world.dir, "q")
    local source = scripted("q")
    source.next, source.own = "a b", "a"
    found = discovery.new(source, kept)
    found:open()
    found:close()
    assert.equal("a", kept:load().own)

    source = scripted("q")
    source.next = "!down"
    function source:expect(id) self.expected = id end
    found = discovery.new(source, kept)
    assert.equal("a b", ids(found:open()))
    assert.equal("a", source.expected)
    assert.is_true(found:age() < 60)
    assert.equal(1, count("using the cached list of nodes"))
    assert.matches("the last poll failed: down$", found:describe())
    source.next = "a c"
    polls(source, 1)
    assert.equal("a c", ids(found.membership:list()))
    assert.equal("a c", ids(kept:load().members))
  end)

  -- Opens with a, b and c from before, of an age; the members are in the table once it is open.
  local function open_with_kept(source, age, patience)
    local kept, opened = cache.new(world.dir, "q"), {}
    local members = {}
    for i, id in ipairs({ "a", "b", "c" }) do members[i] = { id = id, address = id .. ":1" } end
    kept:save(members, nil, os.time() - age)
    found = discovery.new(source, kept)
    found.open_timeout = patience or 60
    task.spawn(function() opened.members = ids(found:open()) end)
    return opened, kept
  end

  it("lets a first answer take out whom the list from before has, if it is believed", function()
    local source = scripted("q")
    source.next = "a d b"
    local opened, kept = open_with_kept(source, 5)
    e2e.wait_until("the members", function() return opened.members end)
    assert.equal("a b d", opened.members)
    assert.equal("a b d", ids(kept:load().members))
  end)

  it("has a first answer confirmed that lacks most of the list from before", function()
    for next_answer, members in pairs({ ["a b c d"] = "a b c d", [""] = "" }) do
      local source = scripted("q")
      local opened, kept = open_with_kept(source, 5)
      e2e.wait_until("another look", function() return source.polls == 2 end)
      assert.is_nil(opened.members)
      assert.equal("a b c", ids(kept:load().members))
      source.next = next_answer
      polls(source, 1)
      assert.equal(members, opened.members)
      assert.equal(members, ids(kept:load().members))
      found:close()
    end
  end)

  it("begins with both when the first answers are suspicious, and keeps neither", function()
    local source = scripted("q")
    source.next, source.own, source.allowed = "b d", "a", math.huge
    local opened, kept = open_with_kept(source, 5, 0.5)
    e2e.wait_until("the members", function() return opened.members end)
    assert.equal("a b c d", opened.members)
    assert.equal("a b c", ids(kept:load().members))
    assert.matches("; the last answer is suspicious: this machine", found:describe())
    source.next = "a d"
    e2e.wait_until("an answer that is believed", function()
      return ids(kept:load().members) == "a d"
    end)
    assert.is_nil(found:problem())
  end)

  it("holds no old list against an answer", function()
    local source = scripted("q")
    local opened = open_with_kept(source, 2 * 3600)
    e2e.wait_until("the members", function() return opened.members end)
    assert.equal("", opened.members) -- after one look
  end)

  it("does not begin with the list from before when who asks may not know", function()
    local kept = cache.new(world.dir, "q")
    kept:save({ { id = "a", address = "a:1" } }, nil, os.time())
    for _, err in ipairs({ { kind = "config" }, { kind = "service", class = "denied" },
      { kind = "service", class = "stale" } }) do
      local source = scripted("q")
      source.next, source.kind, source.class = "!no", err.kind, err.class
      found = discovery.new(source, kept)
      local members, why = found:open()
      assert.is_nil(members)
      assert.equal("no", why.message)
      found:close()
    end
    assert.equal("a", ids(kept:load().members))
  end)

  it("does not wait long for a source when it has a list from before", function()
    local kept = cache.new(world.dir, "q")
    kept:save({ { id = "a", address = "a:1" } }, nil, os.time() - 100)
    local source = scripted("q")
    source.next, source.delay = "b", 60
    found = discovery.new(source, kept)
    found.open_timeout = 0.1
    assert.equal("a", ids(found:open()))
    assert.is_true(found:age() >= 100)
    assert.equal("there is no answer yet", found:problem())
  end)

  it("says once that a list cannot be kept", function()
    local source = scripted("q")
    source.next = "a"
    found = discovery.new(source, cache.new(world:write("file", "") .. "/below", "q"))
    found:open()
    source.next = "a b"
    polls(source, 1)
    source.next = "a b c"
    polls(source, 1)
    assert.equal(1, count("the list of nodes cannot be cached"))
  end)

  it("warns of a note and of a suspicious answer, once each", function()
    local source = scripted()
    source.next, source.note = "a b c", "1 instance has no address"
    found = discovery.new(source)
    found:open()
    polls(source, 2)
    assert.equal(1, count("1 instance has no address"))
    source.own, source.next = "a", "b"
    polls(source, 4)
    assert.equal(1, count("suspicious discovery answer; not removing any node"))
    assert.equal("a b c", ids(found.membership:list()))
  end)

  it("polls soon when it is refreshed, but not all the time", function()
    local source = scripted()
    source.next, source.wait, source.allowed = "a", 60, math.huge
    found = discovery.new(source)
    found:open()
    for _ = 1, 100 do found:refresh() end
    task.sleep(0.1)
    assert.equal(1, source.polls)
    e2e.wait_until("a poll", function() return source.polls == 2 end)
    task.sleep(0.1)
    assert.equal(2, source.polls)
  end)

  it("closed while it asks says nothing any more", function()
    local source = scripted()
    source.next, source.delay = "a", 0.1
    found = discovery.new(source)
    local members, err = true, nil
    task.spawn(function() members, err = found:open() end)
    task.sleep(0.02)
    found:close()
    found:close()
    task.sleep(0.2)
    assert.is_nil(members)
    assert.equal("cancelled", err.kind)
  end)
end)
