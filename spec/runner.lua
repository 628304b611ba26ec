-- SPDX-License-Identifier: MIT
-- Runs busted inside the program, so that specs can require host.* modules and
-- wait: build/moonfleet run spec/runner.lua -- [busted's arguments]. Ends with
-- the line "N passed, N failed".

local root = arg[0]:match("^(.*)/spec/runner%.lua$") or "."
package.path = ("%s/lua/?.lua;%s/lua/?/init.lua;%s/?.lua;%s"):format(root, root, root, package.path)

-- busted ends the process itself, by whatever os.exit is by then.
local real_exit = os.exit
local passed, failed, skipped = 0, 0, 0
os.exit = function(code)
  if passed + failed == 0 then failed = 1 end -- nothing ran: that is no success
  print(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
  real_exit((failed > 0 or code ~= 0 and code ~= true) and 1 or 0, true)
end

local busted = require("busted")
busted.subscribe({ "test", "end" }, function(_, _, status)
  if status == "success" then
    passed = passed + 1
  elseif status == "pending" then
    skipped = skipped + 1
  else
    failed = failed + 1
  end
  return nil, true
end)
busted.subscribe({ "error" }, function() failed = failed + 1 return nil, true end)

require("busted.runner")({ standalone = false, output = "plainTerminal" })
