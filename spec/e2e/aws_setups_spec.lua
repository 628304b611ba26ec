-- SPDX-License-Identifier: MIT
-- Compares what moonfleet, botocore and the AWS CLI 2 do in each AWS set-up with the table of
-- set-ups. No request leaves the processes.
-- Patient: starts botocore or the AWS CLI for each set-up.

local e2e = require("spec.support.e2e")
local ini = require("fleet.aws.ini")
local json = require("fleet.json")
local outcomes = require("spec.support.aws_outcomes")
local setups = require("spec.support.aws_setups")

local SCRIPT = "spec/support/aws_outcomes.py"

local function output_of(command)
  local pipe = assert(io.popen(command .. " 2>/dev/null"))
  local text = pipe:read("a")
  pipe:close()
  return text
end

-- Every botocore and AWS CLI 2 that a Python of this machine can import.
local function find_peers()
  local peers, seen = {}, {}
  for _, python in ipairs({ "python3", "/usr/bin/python3" }) do
    for _, kind in ipairs({ "botocore", "cli" }) do
      local version = output_of(("%s %s %s"):format(python, SCRIPT, kind)):match("^(%d[%d.]*)\n$")
      local name = version and ("%s %s"):format(kind == "cli" and "the AWS CLI" or kind, version)
      if name and not seen[name] then
        peers[#peers + 1] = { python = python, kind = kind, name = name, version = version }
        seen[name] = true
      end
    end
  end
  return peers
end

-- "1.29.27" and "1.31" -> 1029, 1031
local function number(version)
  local major, minor = version:match("^(%d+)%.(%d+)")
  return math.tointeger(major) * 1000 + math.tointeger(minor)
end

-- The first AWS CLI 2 with the features of botocore 1.41; every feature tested here is older.
local OLDEST_CLI = 2032

local function too_new(setup, peer)
  if not setup.since then return false end
  if peer.kind == "cli" then return number(peer.version) < OLDEST_CLI end
  return number(peer.version) < number(setup.since)
end

local function show(outcome)
  if type(outcome) == "string" then return "an error with: " .. outcome end
  if outcome.error then return outcome.error end
  return ("key %s, token %s, region %s, endpoint %s, sts %s"):format(outcome.key, outcome.token,
    outcome.region, outcome.endpoint, table.concat(outcome.sts, " "))
end

-- Whether an outcome is as expected. An error must contain one of the parts that | separates.
local function agrees(expected, outcome)
  if type(expected) == "table" then return show(expected) == show(outcome) end
  for piece in expected:gmatch("[^|]+") do
    if outcome.error and outcome.error:lower():find(piece:lower(), 1, true) then return true end
  end
  return false
end

-- Nested properties are compared without regard to case.
local function lower_nested(config)
  for _, sections in pairs(config or {}) do
    for _, section in pairs(sections) do
      for name, value in pairs(section) do
        if type(value) == "table" then
          local lower = {}
          for key, each in pairs(value) do lower[key:lower()] = each end
          section[name] = lower
        end
      end
    end
  end
end

-- Random config files of lines that both read in the same way: no section or property twice, no
-- comment after a value.
local function random_configs(count)
  local function one_of(...) return (select(math.random(select("#", ...)), ...)) end
  local function line(index, titles)
    local indent, kind = one_of("", "", "", "  ", "    ", "\t", "\u{A0} ", " "), math.random(20)
    if kind <= 2 then return "" end
    if kind <= 4 then return indent .. one_of("# x", "; y = 1", "#[z]") end
    if kind <= 8 and #titles > 0 then
      return indent .. table.remove(titles, math.random(#titles)) .. one_of("", " z", "# z", "\r")
    end
    return indent .. one_of("a", "B", "c d", "ec2", "é") .. index .. one_of(" = ", "=", " : ", ":")
      .. one_of("", "", "v", "v w", "x = y", "a:b", "'q'", "é") .. one_of("", " ", "\r", "\u{3000}")
  end
  local texts = {}
  for i = 1, count do
    local titles, lines = { "[profile a]", "[profile 'b c']", "[profile x y]", "[p]", "[DEFAULT]",
      "[services s]", "[sso-session q]", "[profile 'o]", "[profile default]" }, { "[default]" }
    for n = 1, math.random(10) do lines[n + 1] = line(n, titles) end
    texts[i] = table.concat(lines, "\n")
  end
  return texts
end

local peers = find_peers()

describe("config files", function()
  it("are read as botocore reads them", function()
    local python
    for _, peer in ipairs(peers) do
      if peer.kind == "botocore" then python = python or peer.python end
    end
    if not python then pending("no Python that has botocore") end
    math.randomseed(20)
    local texts, path = random_configs(3000), os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write((assert(json.encode(texts))))
    file:close()
    local said = output_of(("PYTHONUTF8=1 %s spec/support/aws_ini.py %s"):format(python, path))
    os.remove(path)
    local results, read = assert(json.decode(said)), 0
    for i, text in ipairs(texts) do
      local ours = ini.parse(text, "config", "config")
      local theirs = results[i]
      if theirs.error then theirs = nil end
      if ours and theirs then
        lower_nested(theirs)
        ours.services = theirs.services and ours.services
      end
      assert.same({ text, theirs }, { text, ours })
      if ours then read = read + 1 end
    end
    assert.is_true(read > 1000, read)
  end)
end)

describe("the table of set-ups", function()
  local world, placed = nil, {}

  setup(function()
    world = e2e.new()
    for i, row in ipairs(setups) do
      if row.about then
        local dir = ("%s/%d"):format(world.dir, i)
        assert(os.execute(("mkdir -p '%s/.aws'"):format(dir)))
        placed[i] = setups.place(row, dir)
        for name, text in pairs(placed[i].files) do
          local file = assert(io.open(dir .. "/" .. name, "wb"))
          file:write(text)
          file:close()
        end
      end
    end
  end)
  teardown(function() world:close() end)

  local function differences(outcome_of, side)
    local found, compared = {}, 0
    for i, row in ipairs(setups) do
      local outcome = row.about and outcome_of(i)
      if outcome then
        local expected = select(side, setups.expected(placed[i]))
        compared = compared + 1
        if not agrees(expected, outcome) then
          found[#found + 1] = ("%s: expected %s; got %s"):format(row.about, show(expected),
            show(outcome))
        end
      end
    end
    assert.equal("", table.concat(found, "\n"))
    return compared
  end

  it("has a reason in each row that differs", function()
    for _, row in ipairs(setups) do
      local differs = row.cli and not (row.refused and type(row.cli) == "string")
      assert(not differs or row.why, row.about)
    end
  end)

  it("is what moonfleet does", function()
    local compared = differences(function(i) return (outcomes.of(placed[i])) end, 1)
    assert.equal(tonumber(e2e.read("docs/aws.md"):match("(%d+) set%-ups")), compared)
  end)

  it("warns, once, of what the table says that it warns of", function()
    for i, row in ipairs(setups) do
      local _, warned = outcomes.of(placed[i] or { env = {}, flags = {}, world = {} })
      local wanted = row.about and row.about:find("(warned of", 1, true) and 1 or 0
      assert.equal(wanted, #warned, row.about)
    end
  end)

  if #peers == 0 then
    it("is what botocore does", function() pending("no Python that has botocore") end)
  end
  for _, peer in ipairs(peers) do
    local later = {}
    for i, row in ipairs(setups) do
      if row.about and too_new(row, peer) then later[i] = row.about end
    end

    it("is what " .. peer.name .. " does", function()
      local list, index = {}, {}
      for i, row in ipairs(setups) do
        if row.about and not later[i] then
          local s = placed[i]
          list[#list + 1] = { env = s.env, flags = s.flags, world = s.world }
          index[i] = #list
        end
      end
      local path = world.dir .. "/setups.json"
      local file = assert(io.open(path, "wb"))
      -- JSON writes an empty table as an array, but Python needs an object
      file:write((json.encode(list):gsub('"(%a+)":%[%]', '"%1":{}')))
      file:close()
      local said = output_of(("%s %s %s '%s' </dev/null"):format(peer.python, SCRIPT, peer.kind,
        path))
      local results = assert(json.decode(said), said)
      assert.equal(#list, #results)
      differences(function(i) return results[index[i]] end, 2)
    end)

    if next(later) then
      it("is what " .. peer.name .. " would do if it were newer", function()
        local about = {}
        for _, each in pairs(later) do about[#about + 1] = each end
        table.sort(about)
        pending(("%s knows nothing of: %s"):format(peer.name, table.concat(about, "; ")))
      end)
    end
  end
end)
