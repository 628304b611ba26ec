-- SPDX-License-Identifier: MIT
-- Counts the tests that busted runs, for the last line of spec/runner.lua.

local busted = require("busted")
local counts = { success = 0, failure = 0, error = 0, pending = 0 }

busted.subscribe({ "test", "end" }, function(_, _, status)
  counts[status] = counts[status] + 1
  return nil, true
end)
-- errors outside of tests: a spec file that does not load, a failing setup
busted.subscribe({ "error" }, function(element)
  if element.descriptor ~= "it" then counts.error = counts.error + 1 end
  return nil, true
end)
busted.subscribe({ "failure" }, function(element)
  if element.descriptor ~= "it" then counts.error = counts.error + 1 end
  return nil, true
end)

package.loaded["spec.counts"] = counts
