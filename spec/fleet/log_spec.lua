-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local log = require("fleet.log")
local sys = require("host.sys")

describe("fleet.log", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  --- What this code, run as a script, writes on stderr; lines without their time and pid.
  local function written(code, level)
    local script = world:write("log.lua", "local log = require('fleet.log')\n" .. code)
    local run = world:run({ "run", "--log-level", level or "debug", script })
    assert.equal(0, run.code, run.err)
    assert.equal("", run.out)
    local lines = e2e.lines(run.err)
    for i, line in ipairs(lines) do
      local rest, n = line:gsub("^time=%d+%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ ", "")
      assert.equal(1, n, line)
      lines[i] = rest:gsub(" pid=%d+ ", " ", 1)
    end
    return lines
  end

  it("writes a line with level, role, message and fields in their order", function()
    assert.same({
      "level=error role=driver msg=down",
      'level=warn role=driver msg="two words"',
      "level=info role=driver msg=m a=1 b=x c=true z=0.5",
      "level=debug role=driver msg=fine",
    }, written([[
      log.error("down")
      log.warn("two words", nil)
      log.info("m", { z = 0.5, a = 1, c = true, b = "x" })
      log.debug("fine", {})
    ]]))
  end)

  it("leaves out what is below its level", function()
    local all = "log.error('e') log.warn('w') log.info('i') log.debug('d')"
    for count, level in ipairs({ "error", "warn", "info", "debug" }) do
      assert.equal(count, #written(all, level))
    end
  end)

  it("quotes values that need it, and lets no control character through", function()
    assert.same({
      [[level=info role=driver msg="a \"b\" \\" empty="" eq="a=b" esc="\x1b[31m" lines="1\n2" ]]
        .. [[tab="\x09" utf8=é]],
    }, written([[
      log.info('a "b" \\', {
        empty = "", eq = "a=b", esc = "\27[31m", lines = "1\n2", tab = "\t", utf8 = "é",
      })
    ]]))
  end)

  it("lets no control character of 8 bits through, nor what is not UTF-8", function()
    assert.same({
      [[level=info role=driver msg="\xc2\x9b31m \xff\xe2\x82" a="\xc2\x85" c=€ d="\x9b"]],
    }, written([[
      log.info('\u{9b}31m \xff\xe2\x82', { a = '\u{85}', c = '€', d = '\x9b' })
    ]]))
  end)

  it("is limited in jobs, and says so", function()
    local node = world:node({ workers = 1 })
    local began = sys.now()
    local run = world:run({ "run", world:write("job.lua", [[
      local log, fleet = require("fleet.log"), require("fleet")
      return { options = { concurrency = 1 }, map = function(item)
        if item == "late" then
          fleet.sleep(3)
          log.warn("late")
        else
          for _ = 1, 2000 do log.error(("x"):rep(1000)) end
        end
      end }
    ]]), "--peers", node.address, "--items", "a", "b", "late" })
    assert.equal(0, run.code, run.err)
    local text = node:err()
    local _, lines = text:gsub("x+\n", "")
    -- 256 KiB at once, then 64 KiB a second: the machine may be busy
    local most = (256 + 64 * (sys.now() - began)) * 1024 // 1000
    assert.is_true(lines > 200 and lines < most, lines)
    assert.matches("jobs log too much, dropping lines", text)
    for dropped in text:gmatch('msg="dropped lines of jobs" lines=(%d+)\n') do
      lines = lines + dropped
    end
    assert.equal(4000, lines)
    assert.matches('msg="dropped lines of jobs" lines=%d+\n[^\n]*msg=late\n', text)
  end)

  it("makes a plain word of a name that is none", function()
    assert.same({ "level=info role=driver msg=m a_b_c=1" },
      written("log.info('m', { ['a\\nb=c'] = 1 })"))
  end)

  it("writes any value as tostring gives it, also an error", function()
    assert.same({
      'level=info role=driver msg=m err="dns: no" int=-3 list=LIST', -- sorted
    }, written([[
      local errors = require("fleet.errors")
      log.info("m", {
        err = errors.new({ kind = "dns", message = "no" }), int = -3,
        list = setmetatable({}, { __tostring = function() return "LIST" end }),
        [1] = "positions are no fields",
      })
    ]]))
  end)

  it("keeps the names of fields that the values take away", function()
    local name = ("x"):rep(30)
    assert.same({ ("level=info role=driver msg=m %s1=LIST %s2=LIST"):format(name, name) },
      written([[
        local fields, kept = {}, {}
        for i = 1, 2 do
          fields[("x"):rep(30) .. i] = setmetatable({}, { __tostring = function()
            fields[("x"):rep(30) .. i] = nil
            collectgarbage()
            for k = 1, 10000 do kept[#kept + 1] = ("y"):rep(26) .. k + 10000 end
            return "LIST"
          end })
        end
        log.info("m", fields)
      ]]))
  end)

  it("writes at most 16 fields, and cuts a long line", function()
    local lines = written([[
      local fields = {}
      for i = 1, 40 do fields["f" .. i] = i end
      log.info("many", fields)
      log.info("long", { text = ("x"):rep(10000) })
    ]])
    assert.equal(16, select(2, lines[1]:gsub(" f%d+=", "")))
    assert.is_true(#lines[2] > 1000 and #lines[2] < 2048)
  end)

  it("raises on a message that is none, and on fields that are none", function()
    assert.has_error(function() log.error() end)
    assert.has_error(function() log.error({}) end)
    assert.has_error(function() log.error("m", "fields") end)
  end)

  it("speaks from a job too, as a worker", function()
    local script = world:write("job.lua", [[
      local log = require("fleet.log")
      return { map = function(item) log.warn("seen", { item = item }) end }
    ]])
    local run = world:run({ "run", script, "--items", "a b" })
    assert.matches('level=warn role=worker pid=%d+ msg=seen item="a b"\n', run.err)
  end)
end)
