-- SPDX-License-Identifier: MIT
-- stdout and stderr on one terminal: rows, progress and text that jobs print share it without
-- damaging each other's lines.

local e2e = require("spec.support.e2e")

local JOB = [[
local fleet = require("fleet")
return {
  map = function(item)
    fleet.sleep(0.15)
    if item:find("[02468]$") then print("printed " .. item) end
    return item
  end,
  options = { concurrency = 1 },
}
]]

-- The lines that a terminal finally shows, each with its number of occurrences.
local function screen(bytes)
  local lines = {}
  for line in bytes:gmatch("([^\n]*)\n") do
    local text = line:gsub("\r$", ""):gsub("^.*\r\27%[K", "") -- back, and wiped out
    lines[text] = (lines[text] or 0) + 1
  end
  return lines
end

describe("on a terminal", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  -- util-linux: runs a command with a terminal of its own
  local function run(words)
    local command = table.concat({ "TERM=xterm", e2e.program, table.unpack(words) }, " ")
    return world:start({ "script", "-qec", command, "/dev/null" }):wait()
  end

  it("that is dumb gets lines, no bar", function()
    local job, items = world:write("job.lua", JOB), world:items({ "1", "3", "5" })
    local command = ("TERM=dumb %s run %s %s"):format(e2e.program, job, items)
    local got = world:start({ "script", "-qec", command, "/dev/null" }):wait()
    assert.equal(0, got.code)
    assert.is_nil(got.out:find("\27", 1, true))
    assert.matches("3 items in", got.out, 1, true)
  end)

  it("rows, progress and prints have lines of their own", function()
    local items = {}
    for i = 1, 24 do items[i] = "i" .. i end
    local got = run({ "run", world:write("job.lua", JOB), world:items(items) })
    assert.equal(0, got.code)
    assert.matches("%[#+%-+%]  %d+/24", got.out)
    local shown = screen(got.out)
    for i, item in ipairs(items) do
      assert.equal(1, shown[('{"item":"%s","value":"%s"}'):format(item, item)])
      assert.equal(i % 2 == 0 and 1 or nil, shown["[local] printed " .. item])
      shown[('{"item":"%s","value":"%s"}'):format(item, item)] = nil
      shown["[local] printed " .. item] = nil
    end
    local rest = next(shown)
    assert.matches("^24 items in .*: 24 ok, 0 failed$", rest)
    assert.is_nil(next(shown, rest))
    assert.matches("failed\r\n$", got.out) -- and the progress does not come back
  end)

  describe("nothing of a job is obeyed:", function()
    -- sets the title, writes the clipboard, clears the screen by a control of 8 bits
    local EVIL = [["\27]0;title\7 \27]52;c;eA==\7 \u{9b}2J \127 \xff"]]
    local SHOWN = "\\x1b%]0;title\\x07 \\x1b%]52;c;eA==\\x07 \\u{9b}2J \\x7f \\xff"

    local function is_tame(bytes)
      return not bytes:find("\27]") and not bytes:find("\7") and not bytes:find("\u{9b}")
        and not bytes:find("\127") and not bytes:find("\xff")
    end

    for what, code in pairs({
      ["a string that code returns"] = "return %s",
      ["what it prints"] = "print(%s)",
      ["what it writes"] = "io.write(%s)",
      ["what it raises"] = "error(%s)",
      ["an error that it makes"] = "error({ kind = 'raise', message = %s })",
      ["a table"] = "return { %s }",
      ["a function's name in the traceback"] = "return load('error()', '=' .. %s)()",
      ["what it logs"] = "require('fleet.log').error(%s)",
    }) do
      it(what, function()
        local script = world:write("eval.lua", code:format(EVIL))
        local got = run({ "eval", "\"$(cat '" .. script .. "')\"" })
        assert.is_true(is_tame(got.out), got.out)
        assert.matches("title", got.out)
        local piped = world:run({ "eval", e2e.read(script) })
        assert.is_true(is_tame(piped.err), piped.err)
      end)
    end

    it("results, prints and errors of a run, in every format", function()
      local job = world:write("evil.lua", ([[
        local evil = %s
        return { map = function(item)
          print(evil)
          if item == "raise" then error(evil) end
          return item == "table" and { [evil] = evil } or evil
        end }
      ]]):format(EVIL))
      for _, format in ipairs({ "jsonl", "csv", "table" }) do
        local got = run({ "run", job, "--format", format, "--items", "string", "table", "raise" })
        assert.is_true(is_tame(got.out), got.out)
        assert.matches(SHOWN, got.out)
      end
    end)

    it("the error of a driver script", function()
      local got = run({ "run", world:write("script.lua", ("error(%s)"):format(EVIL)) })
      assert.is_true(is_tame(got.out), got.out)
      assert.matches(SHOWN, got.out)
    end)

    it("but a pipe gets the bytes that code returns", function()
      local got = world:run({ "eval", "return " .. EVIL })
      assert.equal(load("return " .. EVIL)() .. "\n", got.out)
    end)
  end)
end)
