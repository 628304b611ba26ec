-- SPDX-License-Identifier: MIT
-- Runs busted inside the program, so that specs can require host.* modules and
-- wait: build/moonfleet run spec/runner.lua -- [busted's arguments]. Ends with
-- the line "N passed, N failed". Running no test counts as a failure.

local root = arg[0]:match("^(.*)/spec/runner%.lua$") or "."
package.path = ("%s/?.lua;%s/lua/?.lua;%s/lua/?/init.lua;%s"):format(root, root, root, package.path)
table.insert(arg, 1, "--helper=" .. root .. "/spec/support/count.lua")

local function finish()
  local counts = package.loaded["spec.counts"]
  local failed = counts.failure + counts.error
  if counts.success + failed + counts.pending == 0 then failed = 1 end
  local skipped = counts.pending > 0 and (", %d skipped"):format(counts.pending) or ""
  print(("%d passed, %d failed%s"):format(counts.success, failed, skipped))
  return failed == 0 and 0 or 1
end

-- busted ends the process itself if a test failed.
local exit = os.exit
os.exit = function() exit(finish(), true) end -- luacheck: ignore 122

require("busted.runner")({ standalone = false, output = "plainTerminal" })
exit(finish(), true)
