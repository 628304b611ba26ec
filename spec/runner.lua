-- SPDX-License-Identifier: MIT
-- Runs busted inside the program, so that specs can require host.* modules and
-- wait: build/moonfleet run spec/runner.lua -- [busted's arguments]. Ends with
-- the line "N passed, N failed". Running no test counts as a failure.

local root = arg[0]:match("^(.*)/spec/runner%.lua$") or "."
package.path = ("%s/?.lua;%s/lua/?.lua;%s/lua/?/init.lua;%s"):format(root, root, root, package.path)

local function finish()
  local results = package.loaded["spec.results"]
  local failed = results.failuresCount + results.errorsCount
  if results.successesCount + failed + results.pendingsCount == 0 then
    print("FAILED no test ran")
    failed = 1
  end
  local skipped = results.pendingsCount > 0 and (", %d skipped"):format(results.pendingsCount) or ""
  print(("%d passed, %d failed%s"):format(results.successesCount, failed, skipped))
  return failed == 0 and 0 or 1
end

-- busted ends the process itself if a test failed.
local exit = os.exit
os.exit = function() exit(finish(), true) end -- luacheck: ignore 122

require("busted.runner")({ standalone = false, output = root .. "/spec/support/output.lua" })
exit(finish(), true)
