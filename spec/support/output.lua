-- SPDX-License-Identifier: MIT
-- The output of spec/runner.lua, a handler of busted: a character for each test (+ passed,
-- - failed, * error, . skipped), the time of all, the reason of each skipped test, and for each
-- failure the lines that .ci/failures collects: "FAILED file:line: name" and the indented message.

local busted = require("busted")
local pretty = require("pl.pretty")

local MARKS = { success = "+", failure = "-", error = "*", pending = "." }

local function mark(status)
  io.write(MARKS[status])
  io.flush()
  return nil, true
end

local function text(message)
  if type(message) == "string" then return message end
  return message == nil and "no message" or pretty.write(message)
end

local function print_result(kind, result)
  local at = result.element.trace
  local place = at and at.short_src and ("%s:%d: "):format(at.short_src, at.currentline) or ""
  local lines = text(result.message):gsub("%s+$", ""):gsub("\n", "\n  ")
  io.write(("%s %s%s\n  %s\n"):format(kind, place, result.name, lines))
end

return function()
  local handler = require("busted.outputHandlers.base")()

  busted.subscribe({ "test", "end" }, function(_, _, status) return mark(status) end)
  -- outside of tests: a file that does not load, a setup that fails
  for _, event in ipairs({ "error", "failure" }) do
    busted.subscribe({ event }, function(element)
      if element.descriptor ~= "it" then return mark("error") end
      return nil, true
    end)
  end
  busted.subscribe({ "suite", "end" }, function()
    io.write(("\n%.1f s\n"):format(handler.getDuration()))
    for _, pending in ipairs(handler.pendings) do print_result("skipped", pending) end
    for _, failure in ipairs(handler.failures) do print_result("FAILED", failure) end
    for _, err in ipairs(handler.errors) do print_result("FAILED", err) end
    io.flush()
    return nil, true
  end)

  package.loaded["spec.results"] = handler
  return handler
end
