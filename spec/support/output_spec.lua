-- SPDX-License-Identifier: MIT
-- What a failed test leaves at the end of a log: spec/support/output.lua and .ci/failures.

local e2e = require("spec.support.e2e")

local SPEC = [[
describe("group", function()
  it("passes", function() end)
  it("compares", function() assert.equal(2, 1) end)
  it("raises", function() error("first\nsecond") end)
  it("skips", function() pending("no tool") end)
end)
describe("web", function()
  setup(function() error("no server") end)
  it("is never reached", function() end)
end)
]]

local FAILURES = [[
FAILED %s:3: group compares
  %s:3: Expected objects to be equal.
  Passed in:
  (number) 1
  Expected:
  (number) 2
FAILED %s:4: group raises
  %s:4: first
  second
FAILED %s:8: web setup
  %s:8: no server
]]

describe("the output of specs", function()
  local path

  local function write(text)
    local file = assert(io.open(path, "w"))
    assert(file:write(text))
    assert(file:close())
  end

  local function output_of(format, ...)
    local pipe = assert(io.popen(format:format(...) .. " 2>&1"))
    local text = pipe:read("a")
    return text, select(3, pipe:close())
  end

  before_each(function()
    path = os.tmpname() .. ".lua"
    os.remove(path:sub(1, -5))
  end)
  after_each(function() os.remove(path) end)

  it("names each failure and its message before the last line", function()
    write(SPEC)
    local text, code = output_of("'%s' run spec/runner.lua -- %s", e2e.program, path)
    assert.equal(1, code)
    local list = FAILURES:gsub("%%s", path)
    local skipped = ("\nskipped %s:5: group skips\n  %s:5: no tool\n"):format(path, path)
    assert.truthy(text:find(skipped .. list .. "1 passed, 3 failed, 1 skipped\n", 1, true), text)
    write("noise\n" .. text .. "other noise\n" .. text)
    assert.equal(list, output_of(".ci/failures test %s", path))
  end)

  it("cuts long messages", function()
    local function log(lines, bytes)
      return ("FAILED it\n%sFAILED other\n  %s\n"):format(("  line\n"):rep(lines), ("x"):rep(bytes))
    end
    write(log(20, 1000))
    assert.equal(log(8, 298), output_of(".ci/failures test %s", path))
  end)

  it("shows the end of a log that names no failure", function()
    write("1\n2\n3\n4\n5\n6\n7\n8\n9\nno line end")
    assert.equal("FAILED gcc\n  3\n  4\n  5\n  6\n  7\n  8\n  9\n  no line end\n",
      output_of(".ci/failures gcc %s", path))
  end)
end)
