-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local errors = require("fleet.errors")
local journal = require("fleet.driver.journal")

local JOB = "return { map = print }"

describe("a journal", function()
  local dir, path
  before_each(function()
    local pipe = assert(io.popen("mktemp -d /tmp/moonfleet-journal.XXXXXX"))
    dir = pipe:read("l")
    pipe:close()
    path = dir .. "/j"
  end)
  after_each(function() os.execute("rm -r " .. dir) end)

  local function open(options)
    local all = { path = path, job = JOB, name = "job.lua", retries = 2, resume = true }
    for name, value in pairs(options or {}) do all[name] = value end
    return journal.open(all)
  end

  --- Opens it, has `f` use it, closes it.
  local function with(options, f)
    local j = assert(open(options))
    local function finish(...)
      assert(j:close())
      return ...
    end
    return finish(f(j))
  end

  local function read() return e2e.read(path) end

  local function write(bytes)
    local file = assert(io.open(path, "wb"))
    file:write(bytes)
    file:close()
  end

  --- Journals rows {item, ok, value}; returns the size of the file after each.
  local function fill(rows, options)
    return with(options, function(j)
      local sizes = {}
      for i, row in ipairs(rows) do
        assert(j:append(row[1], row[2], row[3]))
        sizes[i] = #read()
      end
      return sizes
    end)
  end

  --- What it has of each of the items: values, the kinds of errors, or "none".
  local function known(items, options)
    return with(options, function(j)
      local list = {}
      for i, item in ipairs(items) do
        local ok, value = j:lookup(item)
        assert(ok ~= nil or value == nil, value)
        if ok == nil then value = "none" elseif not ok then value = value.kind end
        list[i] = value
      end
      return list
    end)
  end

  local function failed(kind, applied, attempt)
    return errors.new({ kind = kind, message = "m", applied = applied, attempt = attempt or 1 })
  end

  it("returns what was written, and nothing else", function()
    fill({ { "a", true, 1 }, { "b", false, failed("raise", "yes") } })
    with(nil, function(j)
      assert.is_nil(j:lookup("c"))
      local ok, value, bytes = j:lookup("b")
      assert.is_false(ok)
      assert.same(failed("raise", "yes"), value)
      assert.equal("raise: m (attempt 1, applied yes)", tostring(value))
      assert.is_true(bytes > 10)
      assert.equal(1, select(2, j:lookup("a")))
      assert.is_nil(j:lookup("a"))
    end)
  end)

  it("keeps values as they are", function()
    local values = {
      false, 1, 1.0, -0.0, math.mininteger, math.huge, 0.1, "", "\0\xff", ("x"):rep(3000000), {},
      { 1, nil, 3 }, { a = { b = { 1.5, "\xfe" } }, [2.5] = true, [7] = 7 },
    }
    local rows = { { "nil", true, nil }, { "nan", true, 0 / 0 } }
    for i, value in ipairs(values) do rows[#rows + 1] = { i, true, value } end
    fill(rows)
    with(nil, function(j)
      local found, nothing = j:lookup("nil")
      assert.same({ true, nil }, { found, nothing })
      assert.is_true(select(2, j:lookup("nan")) ~= select(2, j:lookup("nan")))
      for i, value in ipairs(values) do
        local ok, got = j:lookup(i)
        assert.is_true(ok)
        assert.same(value, got)
        assert.equal(math.type(value), math.type(got))
        if value == 0 then assert.equal(-math.huge, 1 / got) end
      end
    end)
  end)

  it("distinguishes all items that are not equal", function()
    local items = {
      1, 1.0, "1", true, "true", false, -0.0, 0.0, 0, 0 / 0, "NaN", "", {}, { 1 }, { 1.0 }, { "1" },
      { { 1 } }, { [2] = 1 }, { ["1"] = 1 }, { 1, 2 }, { 1, [3] = 2 }, { a = 1, b = 2 },
      { a = 2, b = 1 }, { ab = 1 }, { a = "b" }, { "a", "b" }, { "ab" }, "\xff",
      { base64 = "/w==" }, { [true] = 1 }, { ["true"] = 1 }, { ["true"] = true },
    }
    local rows, expected = {}, {}
    for i, item in ipairs(items) do rows[i], expected[i] = { item, true, i }, i end
    fill(rows)
    assert.same(expected, known(items))
  end)

  it("recognises a table, however it was made", function()
    local one, two = {}, {}
    for i = 1, 100 do one["key " .. i] = i end
    for i = 1000, 1, -1 do two["key " .. i] = i end
    for i = 1000, 101, -1 do two["key " .. i] = nil end
    fill({ { { one }, true, "found" } })
    assert.same({ "found" }, known({ { two } }))
  end)

  it("ignores items that cannot be sent", function()
    local cycle, shared = {}, {}
    cycle[1] = { cycle }
    local deep = {}
    for _ = 1, 200 do deep = { deep } end
    for _, item in ipairs({ print, { print }, { [print] = 1 }, cycle, { shared, shared }, deep }) do
      local before = #fill({ { item, false, failed("encode", "no") }, { item, true, 1 } })
      assert.same({ "none" }, known({ item }))
      assert.equal(2, before)
    end
  end)

  it("answers once for each record, in their order", function()
    fill({ { "a", true, 1 }, { "b", true, 2 }, { "a", true, 3 }, { "a", false, failed("raise") } })
    for _ = 1, 2 do
      assert.same({ 1, 3, "raise", "none", 2, "none" },
        known({ "a", "a", "a", "a", "b", "b" }))
    end
  end)

  it("resumes, run after run", function()
    for i = 1, 5 do fill({ { i, true, i } }) end
    assert.same({ 5, 4, 3, 2, 1, "none" }, known({ 5, 4, 3, 2, 1, 6 }))
  end)

  describe("is refused when", function()
    local function refused(pattern, options)
      local before = read()
      local j, err = open(options)
      assert.is_nil(j)
      assert.equal("usage", err.kind)
      assert.matches("^journal '" .. path:gsub("%p", "%%%0") .. "': .*" .. pattern, err.message)
      assert.equal(before, read())
    end

    it("it has results and is not to be resumed", function()
      fill({ { "a", true, 1 } })
      refused("has results of an earlier run; resume that with %-%-resume", { resume = false })
    end)

    it("it belongs to another job", function()
      fill({ { "a", true, 1 } })
      refused("another job %(job.lua as it was before it was changed%)", { job = JOB .. " " })
      refused("another job %(job.lua%)", { job = JOB .. " ", name = "other.lua" })
    end)

    it("another process has it open", function()
      with(nil, function() refused("another run is using it") end)
      assert(open()):close()
    end)

    it("the file is something else", function()
      for _, bytes in ipairs({ "x", "moonfleet", ("text\n"):rep(100), ("\0"):rep(100) }) do
        write(bytes == "moonfleet" and "moonfleet!" or bytes)
        refused("the file is not a journal")
        refused("the file is not a journal", { resume = false })
      end
    end)

    it("a later version has made it", function()
      fill({ { "a", true, 1 } })
      write((read():gsub("journal 1", "journal 2", 1)))
      refused("has another format")
    end)
  end)

  it("starts again when it is empty", function()
    assert.same({}, fill({}))
    local header = read()
    for size = 0, #header do
      for _, resume in ipairs({ true, false }) do
        write(header:sub(1, size))
        local notes = with({ resume = resume, job = "another" }, function(j)
          assert(j:append("a", true, size))
          return j.notes
        end)
        assert.equal(resume and 1 or 0, #notes)
        assert.same({ size }, known({ "a" }, { job = "another" }))
      end
    end
  end)

  it("is created when there is none, with a note when it was to be resumed", function()
    local function notes(options)
      os.remove(path)
      return with(options, function(j) return j.notes end)
    end
    assert.same({}, notes({ resume = false }))
    assert.same({ "the journal is empty; every item will run" }, notes())
  end)

  it("is cut where its last record is torn, wherever that is", function()
    local sizes = fill({ { "a", true, 1 }, { "b", true, { 2 } }, { "c", true, "three" } })
    local whole = read()
    for size = sizes[2], sizes[3] - 1 do
      write(whole:sub(1, size))
      with(nil, function(j)
        assert.equal(size > sizes[2] and 1 or 0, #j.notes)
        assert.same({ 2 }, select(2, j:lookup("b")))
        assert.is_nil(j:lookup("c"))
        assert(j:append("c", true, "again"))
      end)
      assert.same({ 1, { 2 }, "again" }, known({ "a", "b", "c" }))
    end
    -- the size may be on the disk before the bytes
    write(whole:sub(1, sizes[2] + 16) .. ("\0"):rep(sizes[3] - sizes[2] - 16))
    assert.same({ 1, { 2 }, "none" }, known({ "a", "b", "c" }))
  end)

  it("never returns what was not written, whichever byte is wrong", function()
    local items = { "a", "b", "c" }
    local sizes = fill({ { "a", true, "one" }, { "b", true, "two" }, { "c", true, "three" } })
    local whole, refused = read(), 0
    for at = 1, #whole do
      local wrong = string.char(whole:byte(at) ~ 1 << at % 8)
      write(whole:sub(1, at - 1) .. wrong .. whole:sub(at + 1))
      local j, err = open()
      if j then
        assert(j:close())
        assert.is_true(at > sizes[2])
        assert.same({ "one", "two", "none" }, known(items))
      else
        refused = refused + 1
        assert.equal("usage", err.kind)
      end
    end
    assert.is_true(refused >= sizes[2])
  end)

  it("tells where it is damaged, and how to keep what is before", function()
    local sizes = fill({ { "a", true, 1 }, { "b", true, 2 }, { "c", true, 3 } })
    local whole = read()
    write(whole:sub(1, sizes[2] - 1) .. "\xc0" .. whole:sub(sizes[2] + 1))
    local j, err = open()
    assert.is_nil(j)
    local at, size = err.message:match("at byte (%d+) is damaged.*: truncate %-s (%d+) FILE$")
    assert.same({ sizes[1], sizes[1] }, { tonumber(at), tonumber(size) })
    assert(os.execute(("truncate -s %s %s"):format(size, path)))
    assert.same({ 1, "none", "none" }, known({ "a", "b", "c" }))
  end)

  it("keeps the outcomes of items, not those of the run", function()
    local cases = { -- kind, applied, attempt, whether it is kept with 2 retries, and with none
      { "raise", "yes", 1, true, true },
      { "connect", "yes", 1, true, true }, -- the job's own: a page that could not be fetched
      { "timeout", "yes", 1, true, true },
      { "timeout", "unknown", 1, true, true },
      { "poisoned", "unknown", 2, true, true },
      { "crash", "unknown", 3, true, true },
      { "crash", "unknown", 1, false, true }, -- it would have been run again
      { "lost", "unknown", 3, false, true },
      { "cancelled", "unknown", 1, false, true },
      { "cancelled", "yes", 1, false, true },
      { "output", "unknown", 1, false, true }, -- what ended the run
      { "deadline", "unknown", 1, false, true },
      { "deadline", "no", 1, false, false },
      { "encode", "no", 1, false, false },
    }
    for i, case in ipairs(cases) do
      for j, retries in ipairs({ 2, 0 }) do
        os.remove(path)
        fill({ { "a", false, failed(case[1], case[2], case[3]) } }, { retries = retries })
        assert.same({ i, case[3 + j] and case[1] or "none" }, { i, known({ "a" })[1] })
      end
    end
  end)

  it("forgets failures on request, for good", function()
    fill({ { "a", true, 1 }, { "b", false, failed("raise") }, { "c", false, failed("raise") } })
    assert.same({ 1, "raise" }, known({ "a", "b" }))
    assert.same({ 1, "none", "none" }, known({ "a", "b", "c" }, { retry_failed = true }))
    fill({ { "b", true, 2 } })
    assert.same({ 1, 2, "none" }, known({ "a", "b", "c" }))
    local before = read()
    assert.same({ 1, 2, "none" }, known({ "a", "b", "c" }, { retry_failed = true }))
    assert.equal(before, read()) -- there was nothing to forget
  end)

  describe("of items that may never run again", function()
    local ONCE = { retries = 0 }

    it("has those that were sent without a result, with an unknown fate", function()
      with(ONCE, function(j)
        assert(j:begin({ "b", "c" }))
        assert(j:append("b", true, 2))
      end)
      with(ONCE, function(j)
        assert.is_nil(j:lookup("a"))
        local ok, err = j:lookup("c")
        assert.same({ false, "lost", "unknown" }, { ok, err.kind, err.applied })
        assert.matches("--retry-failed runs it again", err.message, 1, true)
      end)
      -- also when the next run is told otherwise
      assert.same({ 2, "lost", "none", "none" }, known({ "b", "c", "b", "c" }))
    end)

    it("has as many equal ones as were sent", function()
      with(ONCE, function(j)
        assert(j:begin({ "a", "a", "a" }))
        assert(j:append("a", true, 1))
      end)
      local list = known({ "a", "a", "a", "a" })
      table.sort(list, function(x, y) return tostring(x) < tostring(y) end)
      assert.same({ 1, "lost", "lost", "none" }, list)
    end)

    it("forgets these on request too", function()
      with(ONCE, function(j)
        assert(j:begin({ "a", "b" }))
        assert(j:append("a", true, 1))
      end)
      assert.same({ 1, "none" }, known({ "a", "b" }, { retry_failed = true }))
      with(ONCE, function(j) assert(j:begin({ "b" })) end)
      assert.same({ 1, "lost" }, known({ "a", "b" }))
    end)

    it("requires begin", function()
      with(ONCE, function(j) assert.is_true(j.once) end)
      with(nil, function(j) assert.is_false(j.once) end)
    end)
  end)

  it("gives every item the same chance each time", function()
    local function chances(options)
      return with(options, function(j)
        local list = {}
        for i = 1, 1000 do list[i] = j:chance("item " .. i) end
        return list
      end)
    end
    local list, below = chances(), 0
    assert.same(list, chances())
    assert.not_same(list, chances({ job = "another" }))
    for _, x in ipairs(list) do
      assert.is_true(x >= 0 and x < 1)
      if x < 0.25 then below = below + 1 end
    end
    assert.is_true(below > 180 and below < 320)
  end)

  it("fails when the file cannot be written or is not a file", function()
    local cases = {
      ["/dev/full"] = { "output", "No space left" },
      [dir] = { "usage", "it is a folder; name a file" },
      [dir .. "/no/j"] = { "output", "No such file" },
    }
    for name, case in pairs(cases) do
      local j, err = open({ path = name })
      assert.is_nil(j)
      assert.equal(case[1], err.kind)
      assert.matches(("^journal '%s': .*%s"):format(name:gsub("%p", "%%%0"), case[2]), err.message)
    end
    assert(os.execute("mkfifo " .. path))
    local j, err = open()
    assert.is_nil(j)
    assert.matches("Illegal seek", err.message)
  end)
end)
