-- SPDX-License-Identifier: MIT
-- Runs the main job, scripts/checksum.lua, over a real web server and over bad URLs of every kind.
-- Patient: fetches a gigabyte, and waits for a server that stalls.

local e2e = require("spec.support.e2e")

local PAGES = 2000
local GIB = 1 << 30
-- Sums of a gibibyte of zeros, and of the fault server's "404\n".
local ZEROS = "49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14"
local NOT_FOUND = "f8bf41177a5f5e808a7ccb648b51080b031f15ca8018d91a576263d6cc626eb6"
-- Time limits in seconds; only the one for the stalling server should be reached.
local STALL, ENOUGH = 20, 900
-- Sanitizers use memory of their own, so there is no limit with them.
local MAX_RSS = e2e.sanitized and math.huge or 30

describe("scripts/checksum.lua", function()
  local world, web
  local list, expected, sizes = {}, {}, {}

  setup(function()
    world = e2e.new()
    web = world:nginx()
    local random = {}
    for i = 1, 256 do random[i] = string.char(math.random(0, 255)) end
    random = table.concat(random)
    for i = 1, PAGES do
      -- sizes from 0 to 60 KB, and bytes of every value
      local page = random:sub(i % 256 + 1):rep(i * 7 % 240)
      if page ~= "" then page = page .. i end
      world:write(("www/%d"):format(i), page)
      sizes[i] = #page
      list[i] = ("%s/%d"):format(web.url, i)
    end
    local sums = assert(io.popen(("cd %s && seq %d | xargs sha256sum"):format(web.www, PAGES)))
    for i = 1, PAGES do expected[i] = sums:read("l"):match("^%x+") end
    sums:close()
  end)
  teardown(function() world:close() end)

  local function check_all(run)
    assert.equal(0, run.code, run.err)
    local results = e2e.results(run.out)
    assert.equal(PAGES, #results)
    for i, result in ipairs(results) do
      assert.equal(list[i], result.item)
      assert.equal(expected[i], result.value.sha256)
      assert.equal(200, result.value.status)
    end
  end

  it("sums 2000 pages with no fleet", function()
    check_all(world:run({ "run", "scripts/checksum.lua", world:items(list) }))
  end)

  it("sums 2000 pages over three nodes, and uses all three", function()
    local inner = e2e.new()
    finally(function() inner:close() end)
    local nodes, peers = inner:nodes(3)
    local run = world:run({ "run", "scripts/checksum.lua", world:items(list), "--peers", peers })
    check_all(run)
    for _, node in ipairs(nodes) do assert.is_true(e2e.share(run, node) > 0, run.err) end
  end)

  -- Bad URLs as {item, what its line must contain}; and a good but large one.
  local function bad_list(faults)
    local function fails(kind, pattern)
      return function(result)
        assert.is_nil(result.value)
        assert.equal(kind, result.error.kind)
        assert.matches(pattern, result.error.message)
        assert.not_matches("\n", result.error.message)
      end
    end
    local function gives(status, sum, bytes)
      return function(result)
        assert.is_nil(result.error)
        assert.equal(status, result.value.status)
        assert.equal(sum, result.value.sha256)
        assert.equal(bytes, result.value.bytes)
      end
    end
    return {
      { web.url .. "/7", gives(200, expected[7], sizes[7]) },
      { faults.url .. "/status/404", gives(404, NOT_FOUND, 4) },
      { "http://127.0.0.1:" .. e2e.free_port() .. "/", fails("connect", "refused") },
      { "http://no-such-host.invalid/", fails("dns", "no%-such%-host%.invalid") },
      { "htp:/what is this", fails("url", "") },
      { "", fails("url", "") },
      { faults.url .. "/redirect-loop", fails("redirect", "redirect") },
      { faults.url .. "/stall", fails("timeout", "") },
      { faults.url .. "/truncated", fails("truncated", "") },
    }, { { web.url .. "/huge", gives(200, ZEROS, GIB) } }
  end

  local function check_bad(program, bad, code)
    local run = program:wait()
    assert.equal(code, run.code, run.err)
    local results = e2e.results(run.out)
    assert.equal(#bad, #results)
    for i, result in ipairs(results) do
      assert.equal(bad[i][1], result.item)
      bad[i][2](result)
    end
  end

  it("gives each bad URL its own right line, in little memory", function()
    local inner = e2e.new()
    finally(function() inner:close() end)
    local faults = inner:fault_server()
    local huge = assert(io.open(web.www .. "/huge", "wb"))
    huge:seek("set", GIB - 1)
    huge:write("\0")
    huge:close()
    local nodes, peers = inner:nodes(2, { workers = 1 })
    local peaks, seen = {}, 0
    local function check(cases, timeout, code)
      local items = {}
      for i, entry in ipairs(cases) do items[i] = entry[1] end
      local words = { "run", "scripts/checksum.lua", "--timeout", timeout, world:items(items) }
      local fleet = inner:program({ "--peers", peers, table.unpack(words) })
      local alone = inner:program(words)
      e2e.wait_until("the end of the runs", function()
        local parents = { nodes[1].pid, nodes[2].pid, alone:children()[1] }
        for _, parent in ipairs(parents) do
          for _, pid in ipairs(e2e.children(parent)) do
            peaks[pid] = e2e.peak_rss(pid) or peaks[pid]
          end
        end
        return not fleet:alive() and not alone:alive()
      end, ENOUGH)
      check_bad(fleet, cases, code)
      check_bad(alone, cases, code)
    end
    local bad, large = bad_list(faults)
    check(bad, STALL, 1)
    check(large, ENOUGH, 0)
    for _, peak in pairs(peaks) do
      seen = seen + 1
      assert.is_true(peak <= MAX_RSS, peak .. " MiB")
    end
    assert.is_true(seen >= 3)
  end)
end)
